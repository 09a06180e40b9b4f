"""Sine and square waves in files: sequences that a small net tells apart in seconds."""

import csv
from pathlib import Path

import labelled_cases as cases
import numpy as np

import gru_jax as gj

SMALL = ["--hidden", "8", "--layers", "1", "--epochs", "3", "--noise", "0", "--dropout", "0"]


def draw(rng, count=40, time=24, gaps=0.0):
    """Returns waves with noise, beside a channel of noise alone, and their kinds."""
    xs, labels = [], []
    for i in range(count):
        wave = np.sin(np.arange(time) / rng.uniform(1, 2) + rng.uniform(0, 6))
        wave = np.sign(wave) if i % 2 else wave
        x = np.stack([wave, rng.normal(size=time)], 1) + 0.05 * rng.normal(size=(time, 2))
        x[rng.random(x.shape) < gaps] = np.nan
        x[0] = 0.5
        xs.append(x.astype(np.float32))
        labels.append("square" if i % 2 else "sine")
    return xs, labels


def write(folder: Path, kind: str, xs, labels) -> Path:
    """Writes waves into a file of a kind: csv, ts, arff or npz."""
    path = folder / f"waves.{kind}"
    if kind == "csv":
        return cases.write_long(path, cases.long_rows(xs, labels), xs[0].shape[1])
    if kind == "npz":
        padded, lengths = gj.pad(xs)
        np.savez(path, xs=padded, labels=np.array(labels), lengths=lengths)
        return path
    path.write_text({"ts": cases.ts, "arff": cases.arff}[kind](xs, labels))
    return path


def write_without_labels(path: Path, xs) -> Path:
    """Writes waves into a long table without the last column."""
    rows = [row[:-1] for row in cases.long_rows(xs, ["-"] * len(xs))]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["case", "time", "c0", "c1"], *rows])
    return path
