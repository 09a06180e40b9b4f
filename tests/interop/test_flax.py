"""Flax's own modules beside ours with the same weights, there and back, and their checkpoints."""

import json
import operator

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import linen as nn
from flax import nnx, serialization
from interop_cases import (
    AFTER,
    BATCH,
    HIDDEN,
    INPUT,
    TIME,
    check_damaged,
    check_message,
    draw,
    draw_params,
    same_bits,
    tolerance,
)

import gru_jax as gj
from gru_jax import interop
from gru_jax.interop.flax.cell_arrays import OWN as OWN_NAMES
from gru_jax.linen import GRU
from gru_jax.nnx import GRU as NNXGRU

LENGTHS = np.array([5, 1, 3])


def cell(dtype="float32", **options):
    return gj.gru(HIDDEN, reset="after", dtype=dtype, **options)


def make_nets(dtype):
    odd = {"activation": "softsign", "gate_activation": "hard_sigmoid"}
    return {
        "forward": gj.recurrent(cell(dtype)),
        "backward": gj.recurrent(cell(dtype, **odd), reverse=True),
        "both": gj.bidirectional(cell(dtype), cell(dtype, **odd)),
        "sum": gj.bidirectional(cell(dtype), merge="sum"),
        "stack": gj.stack(gj.recurrent(cell(dtype)), gj.bidirectional(cell(dtype))),
    }


def check_same(rng, dtype, net, params, theirs, weights, convert):
    """Compares outputs, and gradients of weights and inputs, under lengths."""
    xs = draw(rng, (BATCH, TIME, INPUT), dtype)
    size = jax.eval_shape(net.apply, params, xs)[0].shape[-1]
    weigh = draw(rng, (BATCH, TIME, size), dtype)
    # Theirs do not put zeros in padded steps: they are not compared.
    valid = jnp.asarray(np.arange(TIME) < LENGTHS[:, None], dtype)[..., None]

    def ours(params, xs):
        return net.apply(params, xs, lengths=LENGTHS)[0]

    def run(apply, weights):
        def loss(weights, xs):
            ys = valid * apply(weights, xs)
            return (weigh * ys).sum(), ys

        differentiate = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
        (_, ys), (grads, xs_grad) = differentiate(weights, xs)
        return ys, xs_grad, grads

    with jax.numpy_rank_promotion("allow"):
        (*mine, grads), (*peers, expected) = run(ours, params), run(theirs, weights)
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(expected))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **tolerance(dtype)),
        (*mine, convert(grads)),
        (*peers, expected),
    )


CASES = [("float32", "both"), *(("float64", name) for name in make_nets("float32"))]


@pytest.mark.parametrize(("dtype", "name"), CASES, indirect=["dtype"])
def test_linen_computes_what_ours_does(rng, dtype, name):
    net = make_nets(dtype)[name]
    params = draw_params(rng, net, dtype)
    module, variables = interop.to_linen(net, params)
    lengths = {} if name == "stack" else {"seq_lengths": LENGTHS}
    if name == "stack":  # a Sequential hands on no lengths

        def theirs(variables, xs):
            for number, layer in enumerate(module.layers):
                own = {"params": variables["params"][f"layers_{number}"]}
                xs = layer.apply(own, xs, seq_lengths=LENGTHS)
            return xs

        jax.eval_shape(module.apply, variables, jnp.zeros((BATCH, TIME, INPUT), dtype))
    else:

        def theirs(variables, xs):
            return module.apply(variables, xs, **lengths)

    convert = lambda grads: interop.to_linen(net, grads)[1]  # noqa: E731
    check_same(rng, dtype, net, params, theirs, variables, convert)
    again, same = interop.from_linen(module, variables)
    assert again.architecture == net.architecture
    same_bits(same, params)
    same_bits(interop.to_linen(again, same)[1], variables)


@pytest.mark.parametrize(("dtype", "name"), CASES, indirect=["dtype"])
def test_nnx_computes_what_ours_does(rng, dtype, name):
    net = make_nets(dtype)[name]
    params = jax.tree.map(lambda a: draw(rng, a.shape, dtype), net.init(jax.random.key(0), INPUT))
    params = without_b_h(params)
    graph, state, rest = nnx.split(interop.to_nnx(net, params), nnx.Param, ...)
    layers = len(interop.to_nnx(net, params).layers) if name == "stack" else 0

    def theirs(tree, xs):
        state_now = jax.tree.map(lambda a: a, state)
        nnx.replace_by_pure_dict(state_now, tree)
        module = nnx.merge(graph, state_now, rest, copy=True)
        for number in range(layers):
            xs = module.layers[number](xs, seq_lengths=LENGTHS)
        return xs if layers else module(xs, seq_lengths=LENGTHS)

    def convert(grads):
        return nnx.to_pure_dict(nnx.state(interop.to_nnx(net, without_b_h(grads)), nnx.Param))

    weights = nnx.to_pure_dict(state)
    check_same(rng, dtype, net, params, theirs, weights, convert)
    again, same = interop.from_nnx(interop.to_nnx(net, params))
    assert again.architecture == net.architecture
    same_bits(same, params)


