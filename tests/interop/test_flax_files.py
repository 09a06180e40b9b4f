"""Flax's checkpoints in msgpack and Orbax' folders: read, written, damaged and refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import linen as nn
from flax import nnx, serialization
from flax_cases import PLAIN, RNN, cell, without_b_h
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
)

import gru_jax as gj
from gru_jax import interop
from gru_jax.linen import GRU
from gru_jax.nnx import GRU as NNXGRU


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
