"""Forecasts on a page: in the units of their series."""

import json
import re

import jax
import numpy as np
import pytest
from browser import OPEN, numbers, see
from refusals import refused

import gru_jax as gj
from gru_jax import plot

STEPS, AHEAD, INPUT = 12, 4, 3
NET = gj.stack(gj.recurrent(gj.gru(5)), gj.dense(3))
PARAMS = NET.init(jax.random.key(0), INPUT)
XS = np.random.default_rng(0).standard_normal((STEPS, INPUT), np.float32)
PAST = np.array([101.5, np.nan, 99, 98, np.nan, 104, 107, 103])
HORIZON = plot.Horizon(PAST, ["low", "middle", "high"], center=100, scale=12, base=2)


def forecast(xs):
    """Returns the quantiles of the horizon, in order."""
    ys = np.asarray(NET.apply(PARAMS, xs[None])[0][0])
    return np.sort(100 + 12 * (ys + xs[:, 2:]), -1)[-AHEAD:]


def show(path, address, **options):
    """Returns what a page of the forecast shows as its output, with the table opened."""
    page = plot.page(NET, PARAMS, XS, horizon=HORIZON._replace(**options))
    path.write_text(page.html.replace("</body>", f"{OPEN}</body>"))
    text = see(path, address)
    assert text.count('class="begins"') == (8 if "&x=" in address else 7)  # one more with Δh
    return text[text.index('class="forecast"') :].split("</figure>")[0]


@pytest.mark.browser
@pytest.mark.parametrize("changed", [False, True])
def test_the_page_forecasts_in_the_units_of_the_series(changed, tmp_path):
    """And what is added to the outputs follows an input that is changed."""
    xs = XS.copy()
    if changed:
        xs[9, 2] = 1.5
    times = [f"day {t}" for t in range(STEPS)]
    truth = [100, np.nan, 96.25, 95]
    address = "t=10" + "&x=9_2_1.5" * changed
    shown = show(tmp_path / "page.html", address, truth=truth, times=times, label="litres")
    expected = forecast(xs)
    rows = re.split("<tr[^>]*>", shown[shown.index("<tbody>") :])[1:]
    assert [re.sub(r"<[^>]*>", " ", row).split()[:2] for row in rows] == [
        ["day", str(t)] for t in range(STEPS - AHEAD, STEPS)
    ]
    for row, quantiles, y in zip(rows, expected, truth, strict=True):
        known = [] if np.isnan(y) else [y]
        np.testing.assert_allclose(numbers(row), [*quantiles, *known], atol=0.0501)
    words = shown[shown.index("<p>") :].split("</p>")[0]
    assert numbers(words) == pytest.approx([*expected[2], truth[2]], abs=0.0501)
    assert "At day 10, low: " in words
    key = "line: middle; band: low to high; grey: observed"
    assert f"Forecast of litres from day 8 ({key}{'; dashed: before the changes' * changed})" in (
        shown
    )


@pytest.mark.browser
def test_the_chart_shows_past_and_forecast_before_and_after_a_change(tmp_path):
    xs = XS.copy()
    xs[9, 2] = 1.5
    shown = show(tmp_path / "page.html", "t=0&x=9_2_1.5")
    ticks = re.findall(r'y="([\d.]+)" text-anchor="end">([\d.]+)<', shown)
    (low, first), *_, (high, last) = [(float(y) - 4, float(value)) for y, value in ticks]
    wide = float(re.search(r'viewBox="0 0 ([\d.]+)', shown)[1])
    left = float(re.search(r'<text x="([\d.]+)" y="218">step 0<', shown)[1])

    def read(kind):
        """Returns the steps and the values of a line's points."""
        path = re.search(rf'd="M([^"]*?)Z?" class="{kind}"', shown)[1].replace("h0", "")
        x, y = np.array([point.split() for point in re.split("[LM]", path)], float).T
        steps = (x - left) / (wide - 8 - left) * STEPS - 0.5
        return steps, first + (y - low) / (high - low) * (last - first)

    known = np.flatnonzero(~np.isnan(PAST))
    ahead = np.arange(STEPS - AHEAD, STEPS)
    both = [*ahead, *ahead[::-1]]
    now, before = forecast(xs), forecast(XS)
    expected = {
        "observed": (known, PAST[known]),
        "median": (ahead, now[:, 1]),
        "before": (ahead, before[:, 1]),
        "range": (both, [*now[:, 2], *now[::-1, 0]]),
    }
    for kind, (steps, values) in expected.items():
        actual = read(kind)
        np.testing.assert_allclose(actual[0], steps, atol=0.01, err_msg=kind)
        np.testing.assert_allclose(actual[1], values, atol=0.1, err_msg=kind)


