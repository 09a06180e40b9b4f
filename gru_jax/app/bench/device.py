"""The device that the benchmark runs on, and the precision of its float32 products."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from gru_jax.app.bench.names import DeviceName, Precision

JAX_NAMES: dict[Precision, str] = {"highest": "highest", "tf32": "default"}
"""JAX's names. "default" is what users get. "tensorfloat32" asks for more: XLA's Triton kernels
then compute whole float32 products, and only cuBLAS rounds."""


@contextmanager
def choose(name: DeviceName | None, precision: Precision) -> Iterator[None]:
    """Runs the body on a device; None is JAX's default device.

    On a CPU the precision is ignored: no factor is rounded there, and the programs stay the same.

    Raises:
        ValueError: if JAX has no such device.
    """
    with ExitStack() as stack:
        if name:
            try:
                device, *_ = jax.devices(name)
            except (RuntimeError, AssertionError) as error:  # JAX may have no device of any kind
                raise ValueError(
                    f"bench: --device must be one that JAX finds, got {name}. For an NVIDIA GPU, "
                    "pip install 'jax[cuda13]<0.13'."
                ) from error
            stack.enter_context(jax.default_device(device))
        if platform() != "cpu":
            stack.enter_context(jax.default_matmul_precision(JAX_NAMES[precision]))
        yield


def current() -> Any:
    """Returns JAX's default device, which the environment may set, too."""
    (device,) = jnp.zeros(()).devices()
    return device


def platform() -> str:
    """Returns the platform of JAX's default device: "cpu", "gpu" or "tpu"."""
    return current().platform


def precision() -> Precision:
    """Returns "tf32" if float32 products may round their factors, as JAX does on accelerators."""
    exact = platform() == "cpu" or jax.default_matmul_precision.value == JAX_NAMES["highest"]
    return "highest" if exact else "tf32"


def facts() -> dict[str, str]:
    """Returns the platform, the kind of the device and, of a GPU, what JAX knows of it."""
    device = current()
    result = {"backend": device.platform, "device": device.device_kind}
    if device.platform == "gpu":
        capability = getattr(device, "compute_capability", None)
        more = {"compute_capability": capability, "driver": _driver()}
        result |= {name: str(value) for name, value in more.items() if value}
    return result


@cache
def _driver() -> str | None:
    """Returns the version of the driver, if JAX's report has it: nvidia-smi takes a second."""
    version = re.search(r"Driver Version: *(\S+)", jax.print_environment_info(True) or "")
    return version[1] if version else None
