"""Forecasts on a page: in the units of their series."""

import re

import jax
import numpy as np
import pytest
from browser import numbers, see
from refusals import refused

import gru_jax as gj
from gru_jax import plot

STEPS, AHEAD, INPUT = 12, 4, 3
NET = gj.stack(gj.recurrent(gj.gru(5)), gj.dense(3))
PARAMS = NET.init(jax.random.key(0), INPUT)
XS = np.random.default_rng(0).standard_normal((STEPS, INPUT), np.float32)
PAST = np.array([101.5, np.nan, 99, 98, np.nan, 104, 107, 103])
OPEN = """<script type="module">
for (const one of document.querySelectorAll("details")) one.open = true;
</script>"""
HORIZON = plot.Horizon(PAST, ["low", "middle", "high"], center=100, scale=12, base=2)


def forecast(xs):
    """Returns the quantiles of the horizon, in order."""
    ys = np.asarray(NET.apply(PARAMS, xs[None])[0][0])
    return np.sort(100 + 12 * (ys + xs[:, 2:]), -1)[-AHEAD:]


@pytest.mark.browser
@pytest.mark.parametrize("base", ["", "9_2_1.5"])
def test_the_page_forecasts_in_the_units_of_the_series(base, tmp_path):
    """And what is added to the outputs follows an input that is changed."""
    path, xs = tmp_path / "page.html", XS.copy()
    if base:
        xs[9, 2] = 1.5
    times = [f"day {t}" for t in range(STEPS)]
    truth = [100, np.nan, 96.25, 95]
    horizon = HORIZON._replace(truth=truth, times=times, label="litres")
    page = plot.page(NET, PARAMS, XS, horizon=horizon)
    path.write_text(page.html.replace("</body>", f"{OPEN}</body>"))
    text = see(path, f"t=10&x={base}")
    shown = text[text.index('class="forecast"') :].split("</figure>")[0]
    expected = forecast(xs)
    rows = re.split("<tr[^>]*>", shown[shown.index("<tbody>") :])[1:]
    assert [re.sub(r"<[^>]*>", " ", row).split()[:2] for row in rows] == [
        ["day", str(t)] for t in range(STEPS - AHEAD, STEPS)
    ]
    for row, quantiles, y in zip(rows, expected, truth, strict=True):
        known = [] if np.isnan(y) else [y]
        np.testing.assert_allclose(numbers(row), [*quantiles, *known], atol=0.0501)
    assert numbers(shown[shown.index("<p>") :].split("</p>")[0]) == pytest.approx(
        [*expected[2], truth[2]], abs=0.0501
    )
    changed = "line: middle; band: low to high; grey: observed; dashed: before your changes"
    assert (f"Forecast of litres from day 8 ({changed})" in shown) == bool(base)
    assert text.count('class="begins"') == (8 if base else 7)  # with Δh, if something is changed
    observed = re.search(r'd="([^"]*)" class="observed"', shown)[1]
    assert observed.count("M") == 4  # three gaps


@pytest.mark.browser
def test_the_chart_shows_the_forecast(tmp_path):
    path = tmp_path / "page.html"
    plot.page(NET, PARAMS, XS, horizon=HORIZON).save(path)
    shown = see(path, "t=0")
    shown = shown[shown.index('class="forecast"') :].split("</figure>")[0]
    ticks = re.findall(r'y="([\d.]+)" text-anchor="end">([\d.]+)<', shown)
    (low, first), *_, (high, last) = [(float(y) - 4, float(value)) for y, value in ticks]
    line = re.search(r'd="M([^"]*)" class="median"', shown)[1].replace("h0", "").split("L")
    heights = np.array([float(point.split()[1]) for point in line])
    actual = first + (heights - low) / (high - low) * (last - first)
    np.testing.assert_allclose(actual, forecast(XS)[:, 1], atol=0.2)


POOLED = gj.stack(NET, gj.pool("last"))
REFUSED = {
    "net of horizon must have outputs at each step, got a net that pools.": HORIZON,
    "past of horizon must have 1 to 11 steps, got 0.": HORIZON._replace(past=[]),
    "past of horizon must have 1 to 11 steps, got 12.": HORIZON._replace(past=np.ones(12)),
    "names of horizon must be 3, got 1.": HORIZON._replace(names=["y"]),
    "center of horizon must be finite, got nan.": HORIZON._replace(center=np.nan),
    "scale of horizon must be above 0, got 0.0.": HORIZON._replace(scale=0),
    "base of horizon must be None or 0 to 2, got 3.": HORIZON._replace(base=3),
    "truth of horizon must be [4], got (3,).": HORIZON._replace(truth=np.ones(3)),
    "times of horizon must be 12, got 4.": HORIZON._replace(times=list("abcd")),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_horizon_that_does_not_fit_is_refused(message):
    net, params = (POOLED, (PARAMS, ())) if message.startswith("net") else (NET, PARAMS)
    with refused(f"page: {message}"):
        plot.page(net, params, XS, horizon=REFUSED[message])


def test_probabilities_have_no_horizon():
    with refused("page: classes and horizon must not come together, got both."):
        plot.page(NET, PARAMS, XS, classes=list("abc"), horizon=HORIZON)