def without_b_h(tree):
    def zero(node):
        return node._replace(b_h=jnp.zeros_like(node.b_h))

    return jax.tree.map(
        lambda node: zero(node) if isinstance(node, gj.GRUParams) else node,
        tree,
        is_leaf=lambda node: isinstance(node, gj.GRUParams),
    )


def test_a_cell_is_a_cell(rng):
    x, h = draw(rng, (BATCH, INPUT), "float32"), draw(rng, (BATCH, HIDDEN), "float32")
    params = without_b_h(draw_params(rng, AFTER, "float32"))
    expected = AFTER.step(params, x, h)
    module, variables = interop.to_linen(AFTER, params)
    other = interop.to_nnx(AFTER, params)
    with jax.numpy_rank_promotion("allow"):
        np.testing.assert_allclose(module.apply(variables, h, x)[0], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(other(h, x)[0], expected, rtol=1e-5, atol=1e-5)
    for again, same in (interop.from_linen(module, variables), interop.from_nnx(other)):
        assert again.architecture == AFTER.architecture
        same_bits(same, params)


def test_nnx_has_dropout_between_layers_and_no_b_h(rng):
    net = gj.stack(gj.recurrent(AFTER), gj.dropout(0.25), gj.recurrent(AFTER), gj.dropout(0.5))
    params = draw_params(rng, net, "float32")
    with pytest.raises(ValueError, match="to_nnx: b_h must be zero, got other numbers: Flax nnx's"):
        interop.to_nnx(net, params)
    params = without_b_h(params)
    module = interop.to_nnx(net, params)
    again, same = interop.from_nnx(module)
    assert again.architecture == net.architecture
    same_bits(same, params)
    xs = draw(rng, (BATCH, TIME, INPUT), "float32")
    module.eval()
    with jax.numpy_rank_promotion("allow"):
        np.testing.assert_allclose(module(xs), net.apply(params, xs)[0], rtol=1e-5, atol=1e-5)
    with pytest.raises(
        ValueError, match=r"to_linen: net must be without dropout, got a rate of 0\.25"
    ):
        interop.to_linen(net, params)
    net = gj.stack(gj.recurrent(AFTER), gj.recurrent(AFTER), gj.dropout(0.5))
    module = interop.to_nnx(net, (params[0], params[2], params[3]))
    same_bits(interop.from_nnx(nnx.state(module))[1], (params[0], params[2]))


def test_operator_add_is_a_sum_too(rng):
    net = make_nets("float32")["sum"]
    params = draw_params(rng, net, "float32")
    module = nn.Bidirectional(RNN.copy(), RNN.copy(), merge_fn=operator.add)
    again, same = interop.from_linen(module, interop.to_linen(net, params)[1])
    assert again.architecture == net.architecture
    same_bits(same, params)


def test_ten_layers_and_more_stay_in_their_order(rng):
    """Of which names sort layers_10 before layers_2."""
    net = gj.stack(*[gj.recurrent(AFTER)] * 11)
    params = draw_params(rng, net, "float32")
    _, variables = interop.to_linen(net, params)
    backwards = dict(reversed(variables["params"].items()))
    for tree in (backwards, dict(sorted(backwards.items()))):
        same_bits(interop.from_linen(None, tree)[1], params)


class Model(nn.Module):
    """GRUs as users write them, in a compact module and by attributes."""

    def setup(self):
        self.encoder = nn.RNN(nn.GRUCell(HIDDEN))
        self.pair = nn.Bidirectional(nn.RNN(nn.GRUCell(HIDDEN)), nn.RNN(nn.GRUCell(HIDDEN)))
        self.inner = Compact()

    def __call__(self, xs):
        return self.inner(self.pair(self.encoder(xs)))


class Compact(nn.Module):
    @nn.compact
    def __call__(self, xs):
        return nn.Dense(2)(nn.RNN(nn.GRUCell(HIDDEN))(xs))


@pytest.fixture(scope="module")
def model():
    model, xs = Model(), jax.random.normal(jax.random.key(1), (BATCH, TIME, INPUT))
    with jax.numpy_rank_promotion("allow"):
        variables = model.init(jax.random.key(0), xs)
    rng = np.random.default_rng(0)
    return model, jax.tree.map(lambda a: draw(rng, a.shape, a.dtype), variables), xs


def test_a_gru_is_found_in_a_users_model_by_its_name(model):
    module, variables, xs = model
    encoder, params = interop.from_linen(None, variables, name="encoder")
    pair, pair_params = interop.from_linen(None, variables, name="pair")
    inner, inner_params = interop.from_linen(None, variables, name="inner/GRUCell_0")
    ys, _ = encoder.apply(params, xs)
    ys, _ = pair.apply(pair_params, ys)
    ys, _ = gj.recurrent(inner).apply(inner_params, ys)
    dense = variables["params"]["inner"]["Dense_0"]
    ys = ys @ dense["kernel"] + jnp.broadcast_to(dense["bias"], (BATCH, TIME, 2))
    with jax.numpy_rank_promotion("allow"):
        np.testing.assert_allclose(ys, module.apply(variables, xs), rtol=1e-5, atol=1e-5)
    rnn = nn.RNN(nn.GRUCell(HIDDEN), reverse=True, keep_order=True)
    back, same = interop.from_linen(rnn, variables, name="inner/GRUCell_0")
    assert dict(back.architecture.options)["reverse"]
    same_bits(same, inner_params)
    only = {"params": {"encoder": variables["params"]["encoder"], "head": {"w": jnp.ones(2)}}}
    same_bits(interop.from_linen(None, only)[1], params)
    same_bits(interop.from_linen(None, variables, name="GRUCell_0")[1], inner_params)
    known = "'encoder' or 'inner/GRUCell_0' or 'pair'"
    with pytest.raises(ValueError, match=f"^from_linen: name must be {known}, got None"):
        interop.from_linen(None, variables)


def test_partitioned_variables_are_taken_out_of_their_boxes(rng):
    init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
    module = nn.RNN(nn.GRUCell(HIDDEN, kernel_init=init))
    with jax.numpy_rank_promotion("allow"):
        variables = module.init(jax.random.key(0), draw(rng, (1, 2, INPUT), "float32"))
    same_bits(
        interop.from_linen(module, variables)[1],
        interop.from_linen(module, nn.meta.unbox(variables))[1],
    )


def checkpoints(tmp_path, variables):
    """Writes variables as users do, and yields each file or folder."""
    (tmp_path / "a.msgpack").write_bytes(serialization.to_bytes(variables))
    yield tmp_path / "a.msgpack"
    with ocp.StandardCheckpointer() as saver:
        saver.save(tmp_path / "standard", variables)
    yield tmp_path / "standard"
    with ocp.CheckpointManager(tmp_path / "steps") as manager:
        for step in (9, 10):
            saved = jax.tree.map(lambda a, step=step: a * step, variables)
            manager.save(step, args=ocp.args.StandardSave(saved))
        manager.wait_until_finished()
    yield tmp_path / "steps" / "9"


@pytest.mark.filterwarnings("ignore::UserWarning:orbax")
def test_a_checkpoint_of_flaxs_gru_drops_into_our_modules(rng, tmp_path):
    theirs = nn.RNN(nn.GRUCell(HIDDEN))
    xs = draw(rng, (BATCH, TIME, INPUT), "float32")
    with jax.numpy_rank_promotion("allow"):
        variables = theirs.init(jax.random.key(0), xs)
        variables = jax.tree.map(lambda a: draw(rng, a.shape, a.dtype), variables)
        expected = theirs.apply(variables, xs)
    ours = GRU(HIDDEN, reset="after")
    other = NNXGRU(INPUT, HIDDEN, reset="after", rngs=nnx.Rngs(0))
    for path in checkpoints(tmp_path, variables):
        net, params = interop.read(path, format="flax")
        factor = 9 if path.name == "9" else 1
        jax.tree.map(
            lambda a, b, factor=factor: np.testing.assert_array_equal(a, b * factor),
            interop.to_linen(ours.net(), params)[1],
            variables,
        )
        if factor == 1:
            ys, _ = ours.apply(ours.variables_from(net, params), xs)
            np.testing.assert_allclose(ys, expected, rtol=1e-5, atol=1e-5)
            other.set_params(net, params)
            np.testing.assert_allclose(other(xs)[0], expected, rtol=1e-5, atol=1e-5)
    latest, last = (
        interop.read(path)[1] for path in (tmp_path / "steps", tmp_path / "steps" / "10")
    )
    same_bits(latest, last)
    assert (latest.W_c != params.W_c).all()


@pytest.mark.filterwarnings("ignore::UserWarning:orbax")
def test_a_checkpoint_of_nnx_and_one_of_a_train_state_are_read(rng, tmp_path):
    params = without_b_h(draw_params(rng, AFTER, "float32"))
    state = nnx.state(interop.to_nnx(gj.recurrent(AFTER), params))
    with ocp.StandardCheckpointer() as saver:
        saver.save(tmp_path / "nnx", state)
    same_bits(interop.read(tmp_path / "nnx")[1], params)
    same_bits(interop.from_nnx(state)[1], params)
    _, variables = interop.to_linen(gj.recurrent(AFTER), params)
    moments = {"0": {"mu": variables["params"], "nu": variables["params"]}}
    train_state = {"params": variables["params"], "opt_state": moments, "step": 3}
    nested = {"params": variables, "step": 3}
    for tree in (train_state, nested):
        (tmp_path / "a.msgpack").write_bytes(serialization.msgpack_serialize(tree))
        same_bits(interop.read(tmp_path / "a.msgpack")[1], params)
        for module in (None, RNN):
            same_bits(interop.from_linen(module, tree)[1], params)


def test_a_gru_is_found_in_a_msgpack_by_its_name(rng, tmp_path):
    net = gj.stack(gj.recurrent(AFTER), gj.recurrent(AFTER))
    params = draw_params(rng, net, "float32")
    _, variables = interop.to_linen(net, params)
    tree = dict(zip(("encoder", "decoder"), variables["params"].values(), strict=True))
    (tmp_path / "a.msgpack").write_bytes(serialization.to_bytes({"params": tree}))
    for name, alone in zip(tree, params, strict=True):
        same_bits(interop.read(tmp_path / "a.msgpack", name=name)[1], alone)
    with pytest.raises(ValueError, match="name must be 'encoder' or 'decoder', got None"):
        interop.read(tmp_path / "a.msgpack")


def test_a_damaged_msgpack_is_one_error(rng, tmp_path):
    path, net = tmp_path / "a.msgpack", gj.recurrent(gj.gru(2, reset="after"))
    interop.write(path, net, draw_params(rng, net, "float32", 1))
    _, refusals = check_damaged(rng, path, flips=600)
    assert refusals > 100
    path.write_bytes(b"\xdd\xff\xff\xff\xff" + b"\x91" * 5000)  # an array of 2^32 - 1 arrays
    with pytest.raises(ValueError, match=r"a\.msgpack must be a whole checkpoint"):
        interop.read(path)
    path.write_bytes(serialization.msgpack_serialize([1, 2]))
    with pytest.raises(ValueError, match=r"a\.msgpack: .* arrays by name in dicts, got a list\.$"):
        interop.read(path)


def test_a_damaged_folder_is_one_error(rng, tmp_path):
    net = gj.recurrent(AFTER)
    _, variables = interop.to_linen(net, draw_params(rng, net, "float32"))
    with ocp.StandardCheckpointer() as saver:
        saver.save(tmp_path / "x", variables)
    for file in (tmp_path / "x").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match="x must be a whole checkpoint of Flax's, but: ") as error:
        interop.read(tmp_path / "x")
    check_message(error.value, tmp_path / "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty must be a whole checkpoint of Flax's"):
        interop.read(tmp_path / "empty")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("text")
    with pytest.raises(ValueError, match=r"other must be .* it has no metadata"):
        interop.read(tmp_path / "other")


