"""The NNX module as a Flax user meets it; its numbers are tested in test_modules.py."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from module_cases import BATCH, HIDDEN, INPUT, KEY, TIME, draw, draw_data

import gru_jax as gj
from gru_jax.nnx import GRU

XS = jax.random.normal(KEY, (BATCH, TIME, INPUT))
GLOROT, ORTHOGONAL = jax.nn.initializers.glorot_uniform(), jax.nn.initializers.orthogonal()


def make_deep(**options):
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.3} | options
    return GRU(INPUT, HIDDEN, rngs=nnx.Rngs(0, dropout=1), **options)


def test_parameters_stand_under_their_names():
    gru = make_deep(reset="after")
    found = {
        "/".join(path): leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(gru, nnx.Param))
    }
    sizes = {"layers_0": INPUT, "layers_1": 2 * HIDDEN}
    assert found == {
        f"{layer}/{direction}/{name}": (size + HIDDEN, HIDDEN) if name[0] == "W" else (HIDDEN,)
        for layer, size in sizes.items()
        for direction in ("forward", "backward")
        for name in gj.GRUParams._fields
    }
    assert isinstance(gru.layers_0.forward.W_r, nnx.Param)
    assert not hasattr(make_deep().layers_0.forward, "b_h")


def test_parameters_begin_as_the_initialisers_say():
    three = jax.nn.initializers.constant(3)
    gru = GRU(
        INPUT,
        HIDDEN,
        kernel_init=three,
        update_bias_init=three,
        param_dtype=jnp.bfloat16,
        rngs=nnx.Rngs(0),
    )
    params = gru.params()
    assert {leaf.dtype for leaf in params[:-1]} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(params.W_c[:INPUT], 3)
    U = np.asarray(params.W_c[INPUT:], np.float32)
    np.testing.assert_allclose(U @ U.T, np.eye(HIDDEN), atol=0.03)
    np.testing.assert_array_equal(params.b_z, 3)
    np.testing.assert_array_equal(params.b_r, 0)
    leaves = [np.asarray(a) for a in jax.tree.leaves(make_deep().params()) if a.ndim > 1]
    assert len({leaf[-1].tobytes() for leaf in leaves}) == len(leaves) == 12


def test_values_and_gradients_are_those_of_flax_own_cell(rng):
    """`nnx.GRUCell` has no b_h, and weighs the old state with z: its z columns are negated."""
    params = draw(rng, 1, False, "after")
    params = params._replace(b_h=0 * params.b_h)
    xs, h0 = draw_data(rng)
    gru = GRU(INPUT, HIDDEN, reset="after", rngs=nnx.Rngs(0))
    gru.set_params(gru.net(), params)
    cell = nnx.GRUCell(INPUT, HIDDEN, rngs=nnx.Rngs(0))
    peer = nnx.RNN(cell)
    weights = [params.W_r, -params.W_z, params.W_c]
    cell.dense_i.kernel.set_value(jnp.concatenate([W[:INPUT] for W in weights], 1))
    cell.dense_h.kernel.set_value(jnp.concatenate([W[INPUT:] for W in weights], 1))
    cell.dense_i.bias.set_value(jnp.concatenate([params.b_r, -params.b_z, params.b_c]))
    weigh = jnp.asarray(rng.normal(size=(BATCH, TIME, HIDDEN)), jnp.float32)

    def gradient(call):
        def loss(net, xs, h0):
            ys = call(net, xs, h0)
            return (weigh * ys).sum(), ys

        return nnx.jit(nnx.grad(loss, argnums=(0, 1, 2), has_aux=True))

    (mine, *dx), ys = gradient(lambda net, xs, h0: net(xs, h0=h0)[0])(gru, xs, h0)
    (theirs, *dx_peer), ys_peer = gradient(lambda net, xs, h0: net(xs, initial_carry=h0))(
        peer, xs, h0
    )
    np.testing.assert_allclose(ys, ys_peer, atol=2e-6)
    mine = jax.tree.map(lambda leaf: leaf[...], nnx.to_pure_dict(mine))["layers_0"]["forward"]
    theirs = nnx.to_pure_dict(theirs)["cell"]
    signs = {"r": 1, "z": -1, "c": 1}
    i, h, b = (
        jnp.split(theirs[part][kind], 3, -1)
        for part, kind in (("dense_i", "kernel"), ("dense_h", "kernel"), ("dense_i", "bias"))
    )
    for (gate, sign), W_x, W_h, bias in zip(signs.items(), i, h, b, strict=True):
        want = sign * jnp.concatenate([W_x, W_h])
        np.testing.assert_allclose(mine[f"W_{gate}"], want, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(mine[f"b_{gate}"], sign * bias, rtol=1e-4, atol=1e-5)
    for a, b in zip(dx, dx_peer, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_train_and_eval_switch_noise_whose_keys_advance():
    gru = make_deep()
    one, two = gru(XS)[0], gru(XS)[0]
    assert np.abs(one - two).max() > 1e-2
    still, _ = gru(XS, deterministic=True)
    view = nnx.view(gru, deterministic=True)
    np.testing.assert_array_equal(view(XS)[0], still)
    assert not gru.deterministic
    gru.eval()
    np.testing.assert_array_equal(gru(XS)[0], still)
    gru.train()
    assert np.abs(gru(XS)[0] - still).max() > 1e-2
    np.testing.assert_array_equal(make_deep()(XS)[0], one)


def test_keys_may_be_given_in_the_call():
    """And the draws are those of the net with the same key."""
    gru = make_deep(bidirectional=False, recurrent_dropout=0.1)
    want, _ = gru.net().apply(gru.params(), XS, key=KEY)
    np.testing.assert_array_equal(gru(XS, rngs=KEY)[0], want)
    rngs = nnx.Rngs(dropout=3)
    want, _ = gru.net().apply(gru.params(), XS, key=nnx.Rngs(dropout=3).dropout())
    np.testing.assert_array_equal(gru(XS, rngs=rngs)[0], want)
    assert np.abs(gru(XS, rngs=rngs.dropout)[0] - want).max() > 1e-2


def test_the_keys_that_it_was_given_stay_where_they_are():
    rngs = nnx.Rngs(0, dropout=1)
    gru = GRU(INPUT, HIDDEN, num_layers=2, dropout=0.3, rngs=rngs)
    before = rngs.dropout.count[...]
    gru(XS)
    assert rngs.dropout.count[...] == before


def test_options_are_refused_when_it_is_made():
    with pytest.raises(ValueError, match=r"^GRU: dropout must be 0 with num_layers=1"):
        GRU(INPUT, HIDDEN, dropout=0.1, rngs=nnx.Rngs(0))


def test_without_noise_nothing_random_is_kept():
    gru = GRU(INPUT, HIDDEN, rngs=nnx.Rngs(0))
    assert not nnx.to_flat_state(nnx.state(gru, nnx.RngState))
    assert nnx.to_flat_state(nnx.state(make_deep(), nnx.RngState))


def test_an_optimizer_learns_under_jit_and_orbax_brings_it_back(tmp_path):
    """To say, at each step, what the first input was; with noise between the layers."""

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.gru = GRU(1, 16, num_layers=2, dropout=0.1, rngs=rngs)
            self.head = nnx.Linear(16, 1, rngs=rngs)

        def __call__(self, xs):
            return self.head(self.gru(xs)[0])

    xs = jax.random.normal(KEY, (32, 5, 1))
    model = Model(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        loss, grads = nnx.value_and_grad(lambda model: ((model(xs) - xs[:, :1]) ** 2).mean())(model)
        optimizer.update(model, grads)
        return loss

    losses = [step(model, optimizer) for _ in range(100)]
    assert losses[-1] < 0.2 * losses[0]

    model.eval()
    state = nnx.state(model, nnx.Param)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        back = Model(nnx.Rngs(1))
        abstract = jax.eval_shape(lambda: state)
        nnx.update(back, checkpointer.restore(tmp_path / "state", abstract))
    back.eval()
    np.testing.assert_array_equal(back(xs), model(xs))
    ys, _ = model.gru.net().apply(model.gru.params(), xs)
    np.testing.assert_allclose(model.head(ys), model(xs), atol=1e-6)


def test_split_and_merge_give_the_module_back():
    gru = make_deep(deterministic=True)
    graph, params, rest = nnx.split(gru, nnx.Param, ...)
    np.testing.assert_array_equal(nnx.merge(graph, params, rest)(XS)[0], gru(XS)[0])
    doubled = jax.tree.map(lambda leaf: 2 * leaf, params)
    assert np.abs(nnx.merge(graph, doubled, rest)(XS)[0] - gru(XS)[0]).max() > 1e-2


def test_vmap_is_an_ensemble():
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def make(rngs):
        return GRU(INPUT, HIDDEN, num_layers=2, dropout=0.3, rngs=rngs)

    ensemble = make(nnx.Rngs(0))
    run = nnx.vmap(lambda gru, xs: gru(xs)[0], in_axes=(0, None))
    noisy = run(ensemble, XS)
    ensemble.eval()
    ys = run(ensemble, XS)
    graph, state = nnx.split(ensemble)
    for i in range(3):
        one = nnx.merge(graph, jax.tree.map(lambda leaf, i=i: leaf[i], state))
        np.testing.assert_allclose(one(XS)[0], ys[i], atol=1e-6)
    assert np.abs(ys[0] - ys[1]).max() > 1e-2
    assert np.abs(noisy - ys).max() > 1e-2


def test_scan_over_layers_is_a_loop_over_their_parameters():
    @nnx.split_rngs(splits=3)
    @nnx.vmap(transform_metadata={nnx.PARTITION_NAME: "layer"})
    def make(rngs):
        metadata = {"out_sharding": (None, "model")}
        return GRU(INPUT, INPUT, kernel_metadata=metadata, rngs=rngs)

    with nnx.use_eager_sharding(False):
        layers = make(nnx.Rngs(0))
        assert layers.layers_0.forward.W_z.out_sharding == ("layer", None, "model")
        bare = nnx.scan(lambda xs, gru: gru(xs), in_axes=(nnx.Carry, 0), out_axes=(nnx.Carry, 0))
        got, _ = bare(XS, layers)
        graph, state = nnx.split(layers)
        ys = XS
        for i in range(3):
            ys, _ = nnx.merge(graph, jax.tree.map(lambda leaf, i=i: leaf[i], state))(ys)
    np.testing.assert_allclose(got, ys, atol=1e-6)


def test_remat_changes_no_gradient():
    gru = GRU(INPUT, HIDDEN, recurrent_dropout=0.3, rngs=nnx.Rngs(0))

    def gradient(call):
        return nnx.jit(nnx.grad(lambda gru: (call(gru) ** 2).sum()))(gru)

    plain = gradient(lambda gru: gru(XS, rngs=KEY)[0])
    again = gradient(nnx.remat(lambda gru: gru(XS, rngs=KEY)[0]))
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_eval_shape_draws_nothing():
    abstract = nnx.eval_shape(make_deep)
    W = abstract.layers_1.backward.W_c.get_value()
    assert (W.shape, W.dtype) == ((3 * HIDDEN, HIDDEN), jnp.float32)
    assert isinstance(W, jax.ShapeDtypeStruct)


@pytest.mark.parametrize("way", ["initialisers", "metadata"])
def test_metadata_become_those_of_the_joined_weights_and_place_them(way):
    spec = (None, "model")
    if way == "initialisers":
        options = {
            "kernel_init": nnx.with_partitioning(GLOROT, spec),
            "recurrent_init": nnx.with_partitioning(ORTHOGONAL, spec),
            "bias_init": nnx.with_partitioning(jax.nn.initializers.zeros, spec[1:]),
            "update_bias_init": jax.nn.initializers.zeros,
        }
    else:
        options = {
            "kernel_metadata": {"out_sharding": spec},
            "bias_metadata": {"out_sharding": spec[1:]},
        }
    auto = jax.sharding.AxisType.Auto
    with jax.set_mesh(jax.make_mesh((1,), ("model",), axis_types=(auto,))):
        gru = GRU(INPUT, HIDDEN, reset="after", **options, rngs=nnx.Rngs(0))
        specs = nnx.get_partition_spec(nnx.state(gru, nnx.Param))["layers_0"]["forward"]
        for name, param in gru.layers_0.forward.items():
            want = jax.P(*spec) if name[0] == "W" else jax.P("model")
            assert specs[name].get_value() == param.get_value().sharding.spec == want
        ys = nnx.jit(lambda gru, xs: gru(xs)[0])(gru, XS)
    bare = GRU(INPUT, HIDDEN, reset="after", rngs=nnx.Rngs(0))
    np.testing.assert_allclose(ys, bare(XS)[0], atol=1e-6)


def test_metadata_of_a_part_alone_are_refused():
    init = nnx.with_partitioning(ORTHOGONAL, (None, "model"))
    message = "GRU: recurrent_init must give no metadata that kernel_init does not give, too, got "
    with pytest.raises(ValueError, match=re.escape(message)):
        GRU(INPUT, HIDDEN, recurrent_init=init, rngs=nnx.Rngs(0))


def test_weights_for_other_inputs_are_refused_and_change_nothing(rng):
    gru = GRU(INPUT + 1, HIDDEN, rngs=nnx.Rngs(0))
    before = jax.tree.map(np.asarray, gru.params())
    with pytest.raises(ValueError) as error:  # noqa: PT011, the whole message is compared
        gru.set_params(gru.net(), draw(rng, 1, False))
    assert str(error.value) == (
        "GRU: params must be for 5 inputs, as input_size says, got those for 4."
    )
    jax.tree.map(np.testing.assert_array_equal, gru.params(), before)


def test_in_training_a_key_must_come_from_somewhere():
    gru = GRU(INPUT, HIDDEN, rngs=nnx.Rngs(0))
    gru.zoneout = 0.5
    with pytest.raises(ValueError, match=r"^GRU: rngs must be given in training, for the module"):
        gru(XS)
    gru(XS, rngs=KEY)
    gru(XS, deterministic=True)


def test_parameters_are_put_where_the_old_ones_are():
    init = nnx.with_partitioning(jax.nn.initializers.glorot_uniform(), (None, "model"))
    auto = jax.sharding.AxisType.Auto
    with jax.set_mesh(jax.make_mesh((1,), ("model",), axis_types=(auto,))):
        gru = GRU(INPUT, HIDDEN, kernel_init=init, rngs=nnx.Rngs(0))
        before = gru.layers_0.forward.W_r[...].sharding
        gru.set_params(gru.net(), jax.tree.map(lambda a: np.asarray(a) + 1, gru.params()))
    assert before.spec == jax.P(None, "model")
    assert gru.layers_0.forward.W_r[...].sharding == before
    plain = GRU(INPUT, HIDDEN, rngs=nnx.Rngs(0))
    plain.set_params(plain.net(), jax.tree.map(np.asarray, plain.params()))
    assert not plain.layers_0.forward.W_r[...].committed


@pytest.mark.parametrize("sizes", [(0, 5), (4.0, 5), (4, 0), (4, 5.0)])
def test_sizes_are_whole_numbers(sizes):
    name = "hidden_size" if sizes[0] == 4 and type(sizes[0]) is int else "input_size"
    with pytest.raises(ValueError, match=f"^gru: {name} must be a whole number from 1, got "):
        GRU(*sizes, rngs=nnx.Rngs(0))
    assert GRU(np.int64(4), np.int64(5), num_layers=np.int64(2), rngs=nnx.Rngs(0))


def test_tabulate_shows_the_number_of_parameters_and_leaves_the_module_whole():
    gru = GRU(INPUT, HIDDEN, num_layers=2, reset="after", rngs=nnx.Rngs(0))
    text = nnx.tabulate(gru, XS, console_kwargs={"width": 160, "force_terminal": False})
    sizes = [3 * (size + HIDDEN + 1) * HIDDEN + HIDDEN for size in (INPUT, HIDDEN)]
    assert f"Total Parameters: {sum(sizes)}" in text
    gru(XS)


def test_without_random_streams_nothing_is_built():
    with pytest.raises(ValueError, match=r"^GRU: rngs must be an nnx\.Rngs, got a NoneType\.$"):
        GRU(INPUT, HIDDEN, rngs=None)
