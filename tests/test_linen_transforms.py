"""The linen module in training, under Flax's transforms, and where metadata put its weights."""

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import linen as nn
from flax import serialization
from flax.training.train_state import TrainState
from module_cases import BATCH, GLOROT, HIDDEN, INPUT, KEY, ORTHOGONAL, TIME, XS
from refusals import refused

import gru_jax as gj
from gru_jax.linen import GRU


def test_a_train_state_learns_with_optax_and_comes_back_from_bytes_and_from_orbax(tmp_path):
    """To say, at each step, what the first input was; with noise between the layers."""

    class Model(nn.Module):
        @nn.compact
        def __call__(self, xs, train):
            ys, _ = GRU(16, num_layers=2, dropout=0.1, name="gru")(xs, deterministic=not train)
            return nn.Dense(1)(ys)

    model = Model()
    xs = jax.random.normal(KEY, (32, 5, 1))
    params = jax.jit(model.init, static_argnums=2)(KEY, xs, False)["params"]
    state = TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(1e-2))

    @jax.jit
    def step(state, key):
        def loss_fn(params):
            ys = state.apply_fn({"params": params}, xs, True, rngs={"dropout": key})
            return ((ys - xs[:, :1]) ** 2).mean()

        loss, grads = jax.value_and_grad(loss_fn)(state.params)
        return state.apply_gradients(grads=grads), loss

    losses = []
    for key in jax.random.split(KEY, 100):
        state, loss = step(state, key)
        losses.append(loss)
    assert losses[-1] < 0.2 * losses[0]

    fresh = TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(1e-2))
    from_bytes = serialization.from_bytes(fresh, serialization.to_bytes(state))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        from_orbax = checkpointer.restore(tmp_path / "state", fresh)
    for back in (from_bytes, from_orbax):
        assert back.step == 100
        for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(state), strict=True):
            np.testing.assert_array_equal(a, b)
    gru = GRU(16, num_layers=2, dropout=0.1)
    ys, _ = gru.net().apply(gru.params_from({"params": state.params["gru"]}), xs)
    seen = nn.Dense(1).apply({"params": state.params["Dense_0"]}, ys)
    np.testing.assert_allclose(seen, model.apply({"params": state.params}, xs, False), atol=1e-6)


def test_scan_over_pieces_of_time_goes_on_where_the_piece_before_ended():
    class Pieces(nn.Module):
        @nn.compact
        def __call__(self, pieces):
            gru = GRU(HIDDEN, num_layers=2, name="gru")

            def go_on(gru, state, xs):
                return gru(xs, h0=state)[::-1]

            scan = nn.scan(
                go_on,
                variable_broadcast="params",
                split_rngs={"params": False},
            )
            return scan(gru, gru.initial_state((BATCH, INPUT)), pieces)

    pieces = XS.reshape(BATCH, 3, TIME // 3, INPUT).swapaxes(0, 1)
    variables = Pieces().init(KEY, pieces)
    h_last, ys = Pieces().apply(variables, pieces)
    whole = GRU(HIDDEN, num_layers=2).apply({"params": variables["params"]["gru"]}, XS)
    np.testing.assert_allclose(ys.swapaxes(0, 1).reshape(BATCH, TIME, HIDDEN), whole[0], atol=1e-6)
    np.testing.assert_allclose(jax.tree.leaves(h_last), jax.tree.leaves(whole[1]), atol=1e-6)


def test_a_scanned_cell_with_resets_is_our_layer():
    """The `ScannedRNN` of code for reinforcement learning, time-major."""

    class ScannedRNN(nn.Module):
        @nn.compact
        def __call__(self, carry, ins, resets):
            def step(cell, carry, now):
                x, begins = now
                return cell(jax.numpy.where(begins[:, None], 0, carry), x)

            scan = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})
            return scan(nn.GRUCell(HIDDEN, name="cell"), carry, (ins, resets))

    keys = jax.random.split(KEY, 3)
    ins, h0 = XS.swapaxes(0, 1), jax.random.normal(keys[0], (BATCH, HIDDEN))
    resets = jax.random.bernoulli(keys[1], 0.4, (TIME, BATCH))
    variables = ScannedRNN().init(keys[2], h0, ins, resets)
    leaves, tree = jax.tree.flatten(variables)
    leaves = [a + 0.3 * jax.random.normal(keys[0], a.shape) for a in leaves]
    variables = tree.unflatten(leaves)
    expected_last, expected = ScannedRNN().apply(variables, h0, ins, resets)
    numbers = ScannedRNN().apply(variables, h0, ins, 2.0 * resets)
    np.testing.assert_array_equal(numbers[1], expected)

    weights = {"params": variables["params"]["cell"]}
    cell, params = gj.interop.from_linen(nn.GRUCell(HIDDEN), weights)
    rnn = gj.recurrent(gj.gru(HIDDEN, reset="after"))
    assert gj.recurrent(cell) == rnn
    hs, last = gj.unroll(cell, params, ins, h0, resets=resets, time_axis=0)
    np.testing.assert_allclose(hs, expected, atol=1e-6)
    np.testing.assert_allclose(last, expected_last, atol=1e-6)
    ys, _ = rnn.apply(params, XS, h0, resets=resets.T)
    np.testing.assert_allclose(ys.swapaxes(0, 1), expected, atol=1e-6)
    state = h0
    for x, begins, h in zip(ins, resets, expected, strict=True):
        y, state = rnn.step(params, x, state, begins=begins)
        np.testing.assert_allclose(y, h, atol=1e-6)