@pytest.mark.parametrize("library", ["linen", "nnx"])
def test_layers_around_something_unknown_are_taken_one_by_one(rng, library):
    net = gj.stack(*[gj.recurrent(gj.gru(INPUT, reset="after"))] * 2)
    params = without_b_h(draw_params(rng, net, "float32"))
    if library == "nnx":
        first, last = interop.to_nnx(net, params).layers
        state = nnx.state(nnx.Sequential(first, nnx.Dropout(0.1, rngs=nnx.Rngs(0)), last))
        read, names = interop.from_nnx, ("layers/0", "layers/2")
    else:
        tree = interop.to_linen(net, params)[1]["params"]
        state = {"layers_0": tree["layers_0"], "layers_2": tree["layers_1"]}
        read, names = lambda *a, **k: interop.from_linen(None, *a, **k), ("layers_0", "layers_2")
    with pytest.raises(ValueError, match=f"name must be '{names[0]}' or '{names[1]}', got None"):
        read(state)
    for name, one in zip(names, params, strict=True):
        same_bits(read(state, name=name)[1], one)


ONES = jnp.ones((1, 2, INPUT))


def linen_case(module):
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    with jax.numpy_rank_promotion("allow"):
        variables = module.init(rngs, ONES)
    return lambda: interop.from_linen(module, variables)