@pytest.mark.browser
@pytest.mark.parametrize(
    ("scale", "center", "first"),
    [(1, 101325.5, "101322"), (1e9, 5e9, "2e+9"), (1e-6, 0, "\N{MINUS SIGN}4e\N{MINUS SIGN}6")],
)
def test_labels_are_whole_and_short(scale, center, first, tmp_path):
    past = center + scale * np.linspace(-3, 3, STEPS - AHEAD)
    shown = show(tmp_path / "page.html", "t=0", past=past, center=center, scale=scale)
    labels = re.findall(r'x="([\d.]+)" y="[\d.]+" text-anchor="end">([^<]*)<', shown)
    labels = [(float(x), text) for x, text in labels if "step" not in text]
    assert labels[0][1] == first
    assert all(x > 5.5 * len(text) for x, text in labels)
    assert len({text for _, text in labels}) == len(labels)


def test_a_widget_has_the_horizon_of_a_page():
    text = plot.page(NET, PARAMS, XS, horizon=HORIZON).html
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert plot.widget(NET, PARAMS, XS, horizon=HORIZON).data["horizon"] == data["horizon"]
    assert data["horizon"]["past"] == [101.5, None, 99, 98, None, 104, 107, 103]


POOLED = gj.stack(NET, gj.pool("last"))
BETWEEN = "past of horizon must be [time] with 1 to 11 steps, without inf"
REFUSED = {
    "net of horizon must have outputs at each step, got a net that pools.": HORIZON,
    f"{BETWEEN}, got (0,).": HORIZON._replace(past=[]),
    f"{BETWEEN}, got (12,).": HORIZON._replace(past=np.ones(12)),
    f"{BETWEEN}, got (8, 1).": HORIZON._replace(past=PAST[:, None]),
    f"{BETWEEN}, got (2,).": HORIZON._replace(past=[1, np.inf]),
    "names of horizon must be 3, got 1.": HORIZON._replace(names=["y"]),
    "center of horizon must be finite, got nan.": HORIZON._replace(center=np.nan),
    "scale of horizon must be finite and above 0, got 0.0.": HORIZON._replace(scale=0),
    "base of horizon must be None or 0 to 2, got 3.": HORIZON._replace(base=3),
    "truth of horizon must be [4] without inf, got (3,).": HORIZON._replace(truth=np.ones(3)),
    "times of horizon must be 12, got 4.": HORIZON._replace(times=list("abcd")),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_horizon_that_does_not_fit_is_refused(message):
    net, params = (POOLED, (PARAMS, ())) if message.startswith("net") else (NET, PARAMS)
    with refused(f"page: {message}"):
        plot.page(net, params, XS, horizon=REFUSED[message])


def test_a_horizon_needs_a_middle():
    cell = gj.gru(2)
    with refused("page: outputs of horizon must be an odd number, got 2."):
        plot.page(cell, cell.init(jax.random.key(0), INPUT), XS, horizon=HORIZON)


def test_probabilities_have_no_horizon():
    with refused("page: classes and horizon must not come together, got both."):
        plot.page(NET, PARAMS, XS, classes=list("abc"), horizon=HORIZON)
