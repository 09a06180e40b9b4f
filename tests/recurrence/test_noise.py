"""What is random in a recurrence; masks are data to the oracle, drawn here by the rule of keys.

The key is split in three: for zoneout, for recurrent dropout, for DropConnect. Each of these is
split over the leaves of what it is for, and zoneout's is folded with the step's position.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from problems import BATCH, HIDDEN, INPUT, OPTIONS, TIME, draw_problem, run

import gru_jax as gj

KEY = jax.random.key(5)
ZONEOUT, DROPOUT = 0.3, 0.4
SLOW = pytest.mark.slow("compiles the same derivatives in another form")
RATES = {"zoneout": ZONEOUT, "recurrent_dropout": DROPOUT}


def draw_masks(key, time=TIME):
    """Returns where the old state stays, [batch, time, hidden], and what multiplies it."""
    key_hold, key_drop, _ = (jax.random.split(key, 1)[0] for key in jax.random.split(key, 3))
    shape = BATCH, HIDDEN
    hold = [
        jax.random.bernoulli(jax.random.fold_in(key_hold, t), ZONEOUT, shape) for t in range(time)
    ]
    drop = jax.random.bernoulli(key_drop, DROPOUT, shape)
    return np.stack(hold, 1), np.where(drop, 0, 1 / (1 - DROPOUT))


@pytest.mark.parametrize(
    ("way", "reset", "reverse"),
    [
        ("gates", "before", False),
        ("states", "after", True),
        ("chunked", "before", True),
        ("turns", "after", False),
        ("autodiff", "after", True),
        ("autodiff-chunked", "before", False),
    ],
)
@pytest.mark.usefixtures("x64")
def test_every_way_of_running_draws_the_same_masks(way, reset, reverse):
    """One bit of difference would be seen."""
    problem = draw_problem(0, reset)
    options = OPTIONS.get(way, {"unroll": 3})
    hs, h_last = run(problem, reset, reverse=reverse, key=KEY, **RATES, **options)
    params, xs, h0, h_reset, valid, resets = problem
    hold, drop = draw_masks(KEY)
    boundaries = {"resets": resets, "h_reset": h_reset, "reverse": reverse}
    want, want_last = reference.unroll(params, xs, h0, valid, hold=hold, drop=drop, **boundaries)
    np.testing.assert_allclose(hs, want, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(h_last, want_last, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("reset", "memory", "key"),
    [
        pytest.param("before", "states", KEY, marks=SLOW),
        ("after", "chunked", KEY),
        ("after", "gates", None),
    ],
)
@pytest.mark.usefixtures("x64")
def test_the_rules_gradient_with_noise_is_autodiffs(reset, memory, key):
    """In evaluation, too, where zoneout is a number and no mask."""
    problem = draw_problem(1, reset)

    def gradients(**options):
        def loss(differentiable):
            hs, h_last = run(
                problem._replace(**differentiable), reset, key=key, drop_connect=0.5, **options
            )
            return (hs**2).sum() + jnp.sin(h_last).sum()

        names = ("params", "xs", "h0", "h_reset")
        return jax.jit(jax.grad(loss))({name: getattr(problem, name) for name in names})

    got = gradients(memory=memory, chunk_size=4, **RATES)
    chex.assert_trees_all_close(
        got, gradients(derivative="autodiff", **RATES), rtol=1e-10, atol=1e-12
    )


@pytest.mark.usefixtures("x64")
def test_without_a_key_zoneout_is_its_expectation_and_the_others_are_off():
    problem = draw_problem(2, "before")
    params, xs, h0, h_reset, valid, resets = problem
    options = {**RATES, "drop_connect": 0.5}
    want = reference.unroll(params, xs, h0, valid, resets=resets, h_reset=h_reset, hold=ZONEOUT)
    chex.assert_trees_all_close(run(problem, "before", **options), want, rtol=1e-12, atol=1e-13)
    options["zoneout"] = 0.0
    chex.assert_trees_all_equal(run(problem, "before", **options), run(problem, "before"))


@pytest.mark.usefixtures("x64")
def test_a_key_without_rates_changes_nothing():
    problem = draw_problem(2, "before")
    chex.assert_trees_all_equal(run(problem, "before", key=KEY), run(problem, "before"))


@pytest.fixture
def alike():
    """A cell, its parameters, and a batch of equal rows."""
    cell, time, rows = gj.gru(64), 20, 50
    params = cell.init(jax.random.key(1), INPUT)
    xs = jax.random.normal(jax.random.key(2), (time, INPUT))
    return cell, params, jnp.broadcast_to(xs, (rows, time, INPUT))


def test_zoneout_keeps_its_share_of_features_at_each_step(alike):
    cell, params, xs = alike
    hs, _ = gj.unroll(cell, params, xs, zoneout=0.3, key=KEY)
    kept = hs[:, 1:] == hs[:, :-1]
    # Five standard deviations of a share of 60,000 draws, of 1,200 and of 3,000.
    assert kept.mean() == pytest.approx(0.3, abs=0.01)
    np.testing.assert_allclose(kept.mean((1, 2)), 0.3, atol=0.07)
    np.testing.assert_allclose(kept.mean((0, 2)), 0.3, atol=0.045)
    assert (kept[:, 1:] & kept[:, :-1]).mean() == pytest.approx(0.09, abs=0.01)


def test_recurrent_dropout_is_one_mask_for_a_sequence_and_another_for_the_next(alike):
    """With z fixed at 1 a state is the candidate, and shows what its weights have seen of the old.

    W_c passes one feature of the state to each candidate, so a dropped one is a zero.
    """
    cell, params, xs = alike
    ones = jnp.full((64,), 50.0)
    W_c = jnp.concatenate([jnp.zeros((INPUT, 64)), jnp.eye(64)])
    params = params._replace(W_c=W_c, b_c=jnp.zeros(64), b_z=ones, b_r=ones)
    h0 = jnp.full((50, 64), 0.5)
    hs, _ = gj.unroll(cell, params, xs, h0, recurrent_dropout=0.3, key=KEY)
    dropped = hs == 0
    assert dropped[:, 0].mean() == pytest.approx(0.3, abs=0.04)
    np.testing.assert_array_equal(dropped, jnp.broadcast_to(dropped[:, :1], dropped.shape))
    assert len({bytes(np.asarray(row)) for row in dropped[:, 0]}) == 50
    np.testing.assert_allclose(hs[:, 0][~dropped[:, 0]], np.tanh(0.5 / 0.7), rtol=1e-5)


def test_drop_connect_is_one_draw_for_the_batch(alike):
    cell, params, xs = alike
    options = {"drop_connect": 0.3, "key": KEY}
    hs, _ = gj.unroll(cell, params, xs, **options)
    assert (hs == hs[:1]).all()
    other, _ = gj.unroll(cell, params, xs, drop_connect=0.3, key=jax.random.key(6))
    assert (hs[:, 1:] != other[:, 1:]).any()


def test_drop_connect_leaves_weights_on_x_and_biases_alone():
    """From a state of zeros the first step has nothing else."""
    cell = gj.gru(16, reset="after", bias_init=jax.nn.initializers.normal())
    params = cell.init(jax.random.key(1), INPUT)
    xs = jax.random.normal(jax.random.key(2), (BATCH, 1, INPUT))
    got = gj.unroll(cell, params, xs, drop_connect=0.9, key=KEY)
    chex.assert_trees_all_close(got, gj.unroll(cell, params, xs), rtol=1e-6)


def test_drop_connect_drops_its_share_of_each_matrix_and_scales_the_rest():
    """The gradient of a weight on the state is zero exactly where it was dropped.

    Each row of the batch has one unit of the state at 1, so that every entry is seen.
    """
    size, rate = 32, 0.3
    cell = gj.gru(size, reset="after", bias_init=jax.nn.initializers.normal())
    params = cell.init(jax.random.key(1), 1)
    xs, h0 = jnp.zeros((size, 1, 1)), jnp.eye(size)

    def loss(params):
        hs, _ = gj.unroll(cell, params, xs, h0, drop_connect=rate, key=KEY)
        return hs.sum(), hs

    gradients, got = jax.grad(loss, has_aux=True)(params)
    masks, thinned = [], params
    for name in ("W_r", "W_z", "W_c"):
        W = getattr(params, name)
        masks.append(np.asarray(getattr(gradients, name)[1:] == 0))
        thin = jnp.where(masks[-1], 0, W[1:] / (1 - rate))
        thinned = thinned._replace(**{name: W.at[1:].set(thin)})
        # Four standard deviations of a share of 1,024 draws.
        assert masks[-1].mean() == pytest.approx(rate, abs=0.06)
    assert (masks[0] != masks[1]).any()
    assert (masks[1] != masks[2]).any()
    want, _ = reference.unroll(thinned, np.asarray(xs), h0, np.ones((size, 1), bool))
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_both_directions_draw_their_own_masks(alike):
    """With equal weights, over a sequence that reads the same backwards, they would be mirrored."""
    cell, params, xs = alike
    xs = jnp.concatenate([xs, xs[:, ::-1]], 1)
    for rates, mirrored in (({}, True), ({"recurrent_dropout": 0.3}, False)):
        layer = gj.bidirectional(cell, **rates)
        ys, _ = layer.apply(
            layer.init(KEY, INPUT)._replace(forward=params, backward=params), xs, key=KEY
        )
        ahead, back = jnp.split(ys, 2, -1)
        assert np.allclose(ahead, back[:, ::-1], atol=1e-5) == mirrored


def test_recurrent_layers_pass_their_rates_and_key_on(alike):
    cell, params, xs = alike
    layer = gj.recurrent(cell, **RATES)
    chex.assert_trees_all_equal(
        layer.apply(params, xs, key=KEY), gj.unroll(cell, params, xs, key=KEY, **RATES)
    )
    deep = gj.stack(layer, gj.recurrent(cell, **RATES))
    hs, _ = deep.apply((params, gj.gru(64).init(KEY, 64)), xs, key=KEY)
    again, _ = deep.apply((params, gj.gru(64).init(KEY, 64)), xs, key=KEY)
    np.testing.assert_array_equal(hs, again)
    assert (hs[0] != hs[1]).any()


def test_masks_of_a_longer_sequence_begin_as_those_of_a_shorter_one(alike):
    cell, params, xs = alike
    whole, _ = gj.unroll(cell, params, xs, key=KEY, **RATES)
    begin, _ = gj.unroll(cell, params, xs[:, :9], key=KEY, **RATES)
    np.testing.assert_allclose(begin, whole[:, :9], atol=1e-6)