def tree_case(**tree):
    return lambda: interop.from_linen(None, tree)


class MyCell(nn.GRUCell):
    pass


class MyRNN(nn.RNN):
    pass


class MyBidirectional(nn.Bidirectional):
    pass


class MyNNXCell(nnx.GRUCell):
    pass


class MyNNXRNN(nnx.RNN):
    pass


def nnx_cell():
    return nnx.GRUCell(INPUT, HIDDEN, rngs=nnx.Rngs(0))


RNGS = nnx.Rngs(0)
OWN = {name: np.ones((7, 4) if "W" in name else 4, "f") for name in OWN_NAMES}
RNN = nn.RNN(nn.GRUCell(HIDDEN))
_, PLAIN = interop.to_linen(AFTER, AFTER.init(jax.random.key(0), INPUT))
PLAIN = PLAIN["params"]
DENSE = {"kernel": np.ones((4, 12), "f"), "bias": np.ones(12, "f")}
REFUSED = {
    "another cell": (
        linen_case(nn.RNN(nn.LSTMCell(HIDDEN))),
        "module must be an RNN of a GRUCell, got one with",
    ),
    "a minimal cell": (
        linen_case(nn.RNN(nn.MGUCell(HIDDEN))),
        "module must be an RNN of a GRUCell, got one with hf, hn, if, in.",
    ),
    "another order": (
        linen_case(nn.RNN(nn.GRUCell(HIDDEN), reverse=True)),
        "keep_order must be True with reverse=True, got False: such an RNN gives its outputs "
        "last step first, and gru_jax's are in the order of the inputs.",
    ),
    "another merge": (
        linen_case(nn.Bidirectional(RNN.copy(), RNN.copy(), merge_fn=operator.mul)),
        "merge_fn must be the default or jnp.add, got <built-in function mul>",
    ),
    "a gate": (
        linen_case(nn.RNN(nn.GRUCell(HIDDEN, gate_fn=nn.relu))),
        "gate_fn must be hard_sigmoid, sigmoid of jax.nn, got",
    ),
    "a function": (
        linen_case(nn.RNN(nn.GRUCell(HIDDEN, activation_fn=jnp.sin))),
        "activation_fn must be elu, ",
    ),
    "more layers": (
        linen_case(nn.Sequential([RNN.copy(), nn.relu, RNN.copy()])),
        "module must have GRUs alone in a Sequential, with one dropout behind each and no "
        "broadcast_dims, got relu.",
    ),
    "a dense layer": (
        linen_case(nn.Sequential([RNN.copy(), nn.Dense(3)])),
        "module must be Flax's own GRUCell or RNN or Bidirectional or Sequential, got a Dense: "
        "give the part that is one or, if it computes the same, its variables alone.",
    ),
    "dropout first": (
        linen_case(nn.Sequential([nn.Dropout(0.5, deterministic=True), RNN.copy()])),
        "with one dropout behind each and no broadcast_dims, got Dropout.",
    ),
    "both reversed": (
        linen_case(
            nn.Bidirectional(nn.RNN(nn.GRUCell(HIDDEN), reverse=True, keep_order=True), RNN.copy())
        ),
        "forward_rnn must have reverse=False, got True.",
    ),
    "more behind a chain": (
        tree_case(layers_0={"cell": PLAIN}, layers_1={"cell": PLAIN}, head={"w": np.ones(2)}),
        "name must be 'layers_0' or 'layers_1', got None.",
    ),
    "more than a chain has": (
        lambda: interop.from_linen(
            nn.Sequential([RNN]), {"layers_0": {"cell": PLAIN}, "head": {"w": np.ones(2)}}
        ),
        "variables must be those of a GRUCell, RNN, Bidirectional or Sequential of them, got head, "
        "layers_0;",
    ),
    "no dicts": (
        tree_case(dense_i=np.ones(3), dense_h=np.ones(3)),
        "there must be a GRU, got dense_i, dense_h.",
    ),
    "b_h in nnx": (
        tree_case(dense_i=DENSE, dense_h=DENSE),
        "must have dense_i/kernel, dense_i/bias and dense_h/kernel alone, got dense_h/bias, "
        "dense_h/kernel, dense_i/bias, dense_i/kernel.",
    ),
    "no GRU": (tree_case(Dense_0={"kernel": np.ones(3)}), "there must be a GRU, got Dense_0."),
    "nothing": (tree_case(), "there must be a GRU, got nothing."),
    "no bias": (
        tree_case(**PLAIN | {"hn": {"kernel": np.ones((4, 4), "f")}}),
        "must have hn/bias, got none",
    ),
    "another shape": (
        tree_case(**PLAIN | {"hz": {"kernel": np.ones((4, 5), "f")}}),
        "hz/kernel must be (4, 4), got (4, 5)",
    ),
    "unknown between": (
        tree_case(layers_0={"cell": PLAIN}, layers_2={"cell": PLAIN}),
        "name must be 'layers_0' or 'layers_2', got None.",
    ),
    "nnx's other cell": (
        lambda: interop.from_nnx(nnx.OptimizedLSTMCell(3, 4, rngs=nnx.Rngs(0))),
        "got a OptimizedLSTMCell",
    ),
    "nnx's own reverse": (
        lambda: interop.from_nnx(nnx.RNN(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)), reverse=True)),
        "keep_order must be True",
    ),
    "no tree": (
        lambda: interop.from_linen(None, None),
        "there must be arrays by name in dicts, got a NoneType.",
    ),
    "another start": (
        linen_case(nn.RNN(nn.GRUCell(HIDDEN, carry_init=nn.initializers.ones))),
        "carry_init must be zeros, got <function ones",
    ),
    "a cell that inherits": (linen_case(nn.RNN(MyCell(HIDDEN))), "cell must be Flax's own GRUCell"),
    "an RNN that inherits": (linen_case(MyRNN(nn.GRUCell(HIDDEN))), "got a MyRNN: give the part"),
    "nnx's cell that inherits": (lambda: interop.from_nnx(MyNNXCell(3, 4, rngs=RNGS)), "MyNNXCell"),
    "nnx's RNN that inherits": (lambda: interop.from_nnx(MyNNXRNN(nnx_cell())), "got a MyNNXRNN: "),
    "one that inherits in a pair": (
        lambda: interop.from_nnx(nnx.Bidirectional(nnx.RNN(nnx_cell()), MyNNXRNN(nnx_cell()))),
        "backward_rnn must be Flax's own RNN, got a MyNNXRNN",
    ),
    "a pair that inherits in a chain": (
        linen_case(nn.Sequential([RNN.copy(), MyBidirectional(RNN.copy(), RNN.copy())])),
        "got a MyBidirectional: give the part",
    ),
    "our own module": (
        lambda: interop.from_linen(GRU(HIDDEN), GRU(HIDDEN).init(jax.random.key(0), ONES)),
        "Sequential, got gru_jax's GRU: its net() and its params_from(variables) are what this",
    ),
    "our own module of nnx": (
        lambda: interop.from_nnx(NNXGRU(INPUT, HIDDEN, rngs=RNGS)),
        "got gru_jax's GRU: its net() and its params() are what this returns.",
    ),
    "two dropouts": (
        linen_case(
            nn.Sequential(
                [
                    RNN.copy(),
                    nn.Dropout(0.5, deterministic=True),
                    nn.Dropout(0.1, deterministic=True),
                ]
            )
        ),
        "with one dropout behind each and no broadcast_dims, got Dropout.",
    ),
    "a dropout for all steps at once": (
        lambda: interop.from_nnx(
            nnx.Sequential(nnx.RNN(nnx_cell()), nnx.Dropout(0.5, broadcast_dims=(1,), rngs=RNGS))
        ),
        "with one dropout behind each and no broadcast_dims, got Dropout.",
    ),
    "two RNNs of no pair": (
        tree_case(forward={"cell": PLAIN}, backward={"cell": PLAIN}),
        "name must be 'forward' or 'backward', got None.",
    ),
    "half a pair": (
        tree_case(forward_rnn={"cell": PLAIN}, backward_rnn="x"),
        "backward_rnn must be an RNN of a GRUCell, got one with a str.",
    ),
    "half a pair of ours": (
        tree_case(forward=OWN, backward={"W_r": 1}),
        "backward must be a GRU, got W_r.",
    ),
    "a string": (tree_case(**OWN | {"W_z": "x"}), "W_z must be an array, got a str."),
    "a scalar": (
        tree_case(**{k: {leaf: np.float32(1) for leaf in PLAIN[k]} for k in PLAIN}),
        "hn/bias must be (1,), got ()",
    ),
    "several dtypes": (
        tree_case(**OWN | {"W_z": np.ones((7, 4), np.float16)}),
        "weights must have one dtype, got float16 and float32.",
    ),
    "a part of a module": (
        lambda: interop.from_linen(RNN, {"cell": PLAIN}, name="layers_0"),
        "name must be None, got 'layers_0': name says where all arrays of the module are; for a "
        "part of them give None for the module.",
    ),
    "another module's": (
        lambda: interop.from_linen(RNN, {"forward_rnn": {"cell": PLAIN}, "backward_rnn": {}}),
        "variables must be those of the RNN, got forward_rnn.",
    ),
    "no Flax": (lambda: interop.from_nnx({}), "there must be a GRU, got nothing."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_gru_of_ours_is_one_sentence(name):
    read, message = REFUSED[name]
    with pytest.raises(ValueError, match=r"^from_(linen|nnx): ") as error:
        read()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (gj.recurrent(AFTER, reverse=True), "net must run forward, got reverse=True: a file of"),
        (gj.bidirectional(AFTER, merge="sum"), 'merge must be "concat", got "sum": a file of'),
        (gj.recurrent(cell(activation="relu")), "activation must be 'tanh', got 'relu': a file of"),
        (
            gj.recurrent(cell(gate_activation="hard_sigmoid")),
            "gate_activation must be 'sigmoid', got 'hard_sigmoid': a file of",
        ),
        (gj.recurrent(gj.gru(4)), 'reset must be "after", got "before": in a file of'),
    ],
)
def test_a_file_of_variables_does_not_say_what_it_would_lose(rng, tmp_path, net, message):
    with pytest.raises(ValueError, match=r"^write: ") as error:
        interop.write(tmp_path / "a.msgpack", net, draw_params(rng, net, "float32"))
    assert message in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::UserWarning:orbax")
