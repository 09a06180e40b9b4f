"""The `ScannedRNN` of code for reinforcement learning, in Flax alone, and ours beside it."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import gru_jax as gj
import gru_jax.linen
import gru_jax.nnx

INPUT, HIDDEN = 4, 5


class Theirs(nn.Module):
    """A GRUCell scanned over time; `resets` are booleans or numbers."""

    features: int = HIDDEN

    @partial(
        nn.scan, variable_broadcast="params", in_axes=0, out_axes=0, split_rngs={"params": False}
    )
    @nn.compact
    def __call__(self, carry, x):
        ins, resets = x
        carry = jnp.where(resets[..., None], jnp.zeros_like(carry), carry)
        return nn.GRUCell(self.features, param_dtype=ins.dtype)(carry, ins)


def draw_weights(rng, dtype=jnp.float32, inputs=INPUT, hidden=HIDDEN):
    """Returns random variables of `Theirs`."""

    def draw(*shape):
        return jnp.asarray(rng.normal(0, 0.5, shape), dtype)

    def part(rows, biased):
        return {"kernel": draw(rows, hidden)} | ({"bias": draw(hidden)} if biased else {})

    cell = {f"i{gate}": part(inputs, True) for gate in "rzn"}
    cell |= {f"h{gate}": part(hidden, gate == "n") for gate in "rzn"}
    return {"params": {"GRUCell_0": cell}}


def draw_data(rng, time, batch, dtype=jnp.float32, inputs=INPUT, hidden=HIDDEN):
    """Returns carry, ins and resets; some episodes begin at the first step, some have one step."""
    carry, ins = rng.normal(size=(*batch, hidden)), rng.normal(size=(time, *batch, inputs))
    resets = rng.random((time, *batch)) < 0.3
    return jnp.asarray(carry, dtype), jnp.asarray(ins, dtype), jnp.asarray(resets)


def by_hand(theirs):
    """Returns the weights of `Theirs`, or their gradient, as GRUParams: z of the other sign."""
    cell = theirs["params"]["GRUCell_0"]

    def gate(name, sign=1):
        x, h = cell[f"i{name}"], cell[f"h{name}"]
        return sign * np.concatenate([x["kernel"], h["kernel"]]), sign * np.asarray(x["bias"])

    return gj.GRUParams(*gate("r"), *gate("z", -1), *gate("n"), np.asarray(cell["hn"]["bias"]))


class Ours(NamedTuple):
    """Our module as functions of its variables: `apply(variables, carry, x)`."""

    variables: Any
    apply: Any
    params: Any
    """`(variables) -> GRUParams`, also of gradients."""


def make_linen(theirs, features=HIDDEN, **options):
    rnn = gru_jax.linen.ScannedRNN(features, **options)
    variables = rnn.variables_from(*gj.interop.from_linen(None, theirs))
    return Ours(variables, rnn.apply, rnn.params_from)


def make_nnx(theirs, features=HIDDEN, **options):
    inputs = theirs["params"]["GRUCell_0"]["ir"]["kernel"].shape[0]
    rnn = gru_jax.nnx.ScannedRNN(inputs, features, rngs=nnx.Rngs(0), **options)
    rnn.set_params(*gj.interop.from_linen(None, theirs))
    graph, state = nnx.split(rnn)

    def apply(state, carry, x):
        return nnx.merge(graph, state)(carry, x)

    return Ours(state, apply, lambda state: nnx.merge(graph, state).params())


@pytest.fixture(params=[make_linen, make_nnx], ids=["linen", "nnx"])
def make(request):
    """`(variables of theirs, **options) -> Ours`."""
    return request.param


def same(actual, expected, atol):
    """Asserts that two trees have the same arrays, up to rounding."""
    actual, expected = jax.tree.leaves(actual), jax.tree.leaves(expected)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=atol, atol=atol)
