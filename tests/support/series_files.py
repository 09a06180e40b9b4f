"""Tables of time series, written for one test each."""

import numpy as np
import polars as pl

import gru_jax as gj

SIZES = {"north": 60, "south": 41}
FUTURE = 5


def write_series(folder, rng, *, suffix=".csv", missing=0.0, future=FUTURE):
    """Writes half-hourly series of two places, and returns path, rows and columns to read.

    Temperature is known `future` steps longer than the load. Rows and loads are missing at random,
    but not the first and last load of a series.
    """
    frames = []
    for name, size in SIZES.items():
        steps = np.arange(size + future)
        start = np.datetime64("2024-02-28T20:30" if name == "north" else "2024-03-01T00:00", "us")
        frame = pl.DataFrame(
            {
                "place": [name] * len(steps),
                "when": start + steps * np.timedelta64(30, "m"),
                "load": np.where(steps < size, rng.normal(100, 20, len(steps)), np.nan),
                "wind": rng.normal(size=len(steps)),
                "temp": rng.normal(15, 5, len(steps)),
                "holiday": steps % 7 == 3,
            }
        )
        inner = (steps > 0) & (steps < size - 1)
        keep = ~(inner & (rng.random(len(steps)) < missing))
        hidden = inner & (rng.random(len(steps)) < missing)
        load = pl.when(pl.Series(hidden)).then(None).otherwise(pl.col("load").fill_nan(None))
        frames.append(frame.with_columns(load.alias("load")).filter(pl.Series(keep)))
    rows = pl.concat(frames)
    path = folder / f"load{suffix}"
    if suffix == ".csv":
        rows.with_columns(pl.col("when").dt.to_string("%Y-%m-%d %H:%M")).write_csv(path)
    else:
        rows.write_parquet(path)
    columns = {"id": "place", "time": "when", "future": ["temp", "holiday"], "past": ["wind"]}
    return path, rows, {"target": "load"} | columns


def make_table(y):
    empty = np.zeros((len(y), 0), np.float32)
    series = gj.Series("a", np.arange(len(y)), np.asarray(y, np.float32), empty, empty)
    return gj.SeriesTable((series,), gj.Frequency("integer", 1), 1, (), (), False, 0)
