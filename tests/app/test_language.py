"""The task of language: its numbers against NumPy, its files, and what it refuses."""

import collections
import csv
import io
import json
import math

import jax
import numpy as np
import pytest
from small_texts import SMALL_TEXT, measure_by_hand, write_text

from gru_jax import interop
from gru_jax.app import runs, settings
from gru_jax.app.cli import main
from gru_jax.app.tasks.language import LANGUAGE, LanguageConfig, sizes
from gru_jax.app.tasks.texts import measure_ngrams


def parts_of(run):
    """Returns the run's text: the first 80 %, and two tenths."""
    text = (run.parent / "text.txt").read_text()
    tenth = round(len(text) / 10)
    return text[: -2 * tenth], text[-2 * tenth : -tenth], text[-tenth:]


def numbers(run, text):
    known = sorted(set(parts_of(run)[0]))
    return np.array([known.index(c) if c in known else len(known) for c in text])


def test_the_result_is_the_mean_over_a_part_read_in_order(run_result):
    run, result = run_result
    _, params = interop.load(run / "best.safetensors")
    _, validation, test = parts_of(run)
    assert min(len(validation), len(test)) > 600  # more than one batch of evaluation
    for text, name in ((validation, "validation_bpc"), (test, "test_bpc")):
        bits = measure_by_hand(params, numbers(run, text))
        assert result[name] == pytest.approx(bits.mean(), rel=1e-5)
    assert result["test_loss"] == pytest.approx(result["test_bpc"] * math.log(2), rel=1e-6)


@pytest.fixture(scope="module")
def run_result(text_run):
    return text_run, json.loads((text_run / "result.json").read_text())


def test_the_baselines_count_the_training_part(run_result):
    run, result = run_result
    train, _, test = parts_of(run)
    counts, size = collections.Counter(train), len(set(train)) + 1
    kinds = size - 1
    p = [(counts[c] + kinds / size) / (len(train) + kinds) for c in test[1:]]
    assert result["test_bpc_1-gram"] == pytest.approx(-np.log2(p).mean(), rel=1e-12)
    five = measure_ngrams(numbers(run, train), numbers(run, test), size, 4)[-1]
    assert result["test_bpc_5-gram"] == pytest.approx(five, rel=1e-12)
    assert result["test_bpc_5-gram"] < result["test_bpc_1-gram"]


def test_predict_gives_the_bits_of_each_line_with_those_before_it_read(text_run, tmp_path, capsys):
    text = "The cat\n\nsat on an eel?\n" + "a mat " * 90 + "\nand that"
    (tmp_path / "in.txt").write_text(text)
    assert main(["predict", str(text_run), "--input", str(tmp_path / "in.txt")]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    names = ["line 1", "line 2", "line 3", "line 4", "line 4 from 513", "line 5"]
    assert [row["segment"] for row in rows] == names
    _, params = interop.load(text_run / "best.safetensors")
    bits = [0.0, *measure_by_hand(params, numbers(text_run, text))]
    end = 0
    for row, line in zip(rows, [8, 1, 15, 512, 29, 8], strict=True):
        own = bits[max(end, 1) : end + line]
        assert float(row["bpc"]) == pytest.approx(np.mean(own), abs=1e-4)
        assert int(row["tokens"]) == len(own)
        part = text[end : end + line]
        assert int(row["unknown"]) == part.count("?") + part.count("l")
        end += line
    assert end == len(text)


def test_evaluate_takes_another_text(text_run, tmp_path, capsys):
    text = write_text(tmp_path / "other.txt", words=150, seed=5)
    assert main(["evaluate", str(text_run), "--input", str(tmp_path / "other.txt")]) == 0
    (line,) = (x for x in capsys.readouterr().out.splitlines() if "GRU (this run)" in x)
    _, params = interop.load(text_run / "best.safetensors")
    bits = measure_by_hand(params, numbers(text_run, text)).mean()
    assert float(line.split()[3]) == pytest.approx(bits, abs=6e-4)


def test_unknown_characters_are_counted_and_said(tmp_path, capsys):
    text = write_text(tmp_path / "a.txt") + "!?" * 20
    (tmp_path / "a.txt").write_text(text)
    data = ["--data", str(tmp_path / "a.txt"), "--out", str(tmp_path / "x")]
    assert main(["train", "language", *data, *SMALL_TEXT, "--epochs", "1"]) == 0
    said = "unknown     0 of validation and 40 of test are not in the training part"
    assert said in capsys.readouterr().out


def test_a_run_goes_on_in_the_middle_of_a_pass_to_the_same_bits(run_result, tmp_path):
    run, _ = run_result
    config = settings.read_config(run)[1]
    part, _ = runs.begin(tmp_path / "x", LANGUAGE, config)
    calls = iter(range(100))
    _, reason = runs.train(part, lambda _: None, lambda: next(calls) == 3)
    assert reason == "stopped"
    assert main(["train", "--resume", "--out", str(tmp_path / "x")]) == 0
    rows = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (run, tmp_path / "x")
    ]
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]
    assert [row["validation_bpc"] for row in rows[0]] == [row["validation_bpc"] for row in rows[1]]
    best = [interop.load(each / "best.safetensors")[1] for each in (run, tmp_path / "x")]
    for one, other in zip(*map(jax.tree.leaves, best), strict=True):
        np.testing.assert_array_equal(one, other)


