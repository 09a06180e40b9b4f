"""Windows against a plain loop; what a window may see, and which windows each part holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused
from series_files import FUTURE, make_table, write_series

import gru_jax as gj

L, H = 9, 4


@pytest.fixture
def table(tmp_path, rng):
    path, _, columns = write_series(tmp_path, rng, missing=0.2)
    return gj.read_series(path, **columns)


def standardize(values, mean, std):
    scaled = (values.astype(float) - mean) / std
    return np.where(np.isnan(scaled), 0, scaled)


def by_hand(table, windows, number):
    """Returns one window's inputs, targets and valid steps, in float64."""
    series, t = table.series[windows.series[number]], windows.cutoffs[number]
    mean, std = windows.standardization
    p = len(table.past)
    back = series.y[t - L : t].astype(float)
    center, scale = np.nanmean(back), np.nanstd(back)
    inputs = np.zeros((L + H, 3 + len(mean)))
    for i, step in enumerate(range(t - L, t + H)):
        if i < L:
            seen = not np.isnan(series.y[step])
            inputs[i, 0] = (series.y[step] - center) / scale if seen else 0
            inputs[i, 1] = seen
            inputs[i, 3 : 3 + p] = standardize(series.past[step], mean[:p], std[:p])
        else:
            inputs[i, 2] = 1
        if step < len(series.future):
            inputs[i, 3 + p :] = standardize(series.future[step], mean[p:], std[p:])
    y = np.full(H, np.nan)
    known = series.y[t : t + H]
    y[: len(known)] = known
    targets = (y - center) / scale
    targets, valid = np.where(np.isnan(targets), 0, targets), ~np.isnan(targets)
    return inputs, targets, valid, center, scale, number


def test_a_batch_is_that_of_a_plain_loop(table):
    split = gj.split_windows(table, L, H, validation=2, test=2, step=3)
    ahead = gj.forecast_windows(table, L, H, split.train.standardization)
    for windows in (*split, ahead):
        numbers = np.arange(len(windows.starts))[::-1]
        batch = gj.gather_windows(windows, numbers)
        assert table.inputs == ("y", "observed", "ahead", "wind", "temp", "holiday")
        assert batch.inputs.shape == (len(numbers), L + H, len(table.inputs))
        assert batch.inputs.dtype == batch.targets.dtype == np.float32
        expected = zip(*(by_hand(table, windows, n) for n in numbers), strict=True)
        for actual, each in zip(batch, expected, strict=True):
            np.testing.assert_allclose(actual, np.stack(each), rtol=2e-5, atol=2e-6)


