"""State dicts: tensors by their names, in memory and in a `.pt` or `.pth` file."""

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gru_jax.files import check_size
from gru_jax.interop.contents import damaged
from gru_jax.types import ArrayLike

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""The arrays of a cell; of a layer with a suffix, e.g. `_l0` or `_l0_reverse`."""

MOST, DEEPEST = 100_000, 64
"""Arrays of a model, and dots in their names."""


def as_numpy(key: str, value: Any) -> ArrayLike:
    """Returns a tensor as NumPy's, which has no bfloat16 of its own; leaves others as they are."""
    if not hasattr(value, "untyped_storage"):
        return value
    kind = str(value.layout).removeprefix("torch.")
    kind = "quantized" if value.is_quantized else "meta" if value.is_meta else kind
    if kind != "strided" or value.nbytes > value.untyped_storage().nbytes():
        raise ValueError(
            f"from_torch: {key} must be a tensor with all its numbers, got "
            f"{'fewer' if kind == 'strided' else kind}."
        )
    value = value.detach().cpu().resolve_neg()
    if str(value.dtype) == "torch.bfloat16":
        import ml_dtypes

        return value.float().numpy().astype(ml_dtypes.bfloat16)
    try:
        return value.numpy()
    except TypeError as error:  # of 8 bits and fewer
        raise ValueError(
            f"from_torch: {key} must be of a dtype that NumPy has, got {value.dtype}."
        ) from error


def read_torch(path: Path) -> dict[str, Any]:
    """Returns the tensors of a `.pt` or `.pth` file by name, with PyTorch's weights-only loader.

    Dicts inside dicts, as checkpoints have them, are joined by dots.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or holds more than tensors, numbers and words.
    """
    import torch

    check_size(path)
    try:
        if zipfile.is_zipfile(path):  # PyTorch itself does not look at the checksums
            with zipfile.ZipFile(path) as archive:
                if member := archive.testzip():
                    raise ValueError(f"its {member} has another checksum")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TorchScript, which is an error anyway
            return flatten(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # pickle, zip and PyTorch raise a dozen things at damage
        alien = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it holds a {alien[1]}, which only unpickling could build" if alien else error
        needed = "a whole state dict, torch.save(module.state_dict(), file), for weights_only=True"
        raise damaged("read", path, needed, reason) from error


def flatten(state: Any) -> dict[str, Any]:
    """Returns the arrays in dicts of dicts by their names, joined by dots.

    Raises:
        ValueError: if there is no end of dicts, which may hold each other.
    """
    arrays, left, count = {}, [("", state)], 0
    while left:
        name, value = left.pop()
        count += 1
        if count > MOST or name.count(".") > DEEPEST:
            raise ValueError(
                f"from_torch: source must be at most {MOST} arrays in dicts {DEEPEST} deep, got "
                "more."
            )
        if isinstance(value, Mapping):
            inner = [(f"{name}.{key}" if name else str(key), each) for key, each in value.items()]
            left += reversed(inner)
        elif hasattr(value, "shape"):
            arrays[name] = value
    return arrays