def test_bytes_of_any_file_can_be_learned(tmp_path, capsys):
    content = np.random.default_rng(0).integers(0, 256, 3000, "uint8").tobytes()
    (tmp_path / "a.bin").write_bytes(content)
    data = ["--data", str(tmp_path / "a.bin"), "--out", str(tmp_path / "x"), "--tokens", "bytes"]
    assert main(["train", "language", *data, *SMALL_TEXT, "--epochs", "1"]) == 0
    text = capsys.readouterr().out
    assert "2,400 train, 300 validation, 300 test bytes" in text
    assert "bits per byte" in text
    _, params = interop.load(tmp_path / "x/best.safetensors")
    bits = measure_by_hand(params, np.frombuffer(content[-300:], "uint8")).mean()
    result = json.loads((tmp_path / "x/result.json").read_text())
    assert result["test_bpc"] == pytest.approx(bits, rel=1e-5)
    assert main(["predict", str(tmp_path / "x"), "--input", str(tmp_path / "a.bin")]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert sum(int(row["tokens"]) for row in rows) == len(content) - 1
    assert not any(int(row["unknown"]) for row in rows)


def test_the_model_gives_the_sizes_that_are_not_given():
    assert sizes(LanguageConfig(model="small")) == (32, 128, 1)
    assert sizes(LanguageConfig(model="large", hidden=5)) == (128, 5, 2)
    assert sizes(LanguageConfig(embed=1, hidden=2, layers=3)) == (1, 2, 3)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", [], "must hold two characters or more, got 0."),
        ("x\n\xe9", [], "line 2 must be UTF-8, got 0xe9"),
        ("x\0y", [], "line 1 must be text, got NUL at byte 1"),
        (
            "abc\n" * 500,
            [],
            "the train part must have 4097 characters or more for 32 streams of 128, got 1600 of "
            "2000; try a smaller --batch or --chunk.",
        ),
        (
            "abc\n" * 500,
            ["--validation", "0.6", "--test", "0.6", "--batch", "2"],
            "the train part must have 257 characters or more for 2 streams of 128, got 0 of 2000",
        ),
        (
            "abc\n" * 500,
            ["--validation", "0", "--batch", "2"],
            "the validation part must have 2 characters or more, got 0 of 2000.",
        ),
        (
            "abc\n" * 500,
            ["--test", "0", "--batch", "2"],
            "the test part must have 2 characters or more, got 0 of 2000.",
        ),
    ],
)
def test_a_text_that_will_not_do_is_one_line(tmp_path, capsys, content, options, message):
    path = tmp_path / "a.txt"
    path.write_bytes(content.encode("latin-1"))
    out = tmp_path / "x"
    assert main(["train", "language", "--data", str(path), "--out", str(out), *options]) == 2
    printed, error = capsys.readouterr()
    assert printed == ""
    assert error.startswith(f"gru-jax: {path}")
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_the_file_must_be_named_and_there(tmp_path, capsys):
    assert main(["train", "language"]) == 2
    message = "gru-jax: train: --data FILE is missing; see gru-jax train language --help.\n"
    assert capsys.readouterr().err == message
    assert main(["train", "language", "--data", str(tmp_path / "no.txt")]) == 2
    assert "no.txt must be a file, but there is none." in capsys.readouterr().err


def test_facts_that_lie_are_refused():
    facts = {"title": "x", "tokens": "characters", "vocabulary": "abc"}
    assert LANGUAGE.goal(facts).title == "x"
    for lie in ({"title": 3}, {"tokens": "words"}, {"vocabulary": "aa"}, {"vocabulary": ["a"]}):
        with pytest.raises(ValueError, match="facts must have a title, tokens and a vocabulary"):
            LANGUAGE.goal(facts | lie)


@pytest.mark.slow("traces two layers")
def test_explain_and_convert_take_the_net(text_run, tmp_path, capsys):
    assert main(["explain", str(text_run)]) == 0
    assert "2 forward" in capsys.readouterr().out
    write_text(tmp_path / "in.txt", words=30)
    assert main(["explain", str(text_run), "--input", str(tmp_path / "in.txt")]) == 0
    assert "Figures of line 1" in capsys.readouterr().out
    assert main(["convert", str(text_run), str(tmp_path / "net.safetensors")]) == 0
    assert main(["convert", str(text_run), str(tmp_path / "net.onnx")]) == 2
    assert "got embed: convert the recurrent layers by" in capsys.readouterr().err
