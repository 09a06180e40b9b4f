import json
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quadratic import TX, run, start

import gru_jax as gj
from gru_jax.training.checkpoint import load_best, load_checkpoint, save_checkpoint


def test_a_checkpoint_gives_back_the_same_bits(tmp_path):
    whole, _ = run(start())
    half, _ = run(start(), epochs=5)
    save_checkpoint(tmp_path / "checkpoints", half)
    loaded = load_checkpoint(tmp_path / "checkpoints", start(0.0))
    chex.assert_trees_all_equal(loaded, jax.tree.map(jnp.asarray, half))
    resumed, _ = run(loaded)
    chex.assert_trees_all_equal(resumed, jax.tree.map(jnp.asarray, whole))
    best = load_best(tmp_path / "checkpoints", {"w": jnp.float32(0)})
    np.testing.assert_array_equal(best["w"], half.best_params["w"])


def test_only_the_newest_checkpoint_stays(tmp_path):
    """Whatever its step: two runs may stand at the same one."""
    for value in (1.0, 2.0, 3.0):
        save_checkpoint(tmp_path, start(value))
    assert len(list(tmp_path.iterdir())) == 1
    assert load_checkpoint(tmp_path, start()).state.params["w"] == 3


def test_of_two_checkpoints_the_newest_is_read(tmp_path):
    """As there are when saving was cut off before the old one was removed."""
    for folder, progress in (("old", start(5.0)), ("new", run(start(), epochs=2)[0])):
        save_checkpoint(tmp_path / folder, progress)
    shutil.move(tmp_path / "new" / "0", tmp_path / "new" / "1")
    shutil.copytree(tmp_path / "old" / "0", tmp_path / "new" / "0")
    loaded = load_checkpoint(tmp_path / "new", start())
    chex.assert_trees_all_equal(loaded, jax.tree.map(jnp.asarray, progress))


def test_a_checkpoint_that_is_not_there_is_one_clear_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"load_checkpoint: no folder .*train first"):
        load_checkpoint(tmp_path / "none", start())
    with pytest.raises(FileNotFoundError, match="load_checkpoint: no checkpoint in"):
        load_checkpoint(tmp_path, start())


def test_a_checkpoint_of_another_net_is_refused_array_by_array(tmp_path):
    params = {"a": jnp.zeros(3, jnp.float32), "b": jnp.zeros(3, jnp.float16)}
    state = gj.init_train_state(jax.random.key(0), params, TX)
    save_checkpoint(tmp_path, gj.init_progress(state))
    others = {
        r"a in .*0.best must be float16\[3\] to match this net, got float32\[3\]\.": {
            "a": params["b"],
            "b": params["a"],
        },
        r"a in .*0.best must be float32\[4\] to match this net, got float32\[3\]\.": {
            "a": jnp.zeros(4),
            "b": params["b"],
        },
        r"c in .*0.best must be float32\[3\] to match this net, got None\.": {
            "a": params["a"],
            "c": params["a"],
        },
        r".*0.best must hold this net alone, got another array: b\.": {"a": params["a"]},
    }
    for message, like in others.items():
        with pytest.raises(ValueError, match=f"^load_checkpoint: {message}$"):
            load_best(tmp_path, like)


@pytest.mark.parametrize("damage", ["short", "flipped", "gone"])
@pytest.mark.parametrize("item", ["best", "last"])
def test_a_damaged_file_is_one_clear_error_and_nothing_else(tmp_path, capfd, item, damage):
    whole = tmp_path / "whole"
    save_checkpoint(whole, start())
    files = [path for path in whole.glob(f"*/{item}/**/*") if path.is_file()]
    assert len(files) > 5
    for number, path in enumerate(files):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        broken = folder / path.relative_to(whole)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        broken.write_bytes(content[:20] if damage == "short" else content)
        if damage == "gone":
            broken.unlink()
        capfd.readouterr()
        with pytest.raises(ValueError, match=r"^load_checkpoint: .* must be whole, but .*\.$"):
            load_checkpoint(folder, start())
        assert capfd.readouterr() == ("", "")


def test_the_best_is_read_where_the_last_is_damaged(tmp_path, capfd):
    save_checkpoint(tmp_path, start())
    for path in tmp_path.glob("*/last/**/*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:20])
    assert load_best(tmp_path, {"w": jnp.float32(0)})["w"] == 1
    assert capfd.readouterr().err == ""


def test_damaged_checksums_are_one_clear_error(tmp_path):
    save_checkpoint(tmp_path, start())
    path = tmp_path / "0" / "checksums.json"
    for content in ("", "[1]", '{"best/_METADATA": 3}', path.read_text()[:300]):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"^load_checkpoint: .* must be whole, but .*\.$"):
            load_best(tmp_path, {"w": jnp.float32(0)})


def test_checkpoints_without_checksums_are_read(tmp_path):
    """As those are that were written before there were any."""
    save_checkpoint(tmp_path, start(2.0))
    names = json.loads((tmp_path / "0" / "checksums.json").read_text())
    assert {name.split("/")[0] for name in names} == {"best", "last"}
    (tmp_path / "0" / "checksums.json").unlink()
    loaded = load_checkpoint(tmp_path, start())
    chex.assert_trees_all_equal(loaded, jax.tree.map(jnp.asarray, start(2.0)))
