"""Eager calls with arrays on the device move nothing from the host.

with jax.transfer_guard("disallow"): unroll(cell, params, xs)

On an accelerator each constant made on the host would wait for a copy.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import gru_jax as gj

BATCH, TIME, INPUT, HIDDEN = 2, 5, 3, 3
KEY = jax.random.key(0)
DRAW = np.random.default_rng(0)
XS = jnp.asarray(DRAW.normal(size=(BATCH, TIME, INPUT)), jnp.float32)
H0, H_RESET = (jnp.asarray(DRAW.normal(size=(BATCH, HIDDEN)), jnp.float32) for _ in range(2))
LENGTHS = jnp.array([4, 2], jnp.int32)
MASK, RESETS = (jnp.asarray(DRAW.random((BATCH, TIME)) < share) for share in (0.8, 0.3))

CELLS = {
    "gru": gj.gru(HIDDEN),
    "after": gj.gru(HIDDEN, reset="after"),
    "clip": gj.gru(HIDDEN, clip=0.5),
    "layer-norm": gj.layer_norm_gru(HIDDEN),
    "learned": gj.learned_initial_state(gj.gru(HIDDEN)),
}
PARAMS = {name: cell.init(KEY, INPUT) for name, cell in CELLS.items()}
BOTH = {
    "plain": {},
    "h0": {"h0": H0},
    "lengths": {"lengths": LENGTHS},
    "mask": {"mask": MASK},
    "resets": {"resets": RESETS},
    "everything": {"h0": H0, "lengths": LENGTHS, "mask": MASK, "resets": RESETS}
    | {"h_reset": H_RESET, "reverse": True},
    "states": {"memory": "states", "chunk_size": 2},
    "chunked": {"memory": "chunked", "chunk_size": 2},
    "drop_connect": {"key": KEY, "drop_connect": 0.1},
}
"""Options of both backends."""
LOOPS = {
    "noise": {"key": KEY, "zoneout": 0.1, "recurrent_dropout": 0.1},
    "zoneout": {"zoneout": 0.1},
    "autodiff": {"derivative": "autodiff"},
}
CASES = [
    *(("gru", backend, options) for backend in ("cpu", "xla") for options in BOTH),
    *(("gru", "xla", options) for options in LOOPS),
    ("clip", "cpu", "everything"),
    *((cell, "xla", options) for cell in list(CELLS)[1:] for options in ("plain", "everything")),
]
LAYERS = {
    "recurrent": gj.recurrent(CELLS["gru"]),
    "zoneout": gj.recurrent(CELLS["gru"], zoneout=0.1),
    "residual": gj.residual(gj.recurrent(CELLS["after"])),
    "dense": gj.dense(4),
    **{f"pool-{kind}": gj.pool(kind) for kind in ("max", "mean", "last")},
    "dropout": gj.dropout(0.5),
    "dropout-per-sequence": gj.dropout(0.5, per_sequence=True),
    "gaussian-noise": gj.gaussian_noise(0.1),
    "net": gj.stack(gj.recurrent(CELLS["gru"]), gj.pool("mean"), gj.dense(4)),
    "bidirectional": gj.bidirectional(CELLS["gru"], CELLS["layer-norm"]),
}
GIVEN = {
    "plain": {},
    "lengths": {"lengths": LENGTHS},
    "mask": {"mask": MASK, "resets": RESETS},
    "key": {"key": KEY},
}


def guarded(function, *args, **options):
    """Returns the result of a call during which nothing may move to the device."""
    jax.block_until_ready((args, options, PARAMS))
    with jax.transfer_guard_host_to_device("disallow"):
        return jax.block_until_ready(function(*args, **options))


@pytest.mark.parametrize(("cell", "backend", "options"), CASES)
@pytest.mark.parametrize("call", [gj.unroll, gj.trace])
def test_a_run_moves_nothing_from_the_host(call, cell, backend, options):
    ways = (BOTH | LOOPS)[options]
    guarded(call, CELLS[cell], PARAMS[cell], XS, backend=backend, **ways)


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_moves_nothing_from_the_host(layer, given):
    layer = LAYERS[layer]
    guarded(layer.apply, layer.init(KEY, INPUT), XS, **GIVEN[given])


@pytest.mark.parametrize("layer", [name for name in LAYERS if name != "bidirectional"])
def test_a_step_moves_nothing_from_the_host(layer):
    layer = LAYERS[layer]
    params = layer.init(KEY, INPUT)
    state = layer.initial_state(params, (BATCH, INPUT))
    guarded(layer.step, params, XS[:, 0], state)


def test_what_is_guarded_is_still_right():
    hs, _ = guarded(jax.jit(lambda xs: gj.unroll(CELLS["gru"], PARAMS["gru"], xs, H0)), XS)
    expected, _ = reference.unroll(PARAMS["gru"], XS, H0, np.ones((BATCH, TIME), bool))
    np.testing.assert_allclose(hs, expected, atol=1e-6)


def test_the_guard_finds_a_constant():
    """The tests above can fail."""
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        guarded(lambda xs: xs + np.ones(XS.shape, np.float32), XS)
