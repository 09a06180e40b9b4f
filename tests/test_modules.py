"""What holds for both Flax modules: numbers, boundaries, streaming, dtypes and noise."""

import re
from functools import partial

import chex
import jax
import jax.numpy as jnp
import module_cases
import numpy as np
import pytest
import reference
from flax import nnx
from module_cases import BATCH, HIDDEN, INPUT, KEY, LENGTHS, TIME, draw, draw_data

import gru_jax as gj
import gru_jax.linen
import gru_jax.nnx
from gru_jax.layers.recurrent import Directions

make = module_cases.make  # The fixture: each of these tests is run for both.

VALID = np.arange(TIME) < LENGTHS[:, None]
NOISES = ("zoneout", "recurrent_dropout", "drop_connect")


def loop(params, xs, h0, resets):
    """Returns the outputs and the last states of all cells, by NumPy."""
    last = []
    layers, states = (params, h0) if type(params) is tuple else ((params,), (h0,))
    for layer, state in zip(layers, states, strict=True):
        cells = (
            zip(layer, state, strict=True) if isinstance(layer, Directions) else [(layer, state)]
        )
        sides = [
            reference.unroll(
                cell,
                xs,
                h,
                VALID,
                reverse=bool(i),
                resets=resets,
                h_reset=np.zeros((BATCH, HIDDEN)),
            )
            for i, (cell, h) in enumerate(cells)
        ]
        xs = np.concatenate([hs for hs, _ in sides], -1)
        last += [h for _, h in sides]
    return xs, last


@pytest.mark.parametrize(
    ("count", "both", "reset"),
    [(1, False, "before"), (1, True, "after"), (2, False, "after"), (2, True, "before")],
)
@pytest.mark.usefixtures("x64")
def test_numbers_and_boundaries_are_those_of_numpy_loops(rng, make, count, both, reset):
    params = draw(rng, count, both, reset, jnp.float64)
    xs, h0 = draw_data(rng, count, both, jnp.float64)
    resets = rng.random((BATCH, TIME)) < 0.3
    options = {"num_layers": count, "bidirectional": both, "param_dtype": jnp.float64}
    _, apply = make(params, **options, reset=reset)
    ys, h_last = apply(xs, h0=h0, lengths=LENGTHS, resets=resets)
    want, want_last = loop(params, np.asarray(xs), h0, resets)
    np.testing.assert_allclose(ys, want, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(jax.tree.leaves(h_last), want_last, rtol=1e-12, atol=1e-12)
    assert jax.tree.structure(h_last) == jax.tree.structure(h0)
    masked, _ = apply(xs.at[~VALID].set(jnp.nan), h0=h0, mask=VALID, resets=resets)
    np.testing.assert_array_equal(masked, ys)


@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_there_may_be_no_batch_axis_or_several(rng, make, batch):
    gru, apply = make(draw(rng, 2, True), num_layers=2, bidirectional=True)
    ys, h_last = apply(jnp.ones((*batch, TIME, INPUT)))
    chex.assert_shape(ys, (*batch, TIME, 2 * HIDDEN))
    chex.assert_trees_all_equal_shapes_and_dtypes(h_last, gru.initial_state((*batch, INPUT)))


@pytest.mark.parametrize("count", [1, 3])
def test_steps_give_what_the_call_gives(rng, make, count):
    options = {"num_layers": count, "reset": "after", "zoneout": 0.3, "deterministic": True}
    gru, apply = make(draw(rng, count, False, "after"), dropout=0.2 * (count > 1), **options)
    xs, _ = draw_data(rng)
    ys, h_last = apply(xs)
    state = gru.initial_state((BATCH, INPUT))
    for t in range(TIME):
        y, state = apply(xs[:, t], state, method="step")
        np.testing.assert_allclose(y, ys[:, t], atol=1e-6)
    chex.assert_trees_all_close(state, h_last, atol=1e-6)


def test_clip_and_activations_arrive(rng, make):
    params = draw(rng, 1, False)
    xs, h0 = draw_data(rng)
    h0 = 0.1 * h0
    _, apply = make(params, activation="softsign", gate_activation="hard_sigmoid", clip=0.2)
    gates = partial(
        reference.gates,
        activation=reference.ACTIVATIONS["softsign"],
        gate_activation=reference.ACTIVATIONS["hard_sigmoid"],
    )
    want, _ = reference.unroll(params, xs, h0, VALID, gates=gates, clip=0.2)
    assert np.abs(want).max() == 0.2
    np.testing.assert_allclose(apply(xs, h0=h0, lengths=LENGTHS)[0], want, atol=1e-6)


def test_memory_and_chunks_are_as_told(rng, make):
    params, (xs, _) = draw(rng, 1, False), draw_data(rng)

    def program(**options):
        _, apply = make(params, **options)
        text = str(jax.make_jaxpr(jax.grad(lambda xs: apply(xs)[0].sum()))(xs))
        return re.sub("0x[0-9a-f]+", "", text)

    ways = [{}, {"memory": "states"}, *({"memory": "chunked", "chunk_size": n} for n in (2, 3))]
    assert program(**ways[-1]) == program(**ways[-1])
    assert len({program(**way) for way in ways}) == len(ways)


def test_half_precision_in_is_half_precision_out(rng, make):
    half = jnp.bfloat16
    params = draw(rng, 2, True)
    gru, apply = make(params, num_layers=2, bidirectional=True, dtype=half)
    xs, h0 = draw_data(rng, 2, True)
    ys, h_last = apply(xs, h0=h0)
    chex.assert_tree_all_finite(ys)
    assert {leaf.dtype for leaf in jax.tree.leaves((ys, h_last))} == {jnp.dtype(half)}
    assert {leaf.dtype for leaf in jax.tree.leaves(gru.initial_state((BATCH, INPUT)))} == {
        jnp.dtype(half)
    }
    full, _ = make(params, num_layers=2, bidirectional=True)[1](xs, h0=h0)
    np.testing.assert_allclose(ys.astype(jnp.float32), full, atol=0.05)


def test_a_step_in_half_precision_stays_there(rng, make):
    _, apply = make(draw(rng, 1, False), dtype=jnp.bfloat16)
    y, state = apply(jnp.ones((BATCH, INPUT)), jnp.ones((BATCH, HIDDEN)), method="step")
    assert y.dtype == state.dtype == jnp.bfloat16


@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_the_weights_on_the_inputs_begin_as_glorots_do(kind):
    """So many that the largest is near the bound, sqrt(6 / (inputs + hidden))."""
    if kind == "linen":
        gru = gru_jax.linen.GRU(HIDDEN)
        params = gru.params_from(gru.init(KEY, jnp.ones((1, TIME, 50))))
    else:
        params = gru_jax.nnx.GRU(50, HIDDEN, rngs=nnx.Rngs(0)).params()
    for W in (params.W_r, params.W_z, params.W_c):
        np.testing.assert_allclose(np.abs(W[:50]).max(), np.sqrt(6 / 55), rtol=0.02)


@pytest.mark.untyped
def test_with_no_dtype_all_are_promoted_together(rng, make):
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), draw(rng, 1, False))
    _, apply = make(half, param_dtype=jnp.bfloat16)
    xs, h0 = draw_data(rng)
    low = xs.astype(jnp.bfloat16)
    assert apply(low)[0].dtype == jnp.bfloat16
    assert apply(low, h0=h0)[0].dtype == apply(xs)[0].dtype == jnp.float32
    assert apply(jnp.ones((BATCH, TIME, INPUT), int))[0].dtype == jnp.bfloat16