@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_checkpoint_of_our_own_modules_is_read(rng, tmp_path, reset, bidirectional):
    module = GRU(HIDDEN, num_layers=2, bidirectional=bidirectional, reset=reset)
    params = draw_params(rng, module.net(), "float32")
    variables = module.variables_from(module.net(), params)
    whole = {"params": {"encoder": variables["params"], "head": {"kernel": jnp.ones(2)}}}
    (tmp_path / "a.msgpack").write_bytes(serialization.to_bytes(whole))
    gru = NNXGRU(
        INPUT, HIDDEN, num_layers=2, bidirectional=bidirectional, reset=reset, rngs=nnx.Rngs(0)
    )
    gru.set_params(module.net(), params)
    with ocp.StandardCheckpointer() as saver:
        saver.save(tmp_path / "b", nnx.state(gru))
    for name in ("a.msgpack", "b"):
        net, same = interop.read(tmp_path / name)
        layer = (gj.bidirectional if bidirectional else gj.recurrent)(gj.gru(HIDDEN, reset=reset))
        assert net.architecture == gj.stack(layer, layer).architecture
        same_bits(same, params)


def test_weights_that_are_no_gru_of_ours_are_one_sentence():
    tree = {"forward": dict(OWN)}
    for name, odd in (("W_z", (6, 4)), ("b_r", (3,)), ("b_c", ()), ("W_c", (4,)), ("W_c", (4, 4))):
        wrong = {"forward": tree["forward"] | {name: np.ones(odd, "f")}}
        with pytest.raises(ValueError, match=r"^from_linen: \w_\w must be \("):
            interop.from_linen(None, wrong)
    del tree["forward"]["b_z"]
    with pytest.raises(ValueError, match=r"^from_linen: there must be a GRU, got forward"):
        interop.from_linen(None, tree)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bits_cross_to_nnx_and_back(rng, dtype):
    net = gj.recurrent(gj.gru(HIDDEN, reset="after", dtype=dtype))
    params = draw_params(rng, net, dtype)._replace(b_h=jnp.zeros(HIDDEN, dtype))
    module = interop.to_nnx(net, params)
    assert module(jnp.ones((2, TIME, INPUT), dtype)).shape == (2, TIME, HIDDEN)
    same_bits(interop.from_nnx(module)[1], params)


