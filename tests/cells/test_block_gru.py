from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from cell_cases import (
    check_dtype,
    check_gradient_of_zeros,
    check_parameters,
    check_step,
    check_trace,
    check_unroll,
    draw,
)
from refusals import refused

import gru_jax as gj
from gru_jax.testing import check_cell

PARAMS = gj.block_gru(64).init(jax.random.key(0), 12)
X, H = jnp.zeros((4, 12)), jnp.zeros((4, 64))

FORMS = {
    "one layer": {"blocks": 2},
    "three layers": {"blocks": 2, "hidden_layers": 3},
    "one block": {"blocks": 1, "units": 4},
    "blocks of one": {"blocks": 6, "units": 5, "hidden_layers": 2},
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("form", FORMS)
def test_it_is_its_equations(rng, form):
    cell = gj.block_gru(6, **FORMS[form], dtype=jnp.float64)
    check_step(rng, cell, reference.block_gru_gates)
    check_parameters(rng, cell, reference.block_gru_gates)


@pytest.mark.usefixtures("x64")
def test_a_sequence_is_the_numpy_loop(rng):
    cell = gj.block_gru(6, 3, units=4, hidden_layers=2, dtype=jnp.float64)
    problem = draw(rng, cell)
    check_unroll(rng, cell, reference.block_gru_gates, *problem)
    check_trace(cell, reference.block_gru_gates, *problem)


@pytest.mark.usefixtures("x64")
def test_epsilon_is_the_one_asked_for(rng):
    cell = gj.block_gru(6, 2, epsilon=0.3, dtype=jnp.float64)
    gates = partial(reference.block_gru_gates, epsilon=0.3)
    check_step(rng, cell, gates)
    check_unroll(rng, cell, gates, *draw(rng, cell))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("shared", [True, False])
def test_a_block_sees_another_through_the_map_and_the_normalisation_alone(rng, shared):
    """The map gives `units` numbers, and the normalisation one: so many directions of h arrive."""
    block, units = 6, 2
    cell = gj.block_gru(2 * block, 2, units=units, dtype=jnp.float64)
    params, xs, h = draw(rng, cell, batch=())
    if not shared:
        params = params._replace(W_h=0 * params.W_h)
    slopes = jax.jacobian(cell.step, argnums=2)(params, xs[0], h).reshape(2, block, 2, block)
    for i, j in np.ndindex(2, 2):
        directions = block if i == j else units * shared + 1
        assert np.linalg.matrix_rank(slopes[i, :, j], tol=1e-9) == directions


@pytest.mark.usefixtures("x64")
def test_the_scale_of_the_maps_does_not_matter(rng):
    cell = gj.block_gru(6, 2, epsilon=1e-12, dtype=jnp.float64)
    params, xs, h0 = draw(rng, cell)
    larger = params._replace(
        **{name: 9 * getattr(params, name) for name in ("W_x", "b_x", "W_h", "b_h")},
        layers=tuple(layer._replace(W=7 * layer.W, b=7 * layer.b) for layer in params.layers),
    )
    want, _ = gj.unroll(cell, params, xs, h0)
    np.testing.assert_allclose(gj.unroll(cell, larger, xs, h0)[0], want, rtol=1e-6)


def test_features_of_zero_have_a_finite_gradient():
    check_gradient_of_zeros(gj.block_gru(6, 2))


HALF = pytest.param(jnp.float16, marks=pytest.mark.slow("compiles in half precision"))


@pytest.mark.parametrize("dtype", [HALF, jnp.bfloat16, jnp.float64])
@pytest.mark.usefixtures("x64")
def test_results_have_the_dtype_of_the_parameters(rng, dtype):
    check_dtype(rng, partial(gj.block_gru, 6, 2), dtype)


def test_squares_that_float16_does_not_hold_are_summed(rng):
    params, xs, h = draw(rng, gj.block_gru(6, 2, dtype=jnp.float16))
    params = params._replace(W_x=1000 * params.W_x)
    got = gj.block_gru(6, 2, dtype=jnp.float16).step(params, xs[:, 0], h)
    wide = jax.tree.map(lambda a: np.asarray(a, float), params)
    *_, want = reference.block_gru_gates(wide, np.asarray(xs[:, 0], float), np.asarray(h, float))
    np.testing.assert_allclose(got, want, atol=0.01)
    assert np.abs(xs[:, 0] @ params.W_x).max() > float(jnp.finfo(jnp.float16).max) ** 0.5


@pytest.mark.slow("compiles many derivatives")
def test_it_passes_the_battery():
    check_cell(gj.block_gru(6, 3, units=4, hidden_layers=2), 3)


def test_it_begins_as_in_dreamer_v3():
    """Each W is a truncated normal of variance 1 / fan-in; fan-in counts the rows of all blocks."""
    params = gj.block_gru(256).init(jax.random.key(0), 100)
    units = block = 32
    rows = {"W_x": 100, "W_h": 256, "W_r": 256, "W_z": 256, "W_c": 256}
    assert params.layers[0].W.shape == (8, 2 * units + block, block)
    weights = {**{name: getattr(params, name) for name in rows}, "W": params.layers[0].W}
    for name, W in weights.items():
        std = rows.get(name, 8 * (2 * units + block)) ** -0.5
        assert float(W.std()) == pytest.approx(std, rel=0.05)
        assert 2.1 * std < float(abs(W).max()) < 2.28 * std
    assert len({W.tobytes() for W in map(np.asarray, weights.values())}) == 6
    for name, values in params._asdict().items():
        if name.startswith(("b", "g")):
            np.testing.assert_array_equal(values, {"b_z": -1}.get(name, float(name[0] == "g")))
    np.testing.assert_array_equal(params.layers[0].b, 0)
    np.testing.assert_array_equal(params.layers[0].g, 1)


def test_initialisers_are_those_asked_for():
    normal, ones = jax.nn.initializers.normal(), jax.nn.initializers.ones
    options = {"kernel_init": jax.nn.initializers.zeros, "bias_init": ones, "gain_init": normal}
    cell = gj.block_gru(6, 2, update_bias=2, hidden_layers=2, **options)
    params = cell.init(jax.random.key(0), 3)
    first, second = params.layers
    for W in (params.W_x, params.W_h, params.W_r, params.W_z, params.W_c, first.W, second.W):
        np.testing.assert_array_equal(W, 0)
    for b in (params.b_x, params.b_h, params.b_r, params.b_c, first.b, second.b):
        np.testing.assert_array_equal(b, 1)
    np.testing.assert_array_equal(params.b_z, 3)
    gains = params.g_x, params.g_h, first.g, second.g
    assert len({np.asarray(g).tobytes() for g in gains}) == 4


def test_the_update_bias_is_no_part_of_a_step(rng):
    cell = gj.block_gru(6, 2)
    params, xs, h0 = draw(rng, cell)
    got = gj.block_gru(6, 2, update_bias=7).step(params, xs[:, 0], h0)
    np.testing.assert_array_equal(got, cell.step(params, xs[:, 0], h0))


def test_drop_connect_drops_all_weights_of_the_state(rng):
    cell = gj.block_gru(6, 2)
    params, xs, h0 = draw(rng, cell)
    options = {"drop_connect": 1 - 1e-6, "key": jax.random.key(0)}
    gates = gj.trace(cell, params, xs, h0, **options).gates
    same = gj.trace(cell, params, xs, -2 * h0, **options).gates
    other = gj.trace(cell, params, xs + 1, h0, **options).gates
    for gate, unmoved, moved in zip(gates[:3], same[:3], other[:3], strict=True):
        np.testing.assert_array_equal(gate, unmoved)
        assert not jnp.allclose(gate, moved, atol=1e-3)


@pytest.mark.parametrize("size", [8, 24])
def test_a_map_has_by_default_as_many_features_as_a_block(size):
    params = jax.eval_shape(lambda: gj.block_gru(size).init(jax.random.key(0), 3))
    assert params.W_x.shape == (3, size // 8)
    assert params.W_r.shape == (8, size // 8, size // 8)


@pytest.mark.untyped
def test_it_goes_through_a_file(tmp_path):
    cell = gj.block_gru(6, 3, units=4, hidden_layers=2, update_bias=0.5, epsilon=1e-3)
    net = gj.stack(gj.recurrent(cell), gj.dense(2))
    params = net.init(jax.random.key(0), 3)
    gj.save(tmp_path / "net.safetensors", net, params)
    loaded, arrays = gj.load(tmp_path / "net.safetensors")
    assert loaded == net
    jax.tree.map(np.testing.assert_array_equal, arrays, params)


def test_it_runs_in_modules_of_flax(rng):
    from flax import nnx

    from gru_jax import linen
    from gru_jax.nnx import Net

    layer = gj.recurrent(gj.block_gru(6, 2, hidden_layers=2))
    xs, resets = jnp.asarray(rng.normal(size=(2, 5, 3)), jnp.float32), np.eye(2, 5, dtype=bool)
    module = linen.Net(layer)
    variables = module.init(jax.random.key(0), xs)
    want, _ = layer.apply(variables["params"]["net"], xs, resets=resets)
    np.testing.assert_array_equal(module.apply(variables, xs, resets=resets)[0], want)
    module = Net(layer, 3, rngs=nnx.Rngs(0))
    want, _ = layer.apply(module.raw_params(), xs, resets=resets)
    np.testing.assert_array_equal(module(xs, resets=resets)[0], want)


CASES = {
    "block_gru: hidden_size must be a whole number from 1, got 0.": lambda: gj.block_gru(0),
    "block_gru: blocks must be a whole number from 1, got 0.": lambda: gj.block_gru(8, 0),
    "block_gru: hidden_size must be a multiple of blocks=8, got 100.": lambda: gj.block_gru(100),
    "block_gru: units must be a whole number from 1, got 0.": lambda: gj.block_gru(8, units=0),
    "block_gru: hidden_layers must be a whole number from 1, got 0.": (
        lambda: gj.block_gru(8, hidden_layers=0)
    ),
    "block_gru: epsilon must be above 0 and finite, got 0.": lambda: gj.block_gru(8, epsilon=0),
    "block_gru: update_bias must be a finite number, got nan.": (
        lambda: gj.block_gru(8, update_bias=float("nan"))
    ),
    "block_gru: dtype must be a floating type, got int32.": (
        lambda: gj.block_gru(8, dtype=jnp.int32)
    ),
    "block_gru: input_size must be a whole number from 1, got 0.": (
        lambda: gj.block_gru(8).init(jax.random.key(0), 0)
    ),
    "block_gru: params must be BlockGRUParams, got a GRUParams.": lambda: gj.unroll(
        gj.block_gru(64), gj.gru(64).init(jax.random.key(0), 12), X
    ),
    "block_gru: params.W_x must be [input, 9] to match the cell, got (12, 8).": lambda: gj.unroll(
        gj.block_gru(64, units=9), PARAMS, X
    ),
    "block_gru: params.layers must have length 2 to match the cell, got 1.": lambda: gj.unroll(
        gj.block_gru(64, hidden_layers=2), PARAMS, X
    ),
    "block_gru: params.W_h must be (72, 8) float32 to match params.W_x (12, 8), "
    "got (64, 8) float32.": lambda: gj.unroll(gj.block_gru(72, 9), PARAMS, X),
    "block_gru: params.layers[0].W must be (8, 24, 8) float32 to match params.W_x (12, 8), "
    "got (8, 24, 8) bfloat16.": lambda: gj.unroll(
        gj.block_gru(64),
        PARAMS._replace(
            layers=(PARAMS.layers[0]._replace(W=PARAMS.layers[0].W.astype(jnp.bfloat16)),)
        ),
        X,
    ),
    "block_gru: params.b_c must be an array, got None.": lambda: gj.unroll(
        gj.block_gru(64), PARAMS._replace(b_c=None), X
    ),
    "block_gru: x must be [*batch, 12] float32 to match params.W_x (12, 8), got (4, 11) float32.": (
        lambda: gj.block_gru(64).step(PARAMS, X[:, 1:], H)
    ),
    "block_gru: h must be [*batch, 64] float32 to match params.W_h (64, 8), got (4, 63) float32.": (
        lambda: gj.block_gru(64).step(PARAMS, X, H[:, 1:])
    ),
    "block_gru: h must have the batch axes of x (4, 12), got (3, 64).": (
        lambda: gj.block_gru(64).step(PARAMS, X, H[1:])
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()