@pytest.mark.parametrize("name", ["dropout", "zoneout", "recurrent_dropout", "drop_connect"])
def test_each_noise_hangs_on_the_key_and_ends_with_training(rng, make, name):
    count = 2 if name == "dropout" else 1
    params, (xs, _) = draw(rng, count, True), draw_data(rng)
    _, apply = make(params, num_layers=count, bidirectional=True, **{name: 0.4})
    apply = jax.jit(apply, static_argnames="deterministic")
    one, again, other = (
        apply(xs, key=jax.random.key(seed), deterministic=False)[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-2
    still, _ = apply(xs, key=KEY, deterministic=True)
    assert np.abs(one - still).max() > 1e-2
    hold = {"zoneout": 0.4} if name == "zoneout" else {}
    cells = gj.bidirectional(gj.gru(HIDDEN), **hold)
    net = gj.stack(cells, cells) if count == 2 else cells
    np.testing.assert_allclose(still, net.apply(params, xs)[0], atol=1e-6)


def test_dropout_stands_between_layers_alone_and_keeps_the_mean(rng, make):
    """Seen through a second layer that returns its inputs."""
    W = jnp.zeros((2 * HIDDEN, HIDDEN))
    zero = jnp.zeros(HIDDEN)
    through = gj.GRUParams(W, zero, W, zero + 100, W.at[:HIDDEN].set(jnp.eye(HIDDEN)), zero)
    params, (xs, _) = (draw(rng, 1, False), through), draw_data(rng)
    _, apply = make(params, num_layers=2, activation="linear", dropout=0.25)
    clean, _ = apply(xs, deterministic=True)
    keys = jax.random.split(KEY, 500)
    noisy = jax.jit(jax.vmap(lambda key: apply(xs, key=key, deterministic=False)[0]))(keys)
    kept = noisy != 0
    # 45,000 draws: four standard deviations of their mean.
    np.testing.assert_allclose(kept.mean(), 0.75, atol=8e-3)
    scaled = jnp.broadcast_to(clean / 0.75, noisy.shape)
    np.testing.assert_allclose(noisy[kept], scaled[kept], rtol=1e-5)


def test_nothing_random_asks_for_nothing(rng, make):
    _, apply = make(draw(rng, 1, False))
    xs, _ = draw_data(rng)
    np.testing.assert_array_equal(apply(xs)[0], apply(xs, deterministic=False)[0])


@pytest.mark.parametrize("name", ["linen", "nnx"])
def test_equal_modules_have_equal_nets(name):
    """So that eager calls compile once."""

    def build():
        if name == "linen":
            return gj.linen.GRU(4, num_layers=2).net()
        return gj.nnx.GRU(3, 4, num_layers=2, rngs=nnx.Rngs(0)).net()

    assert build() == build()
