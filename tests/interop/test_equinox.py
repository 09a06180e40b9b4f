"""Equinox's cell beside ours with the same weights."""

import equinox as eqx
import jax
import numpy as np
import pytest
from interop_cases import BATCH, HIDDEN, INPUT, draw, same_bits, tolerance

import gru_jax as gj
from gru_jax import interop


@pytest.mark.parametrize("bias", [True, False])
def test_equinoxs_cell_computes_what_ours_does(rng, dtype, bias):
    cell = eqx.nn.GRUCell(INPUT, HIDDEN, bias, dtype=dtype, key=jax.random.key(0))
    cell = jax.tree.map(lambda a: draw(rng, a.shape, dtype), cell)
    x, h = draw(rng, (BATCH, INPUT), dtype), draw(rng, (BATCH, HIDDEN), dtype)
    weigh = draw(rng, (BATCH, HIDDEN), dtype)
    net, params = interop.from_equinox(cell)
    theirs = jax.vmap(lambda cell, x, h: cell(x, h), in_axes=(None, 0, 0))
    np.testing.assert_allclose(net.step(params, x, h), theirs(cell, x, h), **tolerance(dtype))
    mine, peers = (
        jax.jit(jax.grad(lambda *a, f=f: (weigh * f(*a)).sum(), argnums=(0, 1, 2)))(first, x, h)
        for f, first in ((net.step, params), (theirs, cell))
    )
    back = interop.to_equinox(net, mine[0])
    names = ("weight_ih", "weight_hh", "bias", "bias_n")[: 4 if bias else 2]
    for name in names:
        ours, peer = getattr(back, name), getattr(peers[0], name)
        assert np.abs(peer).max() > 1e-3
        np.testing.assert_allclose(ours, peer, **tolerance(dtype))
    for ours, peer in zip(mine[1:], peers[1:], strict=True):
        np.testing.assert_allclose(ours, peer, **tolerance(dtype))
    again = interop.to_equinox(gj.recurrent(net), params)
    for name in names:
        assert getattr(again, name).tobytes() == getattr(cell, name).tobytes()
    same_bits(interop.from_equinox(again)[1], params)


def test_equinoxs_cell_is_no_subclass_which_may_compute_something_else():
    class Own(eqx.nn.GRUCell):
        pass

    needed = "from_equinox: source must be an eqx.nn.GRUCell or LSTMCell, got a Own"
    with pytest.raises(ValueError, match=needed):
        interop.from_equinox(Own(INPUT, HIDDEN, key=jax.random.key(0)))