@pytest.mark.parametrize("theirs", [True, False])
def test_other_starts_of_nnx_are_refused(theirs):
    init = nnx.initializers.ones if theirs else nnx.initializers.zeros
    with pytest.warns(UserWarning, match="carry_init"):
        module = nnx.GRUCell(INPUT, HIDDEN, carry_init=init, rngs=nnx.Rngs(0))
    if theirs:
        with pytest.raises(ValueError, match=r"^from_nnx: carry_init must be zeros, got <function"):
            interop.from_nnx(module)
    else:
        assert interop.from_nnx(module)[0].architecture == AFTER.architecture


NAMES = ("gru_cell", "encoder_cell", "rnn_forward", "backward", "a/b", "cell", "layers_0", "7", 7)


@pytest.mark.parametrize("name", NAMES)
def test_a_gru_may_have_any_name(rng, name):
    params = draw_params(rng, AFTER, "float32")
    _, variables = interop.to_linen(AFTER, params)
    tree = {name: variables["params"], "head": {"kernel": jnp.ones(2)}}
    for said in (None, str(name)):
        same_bits(interop.from_linen(None, tree, name=said)[1], params)
    several = {name: {"cell": variables["params"]}, "head": variables["params"]}
    same_bits(interop.from_linen(None, several, name=str(name))[1], params)
    known = f"'{name}' or 'head'"
    with pytest.raises(ValueError, match=f"^from_linen: name must be {known}, got None"):
        interop.from_linen(None, several)


