"""LSTM nets in float64, and the comparison with another framework's modules of them."""

import jax
import numpy as np
from interop_cases import BATCH, HIDDEN, INPUT, TIME, draw

import gru_jax as gj

LENGTHS = np.array([5, 1, 3])
CLOSE = {"rtol": 1e-10, "atol": 1e-13}


def lstm(size=HIDDEN, dtype="float64"):
    return gj.lstm(size, dtype=dtype)


def gru(size=HIDDEN):
    return gj.gru(size, reset="after", dtype="float64")


def make_nets():
    return {
        "forward": gj.recurrent(lstm()),
        "backward": gj.recurrent(lstm(), reverse=True),
        "both": gj.bidirectional(lstm()),
        "sum": gj.bidirectional(lstm(), merge="sum"),
        "stack": gj.stack(gj.recurrent(lstm()), gj.bidirectional(lstm(3))),
        "mixed": gj.stack(
            gj.recurrent(gru(3)), gj.bidirectional(lstm(), gru()), gj.recurrent(lstm(3))
        ),
    }


def check_same(rng, net, params, theirs, weights, convert):
    """Compares outputs, and gradients of weights and inputs, at all steps."""
    xs = draw(rng, (BATCH, TIME, INPUT), "float64")
    weigh = draw(rng, jax.eval_shape(net.apply, params, xs)[0].shape, "float64")

    def run(apply, weights):
        def loss(weights, xs):
            ys = apply(weights, xs)
            return (weigh * ys).sum(), ys

        differentiate = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
        (_, ys), (grads, xs_grad) = differentiate(weights, xs)
        return grads, ys, xs_grad

    grads, *mine = run(lambda params, xs: net.apply(params, xs)[0], params)
    expected, *peers = run(theirs, weights)
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(expected))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12),
        (convert(grads), mine),
        (expected, peers),
    )