def test_windows_at_given_cutoffs_are_those_of_the_split(table):
    split = gj.split_windows(table, L, H, validation=2, test=3, step=2)
    cutoffs = [gj.make_cutoffs(len(series.y), H, 3, 2) for series in table.series]
    std = split.train.standardization
    actual = gj.forecast_windows(table, L, H, std, cutoffs=cutoffs)
    numbers = np.arange(len(split.test.starts))
    both = (gj.gather_windows(windows, numbers) for windows in (actual, split.test))
    for one, other in zip(*both, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(actual.cutoffs, split.test.cutoffs)


def test_each_part_holds_the_cutoffs_of_its_time(table):
    split = gj.split_windows(table, L, H, validation=2, test=3, step=2)
    for i, series in enumerate(table.series):
        n = len(series.y)
        train, validation, test = (w.cutoffs[w.series == i].tolist() for w in split)
        assert test == [n - H - 4, n - H - 2, n - H]
        assert validation == [test[0] - H - 2, test[0] - H]
        observed = ~np.isnan(series.y)
        every = [
            t
            for t in range(L, validation[0] - H + 1)
            if observed[t - L : t].any() and observed[t : t + H].any()
        ]
        assert train == every
    assert len(gj.split_windows(table, L, H, test=0, validation=0).test.starts) == 0


@given(st.integers(1, 8), st.integers(1, 5), st.integers(0, 3), st.integers(0, 3), st.data())
def test_no_part_sees_the_targets_of_a_later_one(lookback, horizon, validation, test, data):
    step = data.draw(st.integers(1, 6))
    spare = data.draw(st.integers(0, 9))
    held_out = sum(horizon + step * (n - 1) for n in (validation, test) if n)
    lengths = [lookback + horizon + held_out + spare, lookback + horizon + held_out]
    series = tuple(
        gj.Series(str(n), np.arange(n), np.arange(n, dtype=np.float32), *[np.zeros((n, 0))] * 2)
        for n in lengths
    )
    table = gj.SeriesTable(series, gj.Frequency("integer", 1), 1, (), (), False, 0)
    options = {"validation": validation, "test": test, "step": step}
    split = gj.split_windows(table, lookback, horizon, **options)
    for i in range(2):
        first = lengths[i]  # the first target of the later parts
        for windows, count in [
            (split.test, test),
            (split.validation, validation),
            (split.train, 1),
        ]:
            cutoffs = windows.cutoffs[windows.series == i]
            assert (cutoffs - lookback >= 0).all()
            assert (cutoffs + horizon <= first).all()
            assert len(cutoffs) == count or windows is split.train
            if len(cutoffs):
                assert max(cutoffs) + horizon == first
                first = min(cutoffs)
    short = table._replace(series=(series[1]._replace(y=series[1].y[1:]),))
    with pytest.raises(ValueError, match=f"must have {lengths[1]} steps or more"):
        gj.split_windows(short, lookback, horizon, **options)


def change(table, start, *names):
    """Returns the table with other values from a step of the first series on."""
    first, *others = table.series
    new = {name: np.array(getattr(first, name)) for name in names}
    for values in new.values():
        values[start:] = 1e6
    return table._replace(series=(first._replace(**new), *others))


def test_training_does_not_see_what_comes_after_it(table):
    split = gj.split_windows(table, L, H)
    end = split.validation.cutoffs[0]
    other = gj.split_windows(change(table, end, "y", "past", "future"), L, H)
    for before, after in zip(split.train.standardization, other.train.standardization, strict=True):
        np.testing.assert_array_equal(before, after)
    numbers = np.arange(len(split.train.starts))
    one, two = (gj.gather_windows(each.train, numbers) for each in (split, other))
    for before, after in zip(one, two, strict=True):
        np.testing.assert_array_equal(before, after)
    changed = gj.split_windows(change(table, end - 1, "y"), L, H).train
    assert (gj.gather_windows(changed, numbers).targets != one.targets).any()


def test_a_window_sees_only_the_future_covariates_of_its_horizon(table):
    split = gj.split_windows(table, L, H)
    t = split.test.cutoffs[0]
    before = gj.gather_windows(split.test, np.array([0]))
    for name in ("y", "past", "future"):
        other = gj.split_windows(change(table, t, name), L, H).test
        after = gj.gather_windows(other, np.array([0]))
        differ = (before.inputs != after.inputs)[0]
        assert differ.any() == (name == "future")
        assert not differ[:L].any()
        assert (before.center, before.scale) == (after.center, after.scale)
        assert (before.targets != after.targets).any() == (name == "y")


@pytest.mark.parametrize(("constant", "scale"), [(0, 1), (5, 5), (-1e7, 1e7), (0.1, 0.1)])
def test_a_constant_look_back_has_a_scale(constant, scale):
    y = [constant] * 3 + [np.nan] + [2 * constant + 1] * 2
    windows = gj.forecast_windows(make_table(y[:4]), 4, 2, gj.Standardization(*np.zeros((2, 0))))
    batch = gj.gather_windows(windows, np.array([0]))
    assert (batch.center, batch.scale) == (np.float32(constant), np.float32(scale))
    np.testing.assert_array_equal(batch.inputs[0, :, 0], 0)
    assert not batch.valid.any()
    train = gj.gather_windows(
        gj.split_windows(make_table(y), 4, 2, validation=0, test=0).train, np.array([0])
    )
    expected = (2 * constant + 1 - constant) / scale
    np.testing.assert_allclose(train.targets, [[expected] * 2], rtol=1e-6)


def test_constant_and_missing_covariates_are_zero(table):
    first = table.series[0]
    constant = np.full_like(first.future, 0.1)
    missing = np.full_like(first.past, np.nan)
    table = table._replace(series=(first._replace(future=constant, past=missing),))
    train = gj.split_windows(table, L, H).train
    np.testing.assert_array_equal(train.standardization.std, [1, 1, 1])
    batch = gj.gather_windows(train, np.arange(len(train.starts)))
    np.testing.assert_allclose(batch.inputs[..., 3:], 0, atol=1e-7)


@pytest.mark.parametrize("seed", [None, 3])
def test_an_epoch_has_every_window_once(table, seed):
    windows = gj.split_windows(table, L, H).train
    count = len(windows.starts)
    assert count % 8
    every = gj.gather_windows(windows, np.arange(count))
    items = list(gj.window_batches(windows, 8, seed=seed, steps=3))
    assert [len(item.inputs) for item in items[:-1]] == [3] * (len(items) - 1)
    flat = [
        np.concatenate([a.reshape(-1, *a.shape[2:]) for a in each])
        for each in zip(*items, strict=True)
    ]
    assert (~flat[2][count:]).all()
    assert (flat[5][count:] == -1).all()
    assert len(flat[0]) == -(-count // 8) * 8
    order = [int(np.flatnonzero((every.inputs == x).all((1, 2)))[0]) for x in flat[0][:count]]
    assert sorted(order) == list(range(count))
    assert (order == list(range(count))) == (seed is None)
    np.testing.assert_array_equal(flat[5][:count], order)
    np.testing.assert_array_equal(flat[1][:count], every.targets[order])
    np.testing.assert_array_equal(flat[2][:count], every.valid[order])


def test_an_order_belongs_to_seed_and_epoch_and_may_be_cut_short(table):
    windows = gj.split_windows(table, L, H).train

    def first(**options):
        return next(gj.window_batches(windows, 4, seed=1, **options))

    np.testing.assert_array_equal(first(epoch=2).inputs, first(epoch=2).inputs)
    assert (first(epoch=2).inputs != first(epoch=3).inputs).any()
    np.testing.assert_array_equal(first(limit=8).inputs, first().inputs[:2])
    assert len(list(gj.window_batches(windows, 4, seed=1, limit=5, steps=1))) == 2


def test_future_covariates_must_reach_the_horizon(table):
    train = gj.split_windows(table, L, H).train
    assert len(gj.forecast_windows(table, L, FUTURE, train.standardization).starts) == 2
    with refused(
        "forecast_windows: series 'north' must have temp, holiday for 6 steps after its last "
        "target, got 5."
    ):
        gj.forecast_windows(table, L, FUTURE + 1, train.standardization)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_the_scale_of_a_series_takes_the_place_of_the_look_backs(table, part):
    options = {"validation": 2, "test": 2, "step": 3}
    one = gj.split_windows(table, L, H, **options)[part]
    other = gj.split_windows(table, L, H, scale="series", **options)[part]
    known = [series.y[: len(series.y) - 2 * (H + 3)] for series in table.series]
    scales = np.array([(np.nanmean(y), np.nanstd(y)) for y in known])
    np.testing.assert_allclose(other.scales, scales, rtol=1e-5)
    numbers = np.arange(len(one.starts))
    one, other = gj.gather_windows(one, numbers), gj.gather_windows(other, numbers)
    windows = gj.split_windows(table, L, H, **options)[part]
    np.testing.assert_allclose(other.center, scales[windows.series, 0], rtol=1e-5)
    np.testing.assert_allclose(other.scale, scales[windows.series, 1], rtol=1e-5)
    y = [each.center[:, None] + each.scale[:, None] * each.targets for each in (one, other)]
    np.testing.assert_allclose(y[1][one.valid], y[0][one.valid], rtol=1e-4)  # float32, twice
    np.testing.assert_array_equal(other.targets[~one.valid], 0)


@pytest.mark.untyped
def test_another_scale_is_refused(table):
    with refused('split_windows: scale must be "window" or "series", got \'none\'.'):
        gj.split_windows(table, L, H, scale="none")
