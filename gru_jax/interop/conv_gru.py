"""Convolutional GRUs of PyTorch code. PyTorch has no module for them; three layouts are common.

    "raft"               convz, convr, convq; or convz1, ... and convz2, ..., one after the other
    "torchvision"        convgru1.convz, ...; or convgru1.convz, ... and convgru2.convz, ...
    "two_convolutions"   ih.0 for r and z side by side, hh.0 for c

Each convolution has a weight, [output, input, *kernel], and a bias. The first two layouts read
[h, x]; the third reads [x, h], as `conv_gru`. In all three z weighs the candidate, and the reset
gate acts before the product. Values are converted bit for bit.

References:
    Teed and Deng (2020), "RAFT: Recurrent all-pairs field transforms for optical flow". Lin et al.
    (2021), "Robust high-resolution video matting with temporal guidance", for two convolutions.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

import jax.numpy as jnp
import numpy as np

from gru_jax.cells.conv_gru import conv_gru
from gru_jax.cells.conv_gru_params import ConvGRUParams
from gru_jax.interop.arrays import as_numpy, check_dtypes, floats
from gru_jax.interop.contents import list_names, shorten
from gru_jax.interop.names import choose
from gru_jax.types import ArrayLike, Cell, Params, Shape

if TYPE_CHECKING:
    import torch

LayoutName: TypeAlias = Literal["raft", "torchvision", "two_convolutions"]

CONVOLUTIONS = ("ih.0", "hh.0")
"""The two convolutions of Robust Video Matting: of r and z, and of c."""

OPTIONS = {
    "reset": "before",
    "coordinates": False,
    "context": False,
    "norm": None,
    "activation": "tanh",
}
"""The options of `conv_gru` that the layouts have no other values of."""


class Layout(NamedTuple):
    """The names and the order of a cell's weights.

    Attributes:
        name: as in `to_conv_gru`.
        kernels: for each kernel, the gates of each convolution by its name; c stands last.
    """

    name: LayoutName
    kernels: tuple[dict[str, str], ...]

    @property
    def arrays(self) -> set[str]:
        """The names of all arrays."""
        convolutions = [name for kernel in self.kernels for name in kernel]
        return {f"{name}.{kind}" for name in convolutions for kind in ("weight", "bias")}

    def state_channels(self, channels: int) -> int:
        """Returns how many channels of the state come before x: all, or 0 for [x, h]."""
        return 0 if self.name == "two_convolutions" else channels


def from_conv_gru(
    tensors: "Mapping[str, ArrayLike | torch.Tensor]",
    *,
    name: str | None = None,
    convolutions: tuple[str, str] = CONVOLUTIONS,
    old: bool = False,
) -> tuple[Cell, Params]:
    """Returns a convolutional GRU of PyTorch code as a cell of gru_jax, bit for bit.

    Names tell the layout, and shapes tell the sizes. Nothing tells the padding: it must be zeros
    that keep the image's size. RAFT-Stereo adds a context: its parameters also fit
    `conv_gru(channels, context=True)`.

    Args:
        tensors: a state dict with PyTorch's tensors, or NumPy's or JAX's arrays.
        name: the GRU's place in a larger model, e.g. `"update_block.gru"`, or the end of that; None
            is the only one there is. Nothing else may stand there.
        convolutions: the names of the two convolutions, that of r and z first.
        old: whether z weighs the old state, h_t = z_t h_{t-1} + (1 - z_t) c_t. If so, the weights
            and the bias of z are negated.

    Returns:
        The cell and its parameters. The cell is separable if it has two kernels.

    Raises:
        ValueError: if there is no GRU by this name, arrays are missing, left over or do not fit
            each other, or a kernel is even.

    References:
        Teed and Deng (2020), Lin et al. (2021).
    """
    if not isinstance(tensors, Mapping):
        raise ValueError(
            "from_conv_gru: tensors must be a dict of arrays by name, e.g. module.state_dict(), "
            f"got a {type(tensors).__name__}."
        )
    layouts = _layouts(convolutions)
    place = choose("from_conv_gru", _places(tensors, layouts), name, tensors, ".", "a GRU")
    prefix = f"{place}." if place else ""
    present = {key.removeprefix(prefix) for key in tensors if key.startswith(prefix)}
    layout = min(layouts, key=lambda each: len(present ^ each.arrays))
    missing, unknown = sorted(layout.arrays - present), sorted(present - layout.arrays)
    if missing or unknown:
        got = [f"without {list_names(missing)}"] * bool(missing)
        got += [f"with {list_names(unknown)}, too"] * bool(unknown)
        raise ValueError(
            f"from_conv_gru: {place or 'tensors'} must be a convolutional GRU in the layout "
            f'"{layout.name}", got one {" and ".join(got)}.'
        )
    arrays = {key: as_numpy("from_conv_gru", key, tensors[prefix + key]) for key in layout.arrays}
    channels, joint, kernels = _read_sizes(arrays, layout)
    params = []
    for gates_of, kernel in zip(layout.kernels, kernels, strict=True):
        leaves = {}
        for key, gates in gates_of.items():
            weight, bias, size = f"{key}.weight", f"{key}.bias", len(gates) * channels
            W = floats("from_conv_gru", weight, arrays[weight], (size, joint, *kernel))
            b = floats("from_conv_gru", bias, arrays[bias], (size,))
            W = jnp.roll(W, -layout.state_channels(channels), axis=1)
            W = jnp.moveaxis(W, (1, 0), (-2, -1))
            for letter, array in (("W", W), ("b", b)):
                parts = jnp.split(array, len(gates), axis=-1)
                leaves |= {f"{letter}_{gate}": a for gate, a in zip(gates, parts, strict=True)}
        params.append(_negate(ConvGRUParams(**leaves), old))
    check_dtypes("from_conv_gru", params)
    dtype = params[0].W_c.dtype
    if len(kernels) == 1:
        return conv_gru(channels, kernels[0], dtype=dtype), params[0]
    return conv_gru(channels, kernels, separable=True, dtype=dtype), tuple(params)


def to_conv_gru(
    cell: Cell,
    params: Params,
    *,
    layout: LayoutName = "raft",
    convolutions: tuple[str, str] = CONVOLUTIONS,
    old: bool = False,
) -> dict[str, np.ndarray]:
    """Returns a convolutional GRU as a state dict for PyTorch code; undoes `from_conv_gru`.

    `torch.from_numpy` takes the arrays as they are, except in bfloat16.

    Args:
        cell: of `conv_gru`.
        params: its parameters.
        layout: "raft" or "torchvision", with one kernel or two separable ones, or
            "two_convolutions", with one.
        convolutions: the names of the two convolutions, that of r and z first.
        old: whether z weighs the old state, as in `from_conv_gru`.

    Returns:
        The arrays by name.

    Raises:
        ValueError: if the layout cannot express an option of the cell, and which.

    References:
        Teed and Deng (2020), Lin et al. (2021).
    """
    layouts = [each for each in _layouts(convolutions) if each.name == layout]
    if not layouts:
        names = " or ".join(f'"{name}"' for name in get_args(LayoutName))
        raise ValueError(f"to_conv_gru: layout must be {names}, got {layout!r}.")
    entry = getattr(cell, "architecture", None)
    if entry is None or entry.builder != "conv_gru":
        needed = "a conv_gru with its activation given by name"
        raise ValueError(f"to_conv_gru: cell must be {needed}, got {shorten(cell)}.")
    options = dict(entry.options)
    for option, needed in OPTIONS.items():
        if options[option] != needed:
            raise ValueError(
                f"to_conv_gru: {option} must be {needed!r}, got {options[option]!r}: no layout has "
                "it; interop.save keeps such a cell."
            )
    assert cell.input is not None
    cell.input(params)
    cells = params if options["separable"] else (params,)
    if len(cells) > len(layouts):
        raise ValueError(
            f"to_conv_gru: kernel_size must be of at most {len(layouts)} kernels in the layout "
            f'"{layout}", got {len(cells)}; interop.save keeps such a cell.'
        )
    chosen, tensors = layouts[len(cells) - 1], {}
    for gates_of, own in zip(chosen.kernels, cells, strict=True):
        *kernel, _, channels = own.W_c.shape
        _check_odd("to_conv_gru: kernel_size", tuple(kernel))
        leaves = _negate(own, old)._asdict()
        for key, gates in gates_of.items():
            W, b = (
                jnp.concatenate([leaves[f"{letter}_{gate}"] for gate in gates], axis=-1)
                for letter in "Wb"
            )
            W = jnp.moveaxis(W, (-2, -1), (1, 0))
            W = jnp.roll(W, chosen.state_channels(channels), axis=1)
            tensors |= {f"{key}.weight": np.array(W), f"{key}.bias": np.array(b)}
    return tensors


def _layouts(convolutions: tuple[str, str]) -> list[Layout]:
    """Returns all layouts; of one name, that with fewer kernels comes first."""

    def raft(pattern: str) -> dict[str, str]:
        return {pattern.format(letter): gate for letter, gate in zip("zrq", "zrc", strict=True)}

    gates, candidate = convolutions
    return [
        Layout("raft", (raft("conv{}"),)),
        Layout("raft", (raft("conv{}1"), raft("conv{}2"))),
        Layout("torchvision", (raft("convgru1.conv{}"),)),
        Layout("torchvision", (raft("convgru1.conv{}"), raft("convgru2.conv{}"))),
        Layout("two_convolutions", ({gates: "rz", candidate: "c"},)),
    ]


def _places(tensors: Mapping[str, object], layouts: list[Layout]) -> list[str]:
    """Returns the places of all GRUs among the tensors, each once."""
    places = []
    for key in tensors:
        names = [name for layout in layouts for name in layout.arrays]
        # "a.convgru1.convz.weight" is torchvision's in a, not RAFT's in a.convgru1.
        if ends := [name for name in names if f".{key}".endswith(f".{name}")]:
            places.append(key.removesuffix(max(ends, key=len)).removesuffix("."))
    return list(dict.fromkeys(places))


def _read_sizes(
    arrays: Mapping[str, ArrayLike], layout: Layout
) -> tuple[int, int, tuple[Shape, ...]]:
    """Returns the state's channels, the joint channels of x and the state, and the kernels."""
    keys = [f"{[*gates_of][-1]}.weight" for gates_of in layout.kernels]
    shapes = [tuple(np.shape(arrays[key])) for key in keys]
    for key, shape in zip(keys, shapes, strict=True):
        if not 3 <= len(shape) <= 5 or len(shape) != len(shapes[0]):
            raise ValueError(
                f"from_conv_gru: {key} must be [output, input, *kernel] with one to three kernel "
                f"axes, as many in each weight, got {shape}."
            )
        _check_odd(f"from_conv_gru: the kernel of {key}", shape[2:])
    channels, joint, *_ = shapes[0]
    return channels, max(joint, channels + 1), tuple(shape[2:] for shape in shapes)


def _check_odd(subject: str, kernel: Shape) -> None:
    if not all(size % 2 for size in kernel):
        raise ValueError(
            f"{subject} must be odd, got {kernel}: PyTorch code pads even kernels by hand, each in "
            "its own way."
        )


def _negate(params: ConvGRUParams, old: bool) -> ConvGRUParams:
    """Returns the parameters with z on the other state, if `old`: sigmoid(-a) = 1 - sigmoid(a)."""
    return params._replace(W_z=-params.W_z, b_z=-params.b_z) if old else params