def test_scan_over_layers_is_a_loop_over_their_parameters():
    class Tower(nn.Module):
        @nn.compact
        def __call__(self, xs):
            scan = nn.scan(
                lambda gru, xs, _: gru(xs),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=3,
                metadata_params={nn.PARTITION_NAME: "layer"},
            )
            init = nn.with_partitioning(GLOROT, (None, "model"))
            return scan(GRU(INPUT, kernel_init=init, name="gru"), xs, None)

    variables = Tower().init(KEY, XS)
    specs = nn.get_partition_spec(variables)["params"]["gru"]["layers_0"]["forward"]
    assert specs["W_z"] == jax.P("layer", None, "model")
    layers = nn.unbox(variables)["params"]["gru"]
    ys = XS
    for i in range(3):
        ys, _ = GRU(INPUT).apply({"params": jax.tree.map(lambda leaf, i=i: leaf[i], layers)}, ys)
    np.testing.assert_allclose(Tower().apply(variables, XS)[0], ys, atol=1e-6)


def test_vmap_is_an_ensemble():
    ensemble = nn.vmap(
        GRU, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=None, axis_size=3
    )(HIDDEN)
    variables = jax.jit(ensemble.init)(KEY, XS)
    ys, _ = jax.jit(ensemble.apply)(variables, XS)
    apply = jax.jit(GRU(HIDDEN).apply)
    for i in range(3):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], variables)
        np.testing.assert_allclose(apply(one, XS)[0], ys[i], atol=1e-6)
    assert np.abs(ys[0] - ys[1]).max() > 1e-2


def test_remat_changes_no_gradient():
    variables = GRU(HIDDEN).init(KEY, XS)

    def gradient(module):
        def loss(variables):
            return (module.apply(variables, XS, rngs={"dropout": KEY})[0] ** 2).sum()

        return jax.jit(jax.grad(loss))(variables)

    options = {"recurrent_dropout": 0.3, "deterministic": False}
    plain, again = gradient(GRU(HIDDEN, **options)), gradient(nn.remat(GRU)(HIDDEN, **options))
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_metadata_of_initialisers_become_those_of_the_joined_weights():
    gru = GRU(
        HIDDEN,
        reset="after",
        kernel_init=nn.with_partitioning(GLOROT, (None, "model")),
        recurrent_init=nn.with_partitioning(ORTHOGONAL, (None, "model")),
        bias_init=nn.with_logical_partitioning(jax.nn.initializers.zeros, ("hidden",)),
        update_bias_init=gj.init_chrono(50),
    )
    variables = gru.init(KEY, XS)
    boxed = variables["params"]["layers_0"]["forward"]
    assert isinstance(boxed["W_r"], nn.Partitioned)
    assert isinstance(boxed["b_z"], nn.LogicallyPartitioned)
    specs = nn.get_partition_spec(variables)["params"]["layers_0"]["forward"]
    assert {specs[name] for name in ("W_r", "W_z", "W_c")} == {jax.P(None, "model")}
    assert {specs[name] for name in ("b_r", "b_z", "b_c", "b_h")} == {jax.P("hidden")}
    bare = gru.clone(
        kernel_init=GLOROT, recurrent_init=ORTHOGONAL, bias_init=jax.nn.initializers.zeros
    )
    want = bare.init(KEY, XS)
    for a, b in zip(jax.tree.leaves(variables), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(gru.apply(variables, XS)[0], bare.apply(want, XS)[0])
    assert gru.params_from(variables)._fields == gj.GRUParams._fields


def test_parameters_are_made_where_their_metadata_put_them():
    gru = GRU(HIDDEN, kernel_init=nn.with_partitioning(GLOROT, (None, "model")))
    auto = jax.sharding.AxisType.Auto
    with jax.set_mesh(jax.make_mesh((1,), ("model",), axis_types=(auto,))):
        specs = nn.get_partition_spec(jax.eval_shape(gru.init, KEY, XS))
        variables = jax.jit(gru.init, out_shardings=specs)(KEY, XS)
        W = nn.unbox(variables)["params"]["layers_0"]["forward"]["W_r"]
        assert W.sharding.spec == jax.P(None, "model")
        jax.jit(gru.apply)(variables, XS)


def test_metadata_of_a_part_alone_are_refused():
    gru = GRU(HIDDEN, recurrent_init=nn.with_partitioning(ORTHOGONAL, (None, "model")))
    with refused(
        "GRU: recurrent_init must give no metadata that kernel_init does not give, too, "
        "got Partitioned(value=0, names=(None, 'model'), mesh=None)."
    ):
        gru.init(KEY, XS)
    init = nn.with_partitioning(jax.nn.initializers.zeros, ("model",))
    with pytest.raises(ValueError, match="GRU: update_bias_init must give no metadata that bias_i"):
        GRU(HIDDEN, update_bias_init=init).init(KEY, XS)
