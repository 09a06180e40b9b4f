"""What survives: the last and the best of a training run, on Orbax.

`checkpoints/<step>/` holds two items, `last` (all that `fit` needs to go on) and `best` (the
parameters that validated best). A new checkpoint is written beside the old one, renamed into
place, and only then is the old one removed: at every moment one whole checkpoint is there.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from gru_jax.training.fit import Progress
from gru_jax.training.quiet import quiet
from gru_jax.types import Params


def save_checkpoint(folder: Path, progress: Progress) -> None:
    """Writes a checkpoint; the one before it goes when this one is whole."""
    step = int(progress.state.step)
    items = ocp.args.Composite(
        last=ocp.args.StandardSave(progress._replace(best_params=())),
        best=ocp.args.StandardSave(progress.best_params),
    )
    with _manager(folder, create=True) as manager:
        if manager.latest_step() != step:  # The same step of a run is the same state.
            manager.save(step, args=items, force=True)


def load_checkpoint(folder: Path, like: Progress) -> Progress:
    """Returns the progress that was saved.

    Args:
        folder: the run's `checkpoints`.
        like: a progress of the same structure, shapes and dtypes.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if it is damaged, or of another structure or shape.
    """
    best = load_best(folder, like.best_params)
    last = _load(folder, "last", like._replace(best_params=()))
    return last._replace(best_params=best)


def load_best(folder: Path, like: Params) -> Params:
    """Returns the parameters that validated best; raises as `load_checkpoint` does."""
    return _load(folder, "best", like)


def _load(folder: Path, item: str, like: Progress | Params) -> Progress | Params:
    if not folder.is_dir():
        raise FileNotFoundError(f"load_checkpoint: no folder {folder}; train first.")
    with quiet(), _manager(folder, create=False) as manager:
        step = manager.latest_step()
        if step is None:
            raise FileNotFoundError(f"load_checkpoint: no checkpoint in {folder}; train first.")
        path = folder / str(step) / item
        try:
            _check_arrays(path, like)
            restore = ocp.args.Composite(**{item: ocp.args.StandardRestore(like)})
            return manager.restore(step, args=restore)[item]
        except Exception as error:  # Orbax raises what TensorStore, zarr and JSON raise.
            reason = (str(error).strip() or repr(error)).splitlines()[0][:160]
            raise ValueError(
                f"load_checkpoint: {path} must be whole and of the shape that config.json "
                f"describes, but cannot be read ({reason})."
            ) from error


def _check_arrays(path: Path, like: Progress | Params) -> None:
    """Compares before anything is read: Orbax casts other dtypes, and fails late on shapes."""
    with ocp.StandardCheckpointer() as reader:
        saved = _describe(reader.metadata(path.absolute()).item_metadata.tree)
    for name, needed in _describe(like).items():
        if saved.get(name) != needed:
            raise ValueError(f"{name} must be {needed}, got {saved.get(name, 'nothing')}")


def _describe(tree: object) -> dict[str, str]:
    """Returns the shape and dtype of each array by its path, which NamedTuples and dicts share."""
    described = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        dtype = getattr(leaf, "dtype", None)
        # A random key is stored as its bits, a plain number in the widest dtype: left to Orbax.
        if dtype is not None and not jnp.issubdtype(dtype, jax.dtypes.extended):
            parts = (str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)
            described[".".join(parts)] = f"{leaf.shape} {dtype}"
    return described


def _manager(folder: Path, *, create: bool) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        max_to_keep=1,
        create=create,
        cleanup_tmp_directories=create,
        enable_async_checkpointing=False,
    )
    return ocp.CheckpointManager(folder.absolute(), options=options)