def test_names_that_read_alike_are_refused():
    with pytest.raises(ValueError, match="name must be 'a/b' or 'a/b', got 'a/b'"):
        interop.from_linen(None, {"a/b": PLAIN, "a": {"b": PLAIN}}, name="a/b")


class NNXModel(nnx.Module):
    def __init__(self):
        self.enc = nnx.Dict(rnn=nnx.RNN(nnx_cell(), reverse=True, keep_order=True))
        small = nnx.RNN(nnx.GRUCell(INPUT, 2, rngs=nnx.Rngs(0)))
        self.blocks = nnx.List([nnx.Linear(4, INPUT, rngs=nnx.Rngs(0)), small])
        self.chain = nnx.Sequential(nnx.Linear(4, INPUT, rngs=nnx.Rngs(0)), nnx.RNN(nnx_cell()))


def test_a_gru_is_found_in_a_users_model_of_nnx_by_its_name():
    model = NNXModel()
    net, params = interop.from_nnx(model, name="enc/rnn")
    assert dict(net.architecture.options)["reverse"]
    same_bits(params, interop.from_nnx(model.enc["rnn"])[1])
    inner, same = interop.from_nnx(model, name="chain/layers/1")
    assert inner.architecture == gj.recurrent(AFTER).architecture
    same_bits(same, interop.from_nnx(model.chain.layers[1])[1])
    for source in (model, nnx.state(model)):
        block, same = interop.from_nnx(source, name="blocks/1")
        assert block.architecture == gj.recurrent(gj.gru(2, reset="after")).architecture
        same_bits(same, interop.from_nnx(model.blocks[1])[1])
        known = "'blocks/1' or 'chain/layers/1' or 'enc/rnn'"
        with pytest.raises(ValueError, match=f"^from_nnx: name must be {known}, got None"):
            interop.from_nnx(source)
    del model.chain, model.blocks
    assert interop.from_nnx(model)[0].architecture == net.architecture


