"""Days of two places with a season of a week and a known effect of a promotion."""

import numpy as np
import pandas as pd

SIZES = {"a": 200, "b, c": 170}
HORIZON, SEASON, WINDOWS = 9, 7, 3
COLUMNS = ["--id", "place", "--time", "day", "--target", "sales", "--future", "promo"]
OPTIONS = ["--horizon", "9", "--windows", "3", "--model", "small", "--learning-rate", "1e-2"]
OPTIONS += ["--batch", "16", "--dropout", "0", "--noise", "0", "--epochs", "25"]


def make_rows(rng, future=HORIZON):
    """Returns rows with missing days and missing sales; `b, c` misses one in its last window."""
    frames = []
    for i, (name, size) in enumerate(SIZES.items()):
        steps = np.arange(size + future)
        promo = (rng.random(len(steps)) < 0.3).astype(int)
        sales = 40 + 100 * i + 8 * np.sin(2 * np.pi * steps / 7) + 12 * promo
        sales = (sales + rng.normal(0, 0.5, len(steps))).round(2)
        inner = (steps > 0) & (steps < size - 1)
        sales[
            (inner & (rng.random(len(steps)) < 0.05) & (steps != size - HORIZON - 1))
            | (steps >= size)
        ] = np.nan
        if i == 1:
            sales[size - 3] = np.nan
        day = pd.Timestamp("2024-02-26") + pd.to_timedelta(steps, "D")
        frame = pd.DataFrame({"place": name, "day": day, "sales": sales, "promo": promo})
        lost = rng.random(len(steps)) < 0.03  # Not of late: the forecast needs each promotion.
        frames.append(frame[~(inner & lost & (steps < size - HORIZON - 1))])
    return pd.concat(frames, ignore_index=True)


def write_rows(path, rows):
    rows.to_csv(path, index=False, date_format="%Y-%m-%d")
    return path


def on_grid(rows):
    """Returns for each place the sales of all days up to its last one with sales."""
    series = {}
    for name, part in rows.groupby("place", sort=False):
        sales = part.set_index("day")["sales"].asfreq("D")
        series[name] = sales[: sales.last_valid_index()]
    return series


def read_back(path):
    return pd.read_csv(path, parse_dates=["ds", *["cutoff"] * ("backtest" in path.name)])
