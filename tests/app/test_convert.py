"""`gru-jax convert` and `gru-jax inspect`, from file to file."""

import re
import sys

import numpy as np
import pytest
from interop_cases import AFTER, draw_params, same_bits

import gru_jax as gj
from gru_jax import interop
from gru_jax.app.cli import main

# Keras' own: NumPy 2 asks for a `copy` that its variables do not know.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BOTH = gj.bidirectional(AFTER)
FILES = {
    "a.pt": (gj.recurrent(AFTER), ()),
    "a.npz": (BOTH, ("--to", "torch")),
    "a.keras": (BOTH, ()),
    "a.h5": (BOTH, ()),
    "a.msgpack": (BOTH, ()),
    "haiku.npz": (gj.recurrent(gj.gru(4)), ("--to", "haiku")),
    "a.eqx": (AFTER, ()),
    "a.onnx": (BOTH, ()),
    "a.safetensors": (gj.stack(gj.recurrent(gj.gru(4)), gj.pool(), gj.dense(2)), ()),
}
NEEDS_TORCH = [pytest.param(name, marks=pytest.mark.peers) for name in FILES if name == "a.pt"]


@pytest.mark.parametrize("name", [*NEEDS_TORCH, *(name for name in FILES if name != "a.pt")])
def test_a_net_goes_out_and_comes_back_to_the_bit(rng, tmp_path, capsys, name):
    net, flags = FILES[name]
    params = draw_params(rng, net, "float32")
    source, target, back = (tmp_path / n for n in ("in.safetensors", name, "out.safetensors"))
    interop.save(source, net, params)
    assert main(["convert", str(source), str(target), *flags]) == 0
    assert main(["convert", str(target), str(back)]) == 0
    said = capsys.readouterr().out
    assert str(target) in said
    assert str(back) in said
    again, same = interop.load(back)
    layers = [n if isinstance(n, gj.Layer) else gj.recurrent(n) for n in (net, again)]
    assert layers[1].architecture == layers[0].architecture
    same_bits(same, params)
    assert {path.name for path in tmp_path.iterdir()} == {source.name, name, back.name}


def test_inspect_says_what_a_file_holds(rng, tmp_path, capsys):
    net = gj.stack(BOTH, gj.dropout(0.2), gj.recurrent(gj.gru(5, activation="relu")))
    interop.save(tmp_path / "a.safetensors", net, draw_params(rng, net, "float32"))
    assert main(["inspect", str(tmp_path / "a.safetensors")]) == 0
    said = capsys.readouterr().out
    assert "── gru(5, activation='relu')\n" in said
    assert "── 1 dropout(0.2)\n" in said
    assert "── gru(4, reset='after')\n" in said
    rows = [line.split() for line in said.splitlines() if re.match(r"\d\.", line)]
    shapes = {row[0]: ("".join(row[1:-2]), row[-2], int(row[-1].replace(",", ""))) for row in rows}
    assert shapes["0.backward.W_z"] == ("7x4", "float32", 28)
    assert shapes["2.W_c"] == ("13x5", "float32", 65)
    total = 2 * (3 * (7 * 4 + 4) + 4) + 3 * (13 * 5 + 5)
    assert sum(count for _, _, count in shapes.values()) == total
    assert f"{total:,} parameters, float32, {4 * total:,} bytes" in said


def test_inspect_tells_mixed_dtypes_and_what_is_no_number(rng, tmp_path, capsys):
    net = gj.stack(gj.recurrent(AFTER), gj.dense(2, dtype="float16"))
    cell, head = draw_params(rng, net, "float32")
    cell = cell._replace(b_r=cell.b_r.at[:2].set(np.array([np.inf, np.nan])))
    head = type(head)(*(leaf.astype("float16") for leaf in head))
    interop.save(tmp_path / "a.safetensors", net, (cell, head))
    assert main(["inspect", str(tmp_path / "a.safetensors")]) == 0
    said = capsys.readouterr().out
    assert "── 1 dense(2, dtype='float16')\n" in said
    count, small = 3 * (7 * 4 + 4) + 4, 4 * 2 + 2
    size = f"{count + small} parameters, float16, float32, {4 * count + 2 * small} bytes"
    assert f"{size}\n2 parameters are infinite or not numbers\n" in said


def test_which_gru_and_which_format_can_be_said(rng, tmp_path):
    first, second = (draw_params(rng, AFTER, "float32") for _ in range(2))
    named = {"a": interop.to_torch_state(AFTER, first), "b": interop.to_torch_state(AFTER, second)}
    two, other, target = (str(tmp_path / n) for n in ("two.npz", "one.bin", "out.safetensors"))
    np.savez(two, **{f"{place}.{k}": v for place, state in named.items() for k, v in state.items()})
    interop.write(other, AFTER, first, format="equinox")
    for args, want in (([two, "--name", "b"], second), ([other, "--from", "equinox"], first)):
        source, *flags = args
        assert main(["convert", source, target, *flags, "--overwrite"]) == 0
        same_bits(interop.load(target)[1], want)
        assert main(["inspect", source]) == 2
        assert main(["inspect", *args]) == 0