KEYS = [
    *PLAIN,
    *sorted(OWN_NAMES),
    "dense_i",
    "dense_h",
    "kernel",
    "bias",
    "cell",
    "forward",
    "backward",
]
KEYS += ["forward_rnn", "backward_rnn", "layers", "layers_0", "layers_1", "params", "value", "rngs"]
KEYS += [0, "1", None, "a/b", "_cell"]
WHOLE = [set(PLAIN), OWN_NAMES, {"dense_i", "dense_h"}, {"kernel", "bias"}, {"forward", "backward"}]
WHOLE += [{"forward_rnn", "backward_rnn"}, {"layers_0", "layers_1"}, {"cell"}]
LEAVES = [None, "x", 3, 1.5, [1.0], [[1.0], 2], b"", True, np.array("x"), np.array(None), {}]
LEAVES += [
    np.ones(shape, "f") for shape in ((), 4, 12, (3, 4), (4, 4), (3, 12), (4, 12), (1, 1, 1))
]
LEAVES += [np.ones((7, 4), dtype) for dtype in ("f", "f2", int, bool)]


def draw_tree(rng, depth=0):
    if depth > 4 or rng.random() < 0.15 * depth:
        return PLAIN if rng.random() < 0.3 else LEAVES[rng.integers(len(LEAVES))]
    whole = rng.random() < 0.6
    keys = WHOLE[rng.integers(len(WHOLE))] if whole else rng.choice(np.array(KEYS, object), 2)
    return {key: draw_tree(rng, depth + 1) for key in sorted(keys, key=str)}


def test_any_tree_is_a_gru_or_one_sentence(rng):
    modules = (None, RNN, nn.GRUCell(4), nn.Bidirectional(RNN, RNN), nn.Sequential([RNN, RNN]))
    messages, nets = [], 0
    for number in range(1500):
        tree, module = draw_tree(rng), modules[number % 5]
        for read in (
            interop.from_nnx,
            lambda tree, module=module: interop.from_linen(module, tree),
        ):
            try:
                read(tree)
                nets += 1
            except ValueError as error:
                messages.append(str(error))
    assert not [message for message in messages if "\n" in message]
    assert all(message.startswith(("from_linen: ", "from_nnx: ")) for message in messages)
    assert len(set(messages)) > 50
    assert nets > 50


@pytest.mark.filterwarnings("ignore::UserWarning:orbax")
@pytest.mark.parametrize("what", ["shape", "chunks"])
def test_a_folder_of_enormous_arrays_is_refused_before_it_is_read(tmp_path, what):
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False)) as saver:
        saver.save(tmp_path / "x", {"params": {"cell": PLAIN}})
    interop.read(tmp_path / "x")
    described = tmp_path / "x" / "params.cell.hz.kernel" / ".zarray"
    described.write_text(json.dumps(json.loads(described.read_text()) | {what: [40000, 40000]}))
    with pytest.raises(ValueError, match=r"x must be .* must be 1073741824 bytes or less, got 64"):
        interop.read(tmp_path / "x")


@pytest.mark.filterwarnings("ignore::UserWarning:orbax")
def test_an_item_of_a_step_is_found_by_what_is_in_it(rng, tmp_path):
    net = gj.recurrent(AFTER)
    params = draw_params(rng, net, "float32")
    save = ocp.args.StandardSave(interop.to_linen(net, params)[1])
    for folder, items in (("one", ("state",)), ("two", ("state", "ema"))):
        with ocp.CheckpointManager(tmp_path / folder) as manager:
            more = {"other": ocp.args.JsonSave({"a": 1})}
            manager.save(3, args=ocp.args.Composite(**dict.fromkeys(items, save), **more))
            manager.wait_until_finished()
        (tmp_path / folder / "\N{SUPERSCRIPT TWO}").mkdir()
    for place in ("one", "one/3", "one/3/state", "two/3/ema"):
        same_bits(interop.read(tmp_path / place)[1], params)
    with pytest.raises(
        ValueError, match=r"3 must be one item of a checkpoint, got 2: give "
    ) as error:
        interop.read(tmp_path / "two")
    assert f"give {tmp_path}/two/3/ema or {tmp_path}/two/3/state." in str(error.value)
