"""Nets, random numbers and comparisons for the tests of other frameworks and of files."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gru_jax as gj
from gru_jax import interop

BATCH, TIME, INPUT, HIDDEN = 3, 5, 3, 4
AFTER = gj.gru(4, reset="after")
LAYER = gj.recurrent(AFTER)

NETS = {
    "a cell": gj.gru(4, activation="softsign", clip=0.5),
    "layer norm": gj.layer_norm_gru(4, reset="after", epsilon=1e-3),
    "learned state": gj.learned_initial_state(gj.gru(4, dtype="bfloat16")),
    "both ways": gj.bidirectional(gj.gru(4), gj.gru(4, reset="after"), merge="sum", zoneout=0.1),
    "a net": gj.stack(
        gj.gaussian_noise(0.1),
        gj.residual(gj.recurrent(gj.gru(3), reverse=True, chunk_size=8, memory="chunked")),
        gj.dropout(0.2, per_sequence=True),
        gj.pool("mean"),
        gj.dense(5, dtype="float16"),
    ),
}
"""Every builder, each with options that are not the defaults."""


def tolerance(dtype):
    size = 1e-12 if dtype == "float64" else 1e-5
    return {"rtol": size, "atol": size}


def draw(rng, shape, dtype):
    return jnp.asarray(rng.normal(size=shape), dtype)


def draw_params(rng, net, dtype, input_size=INPUT):
    """Returns random parameters of a net, all of one dtype."""
    shapes = jax.eval_shape(lambda key: net.init(key, input_size), jax.random.key(0))
    return jax.tree.map(lambda a: draw(rng, a.shape, dtype), shapes)


def same_bits(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def check_message(error, path):
    """Asserts that an error is one line that names the file, of at most 300 characters beside."""
    message = str(error)
    assert str(path) in message
    assert "\n" not in message
    assert len(message.replace(str(path), "")) <= 300, message


def check_damaged(rng, path, *, cuts=300, flips=500, legal=()):
    """Cuts a file at many sizes, then flips single bits: it is read, or refused in one line.

    Returns the nets and parameters that were read after a flip, and the count of refusals; `legal`
    are the sizes at which a file is whole all the same.
    """
    whole, results, refusals = path.read_bytes(), [], 0
    for size in set(range(0, len(whole), 1 + len(whole) // cuts)) - set(legal):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=path.name) as error:
            interop.read(path)
        check_message(error.value, path)
    for _ in range(flips):
        flipped = bytearray(whole)
        flipped[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        try:
            results.append(interop.read(path))
        except ValueError as error:
            check_message(error, path)
            refusals += 1
    return results, refusals


GOLDEN = np.load(Path(__file__).parents[1] / "interop" / "golden" / "torch.npz", allow_pickle=False)
"""The results of PyTorch's GRUs, by case."""


def torch_case(name):
    """Returns the state dict of a PyTorch GRU, and all arrays of its case."""
    prefix = f"{name}/"
    arrays = {k.removeprefix(prefix): GOLDEN[k] for k in GOLDEN.files if k.startswith(prefix)}
    state = {k.removeprefix("state."): v for k, v in arrays.items() if k.startswith("state.")}
    return state, arrays
