"""Repacks JapaneseVowels from the aeon wheel into the file that this package embeds.

    pip download --no-deps aeon==1.6.0
    python -m gru_jax.data.japanese_vowels.repack aeon-1.6.0-py3-none-any.whl

In the wheel each line of a `.ts` file is one utterance: channels divided by ":", the steps of a
channel by ",", the speaker last. The file written holds, for each split, the steps of all
utterances one after another, so that nothing is padded.
"""

import sys
import zipfile
from pathlib import Path

import numpy as np

FOLDER = "aeon/datasets/data/JapaneseVowels"
TARGET = Path(__file__).with_name("japanese_vowels.npz")


def read_ts(text: str) -> dict[str, np.ndarray]:
    """Returns `steps` `[sum of lengths, channels]`, `lengths`, and `speakers` from 0."""
    rows = [line for line in text.splitlines() if line and line[0] not in "#@"]
    utterances, speakers = [], []
    for row in rows:
        *channels, speaker = row.split(":")
        utterances.append(np.array([c.split(",") for c in channels], np.float32).T)
        speakers.append(int(speaker) - 1)
    lengths = np.array([len(u) for u in utterances], np.uint8)
    steps, speakers = np.concatenate(utterances), np.array(speakers, np.uint8)
    return {"steps": steps, "lengths": lengths, "speakers": speakers}


def main(wheel: str) -> None:
    """Writes the embedded file from a wheel of aeon."""
    arrays = {}
    with zipfile.ZipFile(wheel) as archive:
        for split in ("train", "test"):
            text = archive.read(f"{FOLDER}/JapaneseVowels_{split.upper()}.ts").decode()
            arrays |= {f"{split}_{name}": values for name, values in read_ts(text).items()}
    np.savez_compressed(TARGET, **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
