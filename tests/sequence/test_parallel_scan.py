"""The backend "scan": all steps in parallel, for cells that are linear in the state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused

import gru_jax as gj
from gru_jax.sequence.backends import BACKENDS, LONG

CELL = gj.min_gru(5)


def draw(rng, dtype=np.float32, time=9):
    """Returns parameters, inputs and a state of either sign."""
    cell = gj.min_gru(5, dtype=dtype)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), dtype),
        cell.init(jax.random.key(0), 3),
    )
    xs = jnp.asarray(rng.normal(size=(2, time, 3)), dtype)
    return cell, params, xs, jnp.asarray(3 * rng.normal(size=(2, 5)), dtype)


def boundaries(rng):
    return {
        "lengths": np.array([9, 6]),
        "mask": rng.random((2, 9)) < 0.8,
        "resets": rng.random((2, 9)) < 0.3,
        "h_reset": jnp.asarray(rng.normal(size=(2, 5))),
    }


OPTIONS = {
    "plain": {},
    "memory": {"memory": "states"},
    "chunked": {"memory": "chunked", "chunk_size": 4},
    "zoneout": {"zoneout": 0.3},
    "drawn": {"zoneout": 0.3, "recurrent_dropout": 0.5, "key": jax.random.key(3)},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.usefixtures("x64")
def test_it_agrees_with_the_loop_in_values_and_gradients(name, reverse, rng):
    cell, params, xs, h0 = draw(rng, np.float64)
    limits = boundaries(rng)
    dirty = jnp.where(limits["mask"][..., None], xs, jnp.nan)

    def run(backend):
        def loss(params, xs, h0, h_reset):
            options = limits | OPTIONS[name] | {"h_reset": h_reset, "reverse": reverse}
            hs, last = gj.unroll(cell, params, xs, h0, backend=backend, **options)
            return jnp.sin(hs).sum() + jnp.cos(last).sum(), (hs, last)

        gradient = jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True)
        return jax.jit(gradient)(params, dirty, h0, limits["h_reset"])

    for a, b in zip(*map(jax.tree.leaves, (run("scan"), run("xla"))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("time", [0, 1, 700])
def test_it_agrees_for_any_number_of_steps_and_any_place_of_time(time, rng):
    cell, params, xs, h0 = draw(rng, time=time)
    expected = gj.unroll(cell, params, xs, h0, backend="xla")
    hs, last = gj.unroll(cell, params, xs, h0, backend="scan")
    major, _ = gj.unroll(cell, params, xs.swapaxes(0, 1), h0, backend="scan", time_axis=0)
    for a, b in ((hs, expected[0]), (last, expected[1]), (major.swapaxes(0, 1), expected[0])):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_in_half_precision_it_is_nearer_to_single_than_the_loop(dtype, rng):
    cell, params, xs, h0 = draw(rng, time=100)
    exact, _ = gj.unroll(cell, params, xs, h0)
    half = jax.tree.map(lambda a: a.astype(dtype), (params, xs, h0))
    errors = []
    for backend in ("scan", "xla"):
        hs, _ = gj.unroll(gj.min_gru(5, dtype=dtype), *half, backend=backend)
        assert hs.dtype == dtype
        errors.append(np.abs(hs.astype(jnp.float32) - exact).mean())
    assert errors[0] < errors[1]


def test_auto_takes_it_on_accelerators_for_long_sequences(monkeypatch, rng):
    _, params, xs, _ = draw(rng, time=LONG)
    assert gj.explain_backend(CELL, params, xs)[0] == ("xla", "a min_gru")
    monkeypatch.setattr("gru_jax.sequence.choice._platform", lambda: "cuda")
    assert gj.explain_backend(CELL, params, xs)[0].backend == "scan"
    assert gj.explain_backend(CELL, params, xs[:, 1:])[0].backend == "xla"
    assert str(gj.explain_backend(CELL, params, xs)[0]) == "a parallel scan"
    gru = gj.gru(5)
    start = gru.init(jax.random.key(0), 3)
    assert gj.explain_backend(gru, start, xs)[0] == ("xla", "programs on cuda")


def test_no_loop_is_left_however_long_the_sequence():
    xs = jax.ShapeDtypeStruct((64, 4000, 3), jnp.float32)
    cell = gj.min_gru(128)

    def loss(params, xs):
        return gj.unroll(cell, params, xs, backend="scan")[0].sum()

    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 3))
    text = jax.jit(jax.grad(loss)).lower(params, xs).as_text()
    assert "stablehlo.while" not in text


def test_a_learned_initial_state_keeps_it(rng):
    cell = gj.learned_initial_state(CELL)
    params = cell.init(jax.random.key(0), 3)
    params = params._replace(h0=jnp.asarray(rng.normal(size=5), jnp.float32))
    _, _, xs, _ = draw(rng)
    actual, expected = (gj.unroll(cell, params, xs, backend=name) for name in ("scan", "xla"))
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_cell_with_a_state_in_its_gates_is_refused(rng):
    assert list(BACKENDS) == ["gpu", "cpu", "scan", "xla"]
    params = gj.gru(5).init(jax.random.key(0), 3)
    with refused(
        'unroll: backend must be "auto" or "xla" for a cell that is not linear in its state, '
        'got "scan".'
    ):
        gj.unroll(gj.gru(5), params, draw(rng)[2], backend="scan")
