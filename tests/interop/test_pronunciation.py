"""A network that others trained with PyTorch does here what it does there.

g2p_en (Kyubyong Park and Jongseok Kim, Apache-2.0) has two GRUs of 256 units, from letters to
phonemes. What its own NumPy code makes of some words is in golden/pronunciation.npz.
"""

import importlib.metadata
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gru_jax as gj
from gru_jax import interop

END_OF_WORD, START, END, MOST = 2, 2, 3, 20
PHONEMES = """
    <pad> <unk> <s> </s> AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2
    B CH D DH EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG
    OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH
""".split()


class Golden(NamedTuple):
    words: list[str]
    phonemes: list[str]
    states: np.ndarray
    logits: list[np.ndarray]


@pytest.fixture(scope="module")
def arrays():
    try:
        package = importlib.metadata.distribution("g2p-en")
    except importlib.metadata.PackageNotFoundError:
        pytest.fail("The trained network is in g2p-en 2.1.0: pip install 'gru_jax[test]'.")
    path = str(package.locate_file("g2p_en/checkpoint20.npz"))
    return dict(np.load(path, allow_pickle=False))


@pytest.fixture(scope="module")
def golden():
    path = Path(__file__).parent / "golden" / "pronunciation.npz"
    file = np.load(path, allow_pickle=False)
    phonemes = file["phonemes"].tolist()
    steps = [min(len(said.split()) + 1, MOST) for said in phonemes]
    logits = np.split(file["logits"], np.cumsum(steps)[:-1])
    return Golden(file["words"].tolist(), phonemes, file["states"], logits)


@pytest.fixture(scope="module")
def letters(golden):
    """Letters count from 3; 1 is what is none."""
    known = [[ord(c) - 94 if c.islower() else 1 for c in word] for word in golden.words]
    padded, lengths = gj.pad([np.array([*word, END_OF_WORD])[:, None] for word in known])
    return padded[..., 0], lengths


def take(arrays, which):
    """Returns the embedding and the GRU of the encoder ("enc") or the decoder ("dec")."""
    gru = {
        "weight_ih": arrays[f"{which}_w_ih"],
        "weight_hh": arrays[f"{which}_w_hh"],
        "bias_ih": arrays[f"{which}_b_ih"],
        "bias_hh": arrays[f"{which}_b_hh"],
    }
    return jnp.asarray(arrays[f"{which}_emb"]), *interop.from_torch(gru)


def read(arrays, letters, lengths):
    embedding, cell, params = take(arrays, "enc")
    return gj.unroll(cell, params, embedding[letters], lengths=lengths)[1]


def test_the_encoder_ends_each_word_in_the_same_state(arrays, golden, letters):
    np.testing.assert_allclose(read(arrays, *letters), golden.states, rtol=0, atol=1e-5)


def test_the_decoder_gives_the_same_logits(arrays, golden):
    embedding, cell, params = take(arrays, "dec")
    said = [[PHONEMES.index(name) for name in names.split()] for names in golden.phonemes]
    padded, lengths = gj.pad([np.array([START, *word])[:MOST, None] for word in said])
    hs, _ = gj.unroll(cell, params, embedding[padded[..., 0]], golden.states, lengths=lengths)
    logits = np.einsum("bth,ph->btp", hs, arrays["fc_w"]) + arrays["fc_b"]
    for ours, theirs in zip(logits, golden.logits, strict=True):
        # They reach 30: in float32 numbers there are 2e-6 apart, and 256 products are added up.
        np.testing.assert_allclose(ours[: len(theirs)], theirs, rtol=0, atol=3e-5)


def test_step_by_step_it_says_the_same_phonemes(arrays, golden, letters):
    """The best logit leads by 0.01 and more, so that rounding changes no phoneme."""
    embedding, cell, params = take(arrays, "dec")

    @jax.jit
    @jax.vmap
    def say(h):
        def step(carry, _):
            h, phoneme = carry
            h = cell.step(params, embedding[phoneme], h)
            phoneme = (arrays["fc_w"] @ h + arrays["fc_b"]).argmax()
            return (h, phoneme), phoneme

        return jax.lax.scan(step, (h, jnp.array(START)), length=MOST)[1]

    said = []
    for word in say(read(arrays, *letters)).tolist():
        until = word.index(END) if END in word else MOST
        said.append(" ".join(PHONEMES[phoneme] for phoneme in word[:until]))
    assert said == golden.phonemes
    assert max(len(names.split()) for names in said) == MOST
    best = [np.sort(logits, axis=-1)[:, -2:] for logits in golden.logits]
    assert np.diff(np.concatenate(best)).min() > 0.01
