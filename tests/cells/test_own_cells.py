"""A cell is three functions: with these alone everything works."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from own_cells import image_cell, own_lstm, own_mgu, token_cell

import gru_jax as gj
from gru_jax.testing import check_cell

SLOW = pytest.mark.slow("compiles the whole battery")
both = pytest.mark.parametrize("cell", [own_lstm(4), pytest.param(own_mgu(4), marks=SLOW)], ids=str)


@both
def test_it_passes_the_battery(cell):
    check_cell(cell, 3)


@SLOW
def test_tokens_pass_the_battery():
    check_cell(token_cell(7, 4), 7)


@SLOW
def test_images_of_any_size_without_parameters_pass_the_battery():
    check_cell(image_cell(), 3, grads=False)
    xs = jnp.ones((2, 4, 5, 6, 3))
    hs, _ = gj.unroll(image_cell(), (), xs)
    assert hs.shape == xs.shape


@pytest.mark.parametrize("h0", [None, "given"])
def test_an_lstm_is_its_equations(rng, h0):
    """Hochreiter and Schmidhuber, with forget gates, in NumPy and float64."""
    cell = own_lstm(4)
    params = cell.init(jax.random.key(0), 3)
    xs = rng.normal(size=(2, 6, 3)).astype(np.float32)
    h = c = np.zeros((2, 4))
    if h0:
        h, c = rng.normal(size=(2, 2, 4)).astype(np.float32)
        h0 = jnp.asarray(h), jnp.asarray(c)
    (hs, cs), last = gj.unroll(cell, params, xs, h0)

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    for t in range(6):
        a = np.concatenate([xs[:, t], h], -1) @ np.float64(params.W) + np.float64(params.b)
        i, f, g, o = np.split(a, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        np.testing.assert_allclose(hs[:, t], h, atol=1e-6)
        np.testing.assert_allclose(cs[:, t], c, atol=1e-6)
    np.testing.assert_allclose(last[0], h, atol=1e-6)


@both
def test_a_stack_in_both_directions_learns(cell, rng):
    """Which of two sequences has the larger first feature at its last step?"""
    net = gj.stack(
        gj.bidirectional(cell), gj.residual(gj.recurrent(own_mgu(8))), gj.pool("last"), gj.dense(2)
    )
    xs = jnp.asarray(rng.normal(size=(64, 6, 3)), jnp.float32)
    lengths = jnp.asarray(rng.integers(2, 7, 64))
    labels = (xs[jnp.arange(64), lengths - 1, 0] > 0).astype(jnp.int32)

    def loss_fn(params, batch, key):
        xs, lengths, labels = batch
        logits, _ = net.apply(params, xs, lengths=lengths, key=key)
        return gj.cross_entropy(logits, labels).mean(), {"hits": gj.accuracy(logits, labels).mean()}

    tx = optax.adam(1e-2)
    loop = gj.make_train_loop(gj.make_train_step(loss_fn, tx))
    state = gj.init_train_state(jax.random.key(1), net.init(jax.random.key(0), 3), tx)
    batches = jax.tree.map(lambda a: jnp.stack([a] * 60), (xs, lengths, labels))
    _, metrics = loop(state, batches)
    assert metrics["hits"][-1] > 0.95 > 0.8 > metrics["hits"][0]


def test_a_net_of_tokens_learns(rng):
    """The next token of a cycle that jumps by the first token."""
    net = gj.stack(gj.embed(5, 8), gj.recurrent(gj.gru(16)), gj.dense(5))
    starts, jumps = rng.integers(0, 5, (2, 32, 1))
    tokens = (starts + jumps * np.arange(8)) % 5
    params = net.init(jax.random.key(0), 5)
    mask = np.ones((32, 7), bool)
    mask[:, 0] = False  # One token does not say the jump.

    def loss_fn(params, batch, key):
        logits, _ = net.apply(params, batch[:, :-1], key=key)
        hits = gj.masked_mean(gj.accuracy(logits, batch[:, 1:]), mask)
        return gj.masked_mean(gj.cross_entropy(logits, batch[:, 1:]), mask), {"hits": hits}

    tx = optax.adam(2e-2)
    loop = gj.make_train_loop(gj.make_train_step(loss_fn, tx))
    state = gj.init_train_state(jax.random.key(1), params, tx)
    _, metrics = loop(state, jnp.stack([tokens] * 80))
    assert metrics["hits"][-1] > 0.95


def test_embed_looks_up_rows_and_nan_where_there_is_none():
    layer = gj.embed(3, 2)
    params = layer.init(jax.random.key(0), 3)
    ys, _ = layer.apply(
        params, jnp.asarray([[0, 2, 3, -1]]), mask=jnp.asarray([[1, 1, 1, 0]], bool)
    )
    np.testing.assert_array_equal(ys[0, :2], params.W[jnp.asarray([0, 2])])
    assert np.isnan(ys[0, 2]).all()
    assert (ys[0, 3] == 0).all()
    with pytest.raises(ValueError, match="embed: input_size must be the vocabulary's 3, got 4"):
        layer.init(jax.random.key(0), 4)
    with pytest.raises(ValueError, match=r"embed: xs must be \[\*batch, time\] integer"):
        layer.apply(params, jnp.zeros((2, 3)))


def test_a_state_of_two_arrays_must_say_its_output():
    cell = own_lstm(4)._replace(output=None)
    layer = gj.recurrent(cell)
    params = layer.init(jax.random.key(0), 3)
    with pytest.raises(ValueError, match="recurrent: cell must say its output, an array"):
        layer.apply(params, jnp.zeros((2, 5, 3)))


def test_a_step_that_returns_another_state_is_refused():
    cell = own_mgu(4)
    wrong = cell._replace(step=lambda _, __, h: (h, h))
    with pytest.raises(ValueError, match=r"cell.step: state must be \(2, 4\) float32, got"):
        gj.unroll(wrong, cell.init(jax.random.key(0), 3), jnp.zeros((2, 5, 3)))


@pytest.mark.parametrize("option", ["recurrent_dropout", "drop_connect"])
def test_what_needs_the_step_in_parts_is_refused(option):
    cell = own_mgu(4)
    with pytest.raises(ValueError, match=f"unroll: {option} must be 0 for a cell without fast"):
        gj.unroll(cell, cell.init(jax.random.key(0), 3), jnp.zeros((2, 5, 3)), **{option: 0.5})


def test_a_step_that_is_replaced_is_the_one_that_runs(rng):
    """The fast form of the old step is not used, whatever backend is asked for."""
    cell = gj.gru(4)
    params = cell.init(jax.random.key(0), 3)
    xs = jnp.asarray(rng.normal(size=(2, 5, 3)), jnp.float32)
    still = cell._replace(step=lambda _, __, h: h + 1)
    np.testing.assert_array_equal(gj.unroll(still, params, xs)[0][:, :, 0], [[1, 2, 3, 4, 5]] * 2)
    with pytest.raises(ValueError, match="backend"):
        gj.unroll(still, params, xs, backend="cpu")


@pytest.mark.untyped
def test_it_is_saved_and_loaded_by_its_architecture(tmp_path):
    net = gj.stack(gj.recurrent(own_lstm(4)), gj.dense(2))
    params = net.init(jax.random.key(0), 3)
    gj.save(tmp_path / "net.safetensors", net, params)
    loaded, arrays = gj.load(tmp_path / "net.safetensors")
    assert repr(loaded) == repr(net) == "stack(recurrent(own_lstm(4)), dense(2))"
    xs = jnp.ones((2, 5, 3))
    np.testing.assert_array_equal(loaded.apply(arrays, xs)[0], net.apply(params, xs)[0])


def test_two_modules_cannot_register_one_name():
    def gru(size):
        return own_mgu(size)

    with pytest.raises(ValueError, match="buildable: builder must have a name of its own, got gru"):
        gj.buildable(gru)


def test_a_builder_takes_its_cells_by_position_and_no_name_that_files_use():
    def wrapped(*, cell):
        return cell._replace(architecture=None)

    def renamed(size, **options):
        return own_mgu(size)._replace(architecture=None) if options else None

    message = "buildable: wrapped's cells and layers must be arguments by position, got cell by "
    with pytest.raises(ValueError, match=f"^{message}keyword only"):
        gj.buildable(wrapped)(cell=gj.gru(4))
    message = "buildable: renamed's options must not be named builder or parts, got parts"
    with pytest.raises(ValueError, match=f"^{message}"):
        gj.buildable(renamed)(4, parts=3)


def test_equal_calls_of_a_builder_give_one_cell():
    assert own_lstm(4) is own_lstm(size=4)
    assert own_lstm(4) != own_lstm(5)
    assert gj.bidirectional(own_lstm(4)) == gj.bidirectional(own_lstm(4))
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        own_lstm()


def test_zoneout_holds_numbers_and_neither_counters_nor_flags():
    cell = gj.Cell(
        init=lambda _, __: jnp.ones(()),
        initial_state=lambda _, x_shape: (
            jnp.zeros(x_shape[:-1]),
            jnp.zeros(x_shape[:-1], jnp.int32),
            jnp.zeros(x_shape[:-1], bool),
        ),
        step=lambda weight, x, h: (h[0] + weight * x.sum(-1), h[1] + 1, ~h[2]),
        output=lambda h: h[0],
    )
    params, xs = cell.init(jax.random.key(0), 2), jnp.ones((3, 5, 2))
    for key in (None, jax.random.key(1)):
        _, (sums, counts, flags) = gj.unroll(cell, params, xs, zoneout=0.5, key=key)
        assert (sums < 10).any()
        assert (counts == 5).all()
        assert flags.all()
    layer = gj.recurrent(cell, zoneout=0.5)
    _, state = layer.step(params, xs[:, 0], layer.initial_state(params, (3, 2)))
    np.testing.assert_array_equal(state[0], 1)
    assert (state[1] == 1).all()
    assert state[2].all()


def test_the_battery_refuses_a_step_that_padding_makes_singular():
    """It divides by the length of its input, which is zero in padding."""
    cell = gj.Cell(
        init=lambda key, size: jax.random.normal(key, (size, 4)),
        initial_state=lambda W, x_shape: jnp.zeros((*x_shape[:-1], 4), W.dtype),
        step=lambda W, x, h: jnp.tanh(x / jnp.linalg.norm(x, axis=-1, keepdims=True) @ W + h),
    )
    with pytest.raises(AssertionError, match="finite") as error:
        check_cell(cell, 3, grads=False)
    assert "check_cell: padding must change no state" in error.value.__notes__[-1]


def test_the_battery_says_what_it_checked():
    """Rows that see each other, by their mean."""
    cell = gj.Cell(
        init=lambda key, size: jax.random.normal(key, (size, 4)),
        initial_state=lambda W, x_shape: jnp.zeros((*x_shape[:-1], 4), W.dtype),
        step=lambda W, x, h: jnp.tanh(x @ W + h + x.mean()),
    )
    with pytest.raises(AssertionError) as error:
        check_cell(cell, 3, grads=False)
    assert error.value.__notes__[-1].endswith("and treat each row by itself.")


@SLOW
def test_a_state_with_a_counter_passes_the_battery():
    check_cell(
        gj.Cell(
            init=lambda key, size: jax.random.normal(key, (size, 4)),
            initial_state=lambda W, x_shape: (
                jnp.zeros((*x_shape[:-1], 4), W.dtype),
                jnp.zeros(x_shape[:-1], jnp.int32),
            ),
            step=lambda W, x, h: (jnp.tanh(x @ W + h[0]), h[1] + 1),
            output=lambda h: h[0],
        ),
        3,
        grads=False,
    )
