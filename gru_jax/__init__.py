"""The Gated Recurrent Unit as pure functions in JAX.

    import gru_jax as gj

    cell = gj.gru(64)
    params = cell.init(key, 12)
    hs, h_last = gj.unroll(cell, params, xs)

The first use of a name imports JAX and all names, except some modules. Figures (`gj.plot`), other
frameworks' weights and files (`gj.interop`), Flax modules (`gj.linen`, `gj.nnx`), scikit-learn's
estimators (`gj.estimators`), recurrent agents (`gj.agents`) and the checks for your own cells
(`gj.testing`) are imported on their own first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

_MODULES = ("agents", "estimators", "interop", "linen", "nnx", "plot", "testing")
_OF_INTEROP = ("load", "save")
_NEEDS = {
    "estimators": (
        "sklearn",
        "gru_jax.estimators needs scikit-learn: pip install 'gru_jax[estimators]'",
    ),
    "plot": ("matplotlib", "gru_jax.plot needs matplotlib: pip install 'gru_jax[plot]'"),
}

if TYPE_CHECKING:
    from gru_jax import agents as agents
    from gru_jax import estimators as estimators
    from gru_jax import interop as interop
    from gru_jax import linen as linen
    from gru_jax import nnx as nnx
    from gru_jax import plot as plot
    from gru_jax import testing as testing
    from gru_jax.api import *  # noqa: F403
    from gru_jax.interop import load as load
    from gru_jax.interop import save as save

    __version__: str
else:  # A type checker that saw __getattr__ would accept every name.

    def __getattr__(name: str) -> Any:
        """Imports the public names, or a module, on first use: `gru-jax --help` needs none."""
        if _is_lacking(name):
            raise AttributeError(_NEEDS[name][1])
        if name in (*_MODULES, *_OF_INTEROP):
            # Import JAX by one path: threads that use several hit its import cycles.
            importlib.import_module("gru_jax.api")
        if name in _MODULES:
            return importlib.import_module(f"gru_jax.{name}")
        if name in _OF_INTEROP:
            return getattr(importlib.import_module("gru_jax.interop"), name)
        if name == "__all__":
            return __dir__()
        if name == "__version__":
            import importlib.metadata as metadata  # Slower than the rest of this file.

            try:
                return metadata.version("gru_jax")
            except metadata.PackageNotFoundError as error:
                message = "gru_jax.__version__ needs an installation: pip install -e ."
                raise AttributeError(message) from error
        if not name.startswith("_"):
            for each, value in _import_names().items():
                globals().setdefault(each, value)
            if name in globals():
                return globals()[name]
        raise AttributeError(f"module 'gru_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Returns the public names."""
    names = {*_import_names(), *_MODULES, *_OF_INTEROP}
    return sorted(name for name in names if not _is_lacking(name))


def _is_lacking(name: str) -> bool:
    """Returns whether a module needs a package that is not installed, as of now."""
    if name not in _NEEDS:
        return False
    from gru_jax.files import is_installed

    return not is_installed(_NEEDS[name][0])


def _import_names() -> dict[str, Any]:
    api = vars(importlib.import_module("gru_jax.api"))
    return {name: value for name, value in api.items() if not name.startswith("_")}
