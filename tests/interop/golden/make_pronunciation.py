"""Writes pronunciation.npz: what g2p_en's own NumPy code makes of some words.

    pip install g2p-en==2.1.0 && python tests/interop/golden/make_pronunciation.py

g2p_en (Kyubyong Park and Jongseok Kim, Apache-2.0) looks for NLTK's data when it is imported, and
downloads it. The network needs none of it, so stand-ins take the place of what would.
"""

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np

WORDS = """
    twas brillig and the slithy toves did gyre and gimble in the wabe
    a i knight through thorough phonetic pronunciation psychology colonel rhythm queue island
    gated recurrent tensor xyzzy fjord don't o'clock zzz
    pneumonoultramicroscopicsilicovolcanoconiosis
"""
"""Nonsense, single letters, silent letters, apostrophes, which the network does not know, and a
word that it is not through with when it is stopped."""

distribution = importlib.metadata.distribution("g2p-en")
assert distribution.version == "2.1.0"
for name in ("nltk", "nltk.corpus", "nltk.tokenize", "g2p_en", "g2p_en.expand"):
    sys.modules[name] = MagicMock()
path = str(distribution.locate_file("g2p_en/g2p.py"))
spec = importlib.util.spec_from_file_location("g2p_en.g2p", path)
assert spec
assert spec.loader
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
net = module.G2p()

words = sorted(set(WORDS.split()))
phonemes, states, logits = [], [], []
for word in words:
    heard = net.predict(word)
    letters = net.encode(word)
    encoder = net.enc_w_ih, net.enc_w_hh, net.enc_b_ih, net.enc_b_hh
    last = net.gru(letters, letters.shape[1], *encoder)[:, -1]
    # predict's last step says that the word is over, unless it has gone on for 20.
    said = np.array([[net.p2idx[phoneme] for phoneme in ["<s>", *heard]]])[:, :20]
    decoder = net.dec_w_ih, net.dec_w_hh, net.dec_b_ih, net.dec_b_hh
    hs = net.gru(net.dec_emb[said], said.shape[1], *decoder, h0=last)
    phonemes.append(" ".join(heard))
    states.append(last[0])
    logits.append(hs[0] @ net.fc_w.T + net.fc_b)

np.savez_compressed(
    Path(__file__).with_name("pronunciation.npz"),
    words=words,
    phonemes=phonemes,
    states=np.array(states),
    logits=np.concatenate(logits),
)
