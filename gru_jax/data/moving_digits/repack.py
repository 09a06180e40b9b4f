"""Repacks scikit-learn's digits from its wheel into the file that this package embeds.

    pip download --no-deps scikit-learn==1.9.1
    python -m gru_jax.data.moving_digits.repack scikit_learn-1.9.1-*.whl

In the wheel each line is one digit: 64 pixels from 0 to 16, row by row, and its class. The file
written holds the images, in the same order.
"""

import gzip
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

SOURCE = "sklearn/datasets/data/digits.csv.gz"
TARGET = Path(__file__).with_name("digits.npz")


def main(wheel: str) -> None:
    """Writes the embedded file from a wheel of scikit-learn."""
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read(SOURCE)).decode()
    lines = np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2)
    np.savez_compressed(TARGET, images=lines[:, :64].reshape(-1, 8, 8).astype(np.uint8))


if __name__ == "__main__":
    main(sys.argv[1])
