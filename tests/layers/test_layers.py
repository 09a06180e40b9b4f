"""What holds for every layer: streaming, padding and states; and what each one computes."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import gru_jax as gj

BATCH, TIME, INPUT = 4, 6, 3
LENGTHS = jnp.array([6, 2, 0, 4])
VALID = np.arange(TIME) < np.array(LENGTHS)[:, None]

LAYERS = {
    "recurrent": lambda: gj.recurrent(gj.gru(5)),
    "recurrent-reverse": lambda: gj.recurrent(gj.gru(5, reset="after"), reverse=True),
    "recurrent-zoneout": lambda: gj.recurrent(gj.layer_norm_gru(5), zoneout=0.3),
    "bidirectional": lambda: gj.bidirectional(gj.gru(5), gj.gru(4, reset="after")),
    "residual": lambda: gj.residual(gj.recurrent(gj.learned_initial_state(gj.gru(INPUT)))),
    "dense": lambda: gj.dense(7),
    "dropout": lambda: gj.dropout(0.5),
    "dropout-per-sequence": lambda: gj.dropout(0.5, per_sequence=True),
    "gaussian_noise": lambda: gj.gaussian_noise(0.3),
    "pool-max": lambda: gj.pool("max"),
    "pool-mean": lambda: gj.pool("mean"),
    "pool-last": lambda: gj.pool("last"),
    "stack": lambda: gj.stack(
        gj.gaussian_noise(0.1),
        gj.recurrent(gj.gru(5)),
        gj.dropout(0.2),
        gj.recurrent(gj.gru(4)),
        gj.pool("mean"),
        gj.dense(9),
    ),
}
STREAMING = [name for name in LAYERS if name not in ("recurrent-reverse", "bidirectional")]


@pytest.fixture(params=LAYERS)
def layer(request):
    return LAYERS[request.param]()


@pytest.fixture
def xs(rng):
    return jnp.asarray(rng.normal(size=(BATCH, TIME, INPUT)), jnp.float32)


def draw_params(layer, rng):
    """Returns random parameters, biases too."""
    params = jax.eval_shape(lambda key: layer.init(key, INPUT), jax.random.key(0))
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape), leaf.dtype), params
    )


def test_output_size_is_that_of_the_outputs(layer, xs, rng):
    ys, _ = layer.apply(draw_params(layer, rng), xs)
    assert ys.shape[-1] == layer.output_size(INPUT)


def test_the_state_has_the_structure_of_the_initial_one(layer, xs, rng):
    params = draw_params(layer, rng)
    _, state = layer.apply(params, xs)
    initial = layer.initial_state(params, (BATCH, INPUT))
    chex.assert_trees_all_equal_shapes_and_dtypes(state, initial)


def test_the_initial_state_is_the_default(layer, xs, rng):
    params = draw_params(layer, rng)
    initial = layer.initial_state(params, (BATCH, INPUT))
    chex.assert_trees_all_equal(layer.apply(params, xs, initial), layer.apply(params, xs))


@pytest.mark.parametrize("name", STREAMING)
def test_step_by_step_equals_the_whole_sequence(name, xs, rng):
    layer = LAYERS[name]()
    params = draw_params(layer, rng)
    state = layer.initial_state(params, (BATCH, INPUT))
    ys, last = layer.apply(params, xs)
    for t in range(TIME):
        y, state = layer.step(params, xs[:, t], state)
        want = ys[:, t] if ys.ndim == 3 else layer.apply(params, xs[:, : t + 1])[0]
        np.testing.assert_allclose(y, want, atol=1e-6)
    chex.assert_trees_all_close(state, last, atol=1e-6)


@pytest.mark.parametrize("name", STREAMING)
def test_all_steps_of_a_stream_are_one_program(name, xs, rng):
    layer = LAYERS[name]()
    params = draw_params(layer, rng)
    traces = []

    @jax.jit
    def step(params, x, state):
        traces.append(x)
        return layer.step(params, x, state)[1]

    state = layer.initial_state(params, (BATCH, INPUT))
    for t in range(2):
        state = step(params, xs[:, t], state)
    assert len(traces) == 1


def test_streaming_over_boundaries_is_as_the_contract_says(xs, rng):
    """Put the state back where a segment begins, keep it where a step is padding."""
    inner = gj.residual(gj.recurrent(gj.gru(4), zoneout=0.2))
    net = gj.stack(gj.recurrent(gj.learned_initial_state(gj.gru(4))), inner, gj.dense(2))
    params = draw_params(net, rng)
    resets = jnp.asarray(rng.random((BATCH, TIME)) < 0.4)
    ys, last = net.apply(params, xs, lengths=LENGTHS, resets=resets)
    initial = state = net.initial_state(params, (BATCH, INPUT))
    for t in range(TIME):
        begins, valid = resets[:, t, None], jnp.asarray(VALID)[:, t, None]
        old = state
        state = jax.tree.map(lambda new, h, begins=begins: jnp.where(begins, new, h), initial, old)
        y, state = net.step(params, xs[:, t], state)
        state = jax.tree.map(lambda h, old, valid=valid: jnp.where(valid, h, old), state, old)
        np.testing.assert_allclose(jnp.where(valid, y, 0), ys[:, t], atol=1e-6)
    chex.assert_trees_all_close(state, last, atol=1e-6)


@pytest.mark.parametrize("name", STREAMING)
def test_two_chunks_equal_the_whole_sequence(name, xs, rng):
    layer = LAYERS[name]()
    params = draw_params(layer, rng)
    first, state = layer.apply(params, xs[:, :4], mask=jnp.asarray(VALID[:, :4]))
    second, state = layer.apply(params, xs[:, 4:], state, mask=jnp.asarray(VALID[:, 4:]))
    ys, want = layer.apply(params, xs, lengths=LENGTHS)
    got = second if ys.ndim == 2 else jnp.concatenate([first, second], 1)
    np.testing.assert_allclose(got, ys, atol=1e-6)
    chex.assert_trees_all_close(state, want, atol=1e-6)


def test_garbage_in_padding_changes_no_output_and_no_gradient(layer, xs, rng):
    params = draw_params(layer, rng)

    def loss(params, xs, key):
        ys, _ = layer.apply(params, xs, lengths=LENGTHS, key=key)
        return (ys**2).sum(), ys

    valid = jnp.asarray(VALID)[..., None]
    run = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    for key in (None, jax.random.key(3)):
        clean = run(params, jnp.where(valid, xs, 0.0), key)
        chex.assert_tree_all_finite(clean)
        for garbage in (np.nan, np.inf):
            dirty = run(params, jnp.where(valid, xs, garbage), key)
            chex.assert_trees_all_equal(clean, dirty)
        if (ys := clean[1]).ndim == 3:
            assert not ys[~VALID].any()


def test_a_batch_is_its_rows_without_their_padding(layer, xs, rng):
    params = draw_params(layer, rng)
    ys, _ = layer.apply(params, xs, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone, _ = layer.apply(params, xs[row, :length])
        got = ys[row] if ys.ndim == 2 else ys[row, :length]
        np.testing.assert_allclose(got, alone, atol=1e-6)


def test_bidirectional_is_two_loops_side_by_side(xs, rng):
    layer = LAYERS["bidirectional"]()
    params = draw_params(layer, rng)
    ys, state = layer.apply(params, xs, lengths=LENGTHS)
    for p, reverse, got, h_last in (
        (params.forward, False, ys[..., :5], state.forward),
        (params.backward, True, ys[..., 5:], state.backward),
    ):
        h0 = np.zeros((BATCH, got.shape[-1]))
        want, want_last = reference.unroll(p, np.asarray(xs), h0, VALID, reverse=reverse)
        np.testing.assert_allclose(got, want, atol=1e-6)
        np.testing.assert_allclose(h_last, want_last, atol=1e-6)


def test_layers_take_numpy_data(layer, xs, rng):
    params = draw_params(layer, rng)
    ys, _ = layer.apply(params, np.asarray(xs, np.float64), lengths=np.asarray(LENGTHS))
    np.testing.assert_array_equal(ys, layer.apply(params, xs, lengths=LENGTHS)[0])


def test_stack_runs_its_layers_in_order(xs, rng):
    layer = gj.stack(gj.recurrent(gj.gru(5)), gj.dense(2))
    params = draw_params(layer, rng)
    hs, _ = reference.unroll(params[0], np.asarray(xs), np.zeros((BATCH, 5)), VALID)
    want = (hs @ np.asarray(params[1].W) + np.asarray(params[1].b)) * VALID[..., None]
    np.testing.assert_allclose(layer.apply(params, xs, lengths=LENGTHS)[0], want, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_residual_adds_the_inputs_outside_of_padding(xs, rng, reverse):
    layer = gj.residual(gj.recurrent(gj.gru(INPUT), reverse=reverse))
    params = draw_params(layer, rng)
    want, want_last = reference.unroll(
        params, np.asarray(xs), np.zeros((BATCH, INPUT)), VALID, reverse=reverse
    )
    ys, h_last = layer.apply(params, xs, lengths=LENGTHS)
    np.testing.assert_allclose(ys, want + np.asarray(xs) * VALID[..., None], atol=1e-6)
    np.testing.assert_allclose(h_last, want_last, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "pooled"),
    [("max", lambda x: x.max(0)), ("mean", lambda x: x.mean(0)), ("last", lambda x: x[-1])],
)
def test_pool_sees_valid_steps_alone(xs, kind, pooled):
    mask = VALID.copy()
    mask[0, [1, 5]] = False
    ys, _ = gj.pool(kind).apply((), xs, mask=mask)
    for row in range(BATCH):
        seen = np.asarray(xs[row])[mask[row]]
        want = pooled(seen) if len(seen) else np.zeros(INPUT)
        np.testing.assert_allclose(ys[row], want, atol=1e-6)
    ys, _ = gj.pool(kind).apply((), xs[:, :0])
    np.testing.assert_array_equal(ys, np.zeros((BATCH, INPUT)))


def test_pool_means_many_half_precision_steps_in_wider_numbers(rng):
    xs = jnp.asarray(rng.uniform(size=(1, 5000, 2)), jnp.bfloat16)
    ys, _ = gj.pool("mean").apply((), xs)
    assert ys.dtype == jnp.bfloat16
    np.testing.assert_allclose(ys.astype(float), np.asarray(xs, float).mean(1), rtol=2**-8)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.bfloat16])
@pytest.mark.usefixtures("x64")
def test_a_stack_keeps_its_dtype(dtype):
    net = gj.stack(
        gj.gaussian_noise(0.1),
        gj.bidirectional(gj.gru(5, dtype=dtype)),
        gj.dropout(0.2),
        gj.pool("max"),
        gj.dense(9, dtype=dtype),
    )
    params = jax.eval_shape(lambda key: net.init(key, INPUT), jax.random.key(0))
    xs = jax.ShapeDtypeStruct((2, 4, INPUT), dtype)
    for key in (None, jax.random.key(1)):
        run = partial(net.apply, lengths=jnp.array([4, 1]), key=key)
        assert jax.eval_shape(run, params, xs)[0].dtype == dtype


def test_a_reset_in_padding_is_none_while_streaming():
    layer = gj.recurrent(gj.gru(3))
    params, state = layer.init(jax.random.key(0), 3), jnp.ones((1, 3))
    true = jnp.ones(1, bool)
    _, after = layer.step(params, jnp.ones((1, 3)), state, begins=true, valid=~true)
    np.testing.assert_array_equal(after, state)


def test_states_that_are_booleans_stay_so_with_padding():
    cell = gj.Cell(
        init=lambda *_: (),
        initial_state=lambda _, x_shape: jnp.zeros(x_shape, bool),
        step=lambda _, x, h: x ^ h,
        input=lambda _: gj.Input((None,), jnp.bool_),
    )
    xs = jnp.ones((1, 3, 1), bool)
    hs, last = gj.unroll(cell, (), xs, lengths=jnp.array([2]))
    assert (hs.dtype, last.dtype) == (bool, bool)
    np.testing.assert_array_equal(hs[0, :, 0], [True, False, False])