@pytest.mark.slow("trains a network")
def test_a_trained_run_is_a_source(tmp_path, capsys):
    run, small = tmp_path / "run", ["--hidden", "3", "--layers", "1", "--epochs", "1"]
    assert main(["train", "--out", str(run), *small]) == 0
    target = tmp_path / "net.safetensors"
    assert main(["convert", str(run), str(target)]) == 0
    net, params = interop.load(target)
    builders = [part.builder for part in net.architecture.parts]
    assert builders == ["gaussian_noise", "bidirectional", "pool", "dropout", "dense"]
    from gru_jax.app.inference import load_trained

    same_bits(params, load_trained(run).params)
    assert main(["convert", str(run), str(target), "--name", "1", "--overwrite"]) == 0
    layer, part = interop.load(target)
    assert layer.architecture == net.architecture.parts[1]
    same_bits(part, params[1])
    capsys.readouterr()
    assert main(["inspect", str(run)]) == 0
    assert "gaussian_noise" in capsys.readouterr().out


def test_a_folder_that_is_said_to_be_flaxs_is_no_run(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    assert main(["inspect", str(tmp_path), "--from", "flax"]) == 2
    assert "must be a whole checkpoint of Flax's" in capsys.readouterr().err


def test_nothing_is_overwritten_unless_it_is_asked_for(rng, tmp_path, capsys):
    source, target = tmp_path / "a.safetensors", tmp_path / "b.onnx"
    interop.save(source, AFTER, draw_params(rng, AFTER, "float32"))
    target.write_text("before")
    assert main(["convert", str(source), str(target)]) == 2
    assert target.read_text() == "before"
    assert re.search(r"b\.onnx is there already: --overwrite replaces it", capsys.readouterr().err)
    (tmp_path / "c.onnx").mkdir()
    assert main(["convert", str(source), str(tmp_path / "c.onnx")]) == 2
    assert "c.onnx must be a file, but is a folder" in capsys.readouterr().err
    link = tmp_path / "link.onnx"
    link.symlink_to(tmp_path / "nowhere.onnx")
    assert main(["convert", str(source), str(link)]) == 2
    assert link.is_symlink()
    assert main(["convert", str(source), str(target), "--overwrite"]) == 0
    same_bits(interop.read(target)[1], interop.read(source)[1])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["convert", "no.pt", "x.onnx"], "read: no file no.pt."),
        (["convert", "a.safetensors", "x.bin"], "write: x.bin must end in one of .pt .pth"),
        (["convert", "a.safetensors", "x.npz"], "write: x.npz must end in one of .pt .pth"),
        (["convert", "a.safetensors", "no/x.onnx"], "must be in a folder that exists"),
        (["convert", "a.safetensors", "x.npz", "--to", "haiku"], 'reset must be "before"'),
        (["convert", "a.safetensors", "x.onnx", "--to", "pickle"], "--to"),
        (["inspect", "a.bin"], "read: a.bin must end in one of .pt .pth"),
        (["inspect", "a.safetensors", "--from", "torch"], "there must be a GRU or an LSTM, got W"),
        (["inspect"], "FILE"),
    ],
)
def test_wrong_use_is_one_line(rng, tmp_path, monkeypatch, capsys, args, message):
    monkeypatch.chdir(tmp_path)
    interop.save("a.safetensors", AFTER, draw_params(rng, AFTER, "float32"))
    np.savez("a.npz", x=np.ones(2))
    (tmp_path / "a.bin").write_bytes(b"1")
    before = {path.name for path in tmp_path.iterdir()}
    assert main(args) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("package", ["onnx", "keras"])
def test_a_framework_that_is_not_installed_is_named(rng, tmp_path, monkeypatch, capsys, package):
    interop.save(tmp_path / "a.safetensors", AFTER, draw_params(rng, AFTER, "float32"))
    there, new = (tmp_path / f"{name}.{package}" for name in "ab")
    interop.write(there, AFTER, draw_params(rng, AFTER, "float32"))
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["convert", str(tmp_path / "a.safetensors"), str(new)]) == 2
    assert main(["inspect", str(there)]) == 2
    told = f"format {package} needs a package that is not installed: pip install {package}."
    assert capsys.readouterr().err.count(told) == 2


def test_a_file_is_not_converted_onto_itself(rng, tmp_path, capsys):
    path = tmp_path / "a.safetensors"
    interop.save(path, AFTER, draw_params(rng, AFTER, "float32"), metadata={"settings": "kept"})
    before = path.read_bytes()
    assert main(["convert", str(path), str(path), "--overwrite"]) == 2
    assert "convert: target must not be the source, got" in capsys.readouterr().err
    assert path.read_bytes() == before
