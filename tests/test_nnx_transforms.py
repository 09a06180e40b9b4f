"""The NNX module in training, under Flax's transforms, and where metadata put its weights."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from module_cases import GLOROT, HIDDEN, INPUT, KEY, ORTHOGONAL, XS, make_deep

from gru_jax.nnx import GRU


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
