"""JapaneseVowels: nine speakers told apart by how they say /ae/.

270 utterances to train on and 370 to test with (the official split), 7 to 29 steps of 12 LPC
cepstrum coefficients. Read from the file beside this one; see its LICENSE for origin and terms.

References:
    Kudo, Toyama and Shimbo (1999), "Multidimensional curve classification using passing-through
    regions", Pattern Recognition Letters 20(11-13). UCI Machine Learning Repository,
    doi:10.24432/C5NS47, CC BY 4.0.
"""

from pathlib import Path

import numpy as np

from gru_jax.data.batching import Dataset

CHANNELS = 12
SPEAKERS = 9


def load_japanese_vowels() -> tuple[Dataset, Dataset]:
    """Returns the train and the test set; targets are the speakers, 0 to 8."""
    with np.load(Path(__file__).with_name("japanese_vowels.npz"), allow_pickle=False) as arrays:
        return _dataset(arrays, "train"), _dataset(arrays, "test")


def _dataset(arrays: np.lib.npyio.NpzFile, name: str) -> Dataset:
    ends = np.cumsum(arrays[f"{name}_lengths"].astype(int))
    utterances = np.split(arrays[f"{name}_steps"], ends[:-1])
    return Dataset(utterances, arrays[f"{name}_speakers"].astype(np.int32))
