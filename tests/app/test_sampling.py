"""Text from a net: its tokens by hand, its frequencies, and the command."""

import subprocess

import numpy as np
import pytest
from command_line import COMMAND, in_terminal
from scipy.stats import chisquare
from small_texts import SMALL_TEXT, read_by_hand

from gru_jax.app import inference
from gru_jax.app.cli import main
from gru_jax.app.sampling import BLOCK, as_text, draw


@pytest.fixture(scope="module")
def trained(text_run):
    return inference.load_trained(text_run)


def sample(trained, prompt, length, temperature, seed=0):
    blocks = list(draw(trained, prompt, length, temperature, seed))
    return [token for block in blocks for token in block]


def number(trained, text):
    return [trained.facts["vocabulary"].index(c) for c in text]


def test_at_temperature_0_each_token_is_the_likeliest(trained):
    prompt, length = "The cat sat", 2 * BLOCK + 5
    drawn = sample(trained, prompt, length, 0.0)
    assert len(drawn) == length
    tokens = number(trained, prompt)
    for token in drawn:
        logits = read_by_hand(trained.params, tokens)[-1]
        assert token == logits[:-1].argmax()
        tokens.append(token)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_tokens_are_as_frequent_as_the_softmax_says(trained, temperature):
    """Second tokens, too: those behind the commonest first one."""
    prompt, count = "The", 3000
    pairs = np.array([sample(trained, prompt, 2, temperature, seed) for seed in range(count)])
    tokens = number(trained, prompt)
    common = int(np.bincount(pairs[:, 0]).argmax())
    for drawn, before in (
        (pairs[:, 0], tokens),
        (pairs[pairs[:, 0] == common, 1], [*tokens, common]),
    ):
        logits = read_by_hand(trained.params, before)[-1, :-1] / temperature
        p = np.exp(logits - logits.max())
        expected = p / p.sum() * len(drawn)
        actual = np.bincount(drawn, minlength=len(p))
        rare = expected < 5
        assert (~rare).sum() > 3
        if expected[rare].sum() > 1:
            actual = np.append(actual[~rare], actual[rare].sum())
            expected = np.append(expected[~rare], expected[rare].sum())
        assert chisquare(actual, expected).pvalue > 1e-3


def test_the_unknown_character_is_never_drawn(trained):
    drawn = sample(trained, "The", 3000, 1e9)
    known = len(trained.facts["vocabulary"])
    assert set(drawn) == set(range(known))
    assert chisquare(np.bincount(drawn)).pvalue > 1e-3


def test_the_seed_decides_and_a_longer_text_begins_alike(trained):
    assert sample(trained, "The", 40, 1.0) == sample(trained, "The", 90, 1.0)[:40]
    assert sample(trained, "The", 40, 1.0, seed=1) != sample(trained, "The", 40, 1.0)


def test_bytes_become_text_as_soon_as_they_are_whole():
    blocks = [list(b"a\xc3"), list(b"\xa9\xf0\x9f"), list(b"\x98\x80\xff"), list(b"b\xc3")]
    texts = list(as_text({"tokens": "bytes", "vocabulary": ""}, iter(blocks)))
    assert texts == ["a", "é", "\N{GRINNING FACE}\ufffd", "b", "\ufffd"]
    assert list(as_text({"tokens": "characters", "vocabulary": "xyz"}, iter([[2, 0], [1]]))) == [
        "zx",
        "y",
    ]


def test_the_command_writes_the_prompt_and_what_follows(text_run, trained, capsys):
    args = ["sample", str(text_run), "--prompt", "The cat", "--length", "50", "--temperature"]
    assert main([*args, "1", "--seed", "3"]) == 0
    known = trained.facts["vocabulary"]
    drawn = sample(trained, "The cat", 50, 1.0, seed=3)
    assert capsys.readouterr().out == "The cat" + "".join(known[token] for token in drawn)
    assert main(["sample", str(text_run), "--temperature", "0", "--length", "20"]) == 0
    drawn = sample(trained, "\n", 20, 0.0)
    assert capsys.readouterr().out == "".join(known[token] for token in drawn)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--temperature", "nan"], "temperature must be a number from 0, got nan."),
        (["--temperature", "-0.1"], "temperature must be a number from 0, got -0.1."),
        (["--temperature", "inf"], "temperature must be a number from 0, got inf."),
        (["--length", "0"], "length must be 1 or more, got 0."),
        (["--seed", "-1"], "seed must be a whole number from 0 to below 4294967296, got -1."),
        (
            ["--prompt", "The #1 \N{EURO SIGN}"],
            "prompt must have characters of the training text, got '#', '1', '\N{EURO SIGN}'.",
        ),
    ],
)
def test_wrong_options_are_one_line(text_run, capsys, args, message):
    assert main(["sample", str(text_run), *args]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error == f"gru-jax: sample: {message}\n"


def test_a_run_of_another_task_is_refused(run, capsys):
    assert main(["sample", str(run)]) == 2
    message = "gru-jax: sample: RUN must be a run of language, got one of japanese_vowels.\n"
    assert capsys.readouterr().err == message


def test_a_closed_pipe_ends_it(text_run):
    command = [*COMMAND, "sample", str(text_run), "--length", "1000000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(40)) == 40
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_ctrl_c_ends_it_with_a_new_line(text_run, tmp_path):
    args = ["sample", str(text_run), "--length", "1000000000", "--prompt", "The cat"]
    code, text = in_terminal(args, tmp_path, until=rb"(?s)The cat.{30}")
    assert code == 130
    assert "Traceback" not in text
    assert text.endswith("\r\n")


def test_bytes_are_sampled_and_a_terminal_obeys_none(tmp_path):
    content = bytes(range(256)) * 12
    (tmp_path / "a.bin").write_bytes(content)
    data = ["--data", str(tmp_path / "a.bin"), "--out", str(tmp_path / "x"), "--tokens", "bytes"]
    assert main(["train", "language", *data, *SMALL_TEXT, "--epochs", "1"]) == 0
    trained = inference.load_trained(tmp_path / "x")
    drawn = sample(trained, "é", 600, 1e9)
    assert max(drawn) > 250
    options = ["--length", "600", "--temperature", "1e9", "--prompt", "é"]
    code, text = in_terminal(["sample", str(tmp_path / "x"), *options], tmp_path)
    assert code == 0
    assert "é" in text
    assert not set(map(chr, range(32))) & set(text) - set("\r\n\t")
