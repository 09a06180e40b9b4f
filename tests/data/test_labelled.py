"""Labelled sequences come back to the bit from every kind of file."""

import sys

import labelled_cases as cases
import numpy as np
import polars as pl
import pytest
from labelled_cases import refused, same

import gru_jax as gj

# Files of every kind


def test_ts_comes_back_to_the_bit(tmp_path, rng):
    xs, labels = cases.draw(rng)
    (tmp_path / "a.ts").write_text(cases.ts(xs, labels))
    labelled = gj.read_labelled(tmp_path / "a.ts")
    same(labelled, xs, labels)
    assert labelled.names == ["0", "1", "2", "3"]
    assert labelled.channels == ("dim_0", "dim_1", "dim_2")
    assert gj.read_labelled(tmp_path / "a.ts", channels=["x", "y", "z"]).channels == tuple("xyz")
    assert gj.read_labelled(tmp_path / "a.ts", label=None).labels is None


@pytest.mark.parametrize("split", [0, 1])
def test_japanese_vowels_come_back_from_ts_to_the_bit(tmp_path, split):
    dataset = gj.load_japanese_vowels()[split]
    labels = [str(target) for target in dataset.targets]
    (tmp_path / "a.ts").write_text(cases.ts(dataset.xs, labels, "@dimensions 12"))
    same(gj.read_labelled(tmp_path / "a.ts"), dataset.xs, labels)


def test_ts_headers_are_read_as_people_write_them(tmp_path):
    text = "\ufeff#n\r\n@targetlabel true\r\n@UNIVARIATE true\r\n@Data\r\n1,NaN, 2 :0.5\r\n"
    (tmp_path / "a.ts").write_bytes(text.encode())
    same(gj.read_labelled(tmp_path / "a.ts"), [[[1], [np.nan], [2]]], ["0.5"])
    (tmp_path / "a.ts").write_text("@classLabel false\n@data\n1:2\n3:4\n")
    same(gj.read_labelled(tmp_path / "a.ts"), [[[1, 2]], [[3, 4]]], None)
    (tmp_path / "a.ts").write_bytes(b"#\xff\n@classLabel TRUE Up down\n@data\n1:up\n3:DOWN\n")
    same(gj.read_labelled(tmp_path / "a.ts"), [[[1]], [[3]]], ["Up", "down"])


@pytest.mark.parametrize("channels", [1, 3])
def test_arff_comes_back_to_the_bit(tmp_path, rng, channels):
    xs, labels = cases.draw(rng, (5, 5, 5), channels)
    xs[1][3:] = np.nan
    (tmp_path / "a.arff").write_text(cases.arff(xs, labels))
    same(gj.read_labelled(tmp_path / "a.arff"), [xs[0], xs[1][:3], xs[2]], labels)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_long_csv_comes_back_to_the_bit(tmp_path, rng, separator):
    xs, labels = cases.draw(rng)
    path = cases.write_long(tmp_path / "a.csv", cases.long_rows(xs, labels), 3, separator)
    labelled = gj.read_labelled(path)
    same(labelled, xs, labels)
    assert labelled.names == ["case 0", "case 1", "case 2", "case 3"]
    assert labelled.channels == ("c0", "c1", "c2")
    some = gj.read_labelled(path, channels=["c2", "c0"], label=None, time=None)
    same(some, [x[:, [2, 0]] for x in xs], None)


def test_a_table_may_lack_its_labels_where_they_are_not_needed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("case,time,c0\na,1,1\na,2,2\n")
    same(gj.read_labelled(path, need_label=False), [[[1], [2]]], None)
    assert gj.read_labelled(path, need_label=False).channels == ("c0",)
    refused(path, "must have a column 'label', but its columns are case, time, c0.")
    path.write_text("case,time,c0,label\na,1,1,x\n")
    same(gj.read_labelled(path, need_label=False), [[[1]]], ["x"])


def test_space_around_texts_makes_no_other_case_or_class(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("case,time,c0,label\na, 1,1,x \n a ,2,2, x\n")
    same(gj.read_labelled(path), [[[1], [2]]], ["x"])


def test_rows_of_a_case_need_not_be_together(tmp_path, rng):
    xs, labels = cases.draw(rng, (4, 3, 5))
    rows = cases.long_rows(xs, labels)
    order = sorted(range(len(rows)), key=lambda i: (rows[i][1], -i))
    path = cases.write_long(tmp_path / "a.csv", [rows[i] for i in order])
    labelled = gj.read_labelled(path)
    assert labelled.names == ["case 2", "case 1", "case 0"]
    same(labelled, xs[::-1], labels[::-1])


def test_a_long_parquet_file_holds_the_same(tmp_path, rng):
    xs, labels = cases.draw(rng)
    rows = cases.long_rows(xs, labels)
    steps = np.concatenate(xs)
    columns = {
        "id": [int(row[0][-1]) for row in rows],
        "t": pl.Series([row[1] for row in rows]).cast(pl.Datetime("ms")),
        "kind": [row[-1] for row in rows],
    } | {name: pl.Series(steps[:, i]).fill_nan(None) for i, name in enumerate("xyz")}
    pl.DataFrame(columns).write_parquet(tmp_path / "a.parquet")
    labelled = gj.read_labelled(tmp_path / "a.parquet", case="id", time="t", label="kind")
    same(labelled, xs, labels)
    assert labelled.names == ["0", "1", "2", "3"]
    assert labelled.channels == ("x", "y", "z")


@pytest.mark.parametrize(
    "times",
    [["1", "2.5", "10"], ["1", "2,5", "10"], ["2024-01-09", "2024-01-10", "2024-02-01T05:00:00Z"]],
)
def test_times_are_numbers_or_dates(tmp_path, times):
    rows = [["a", time, 1, "x"] for time in times]
    gj.read_labelled(cases.write_long(tmp_path / "a.csv", rows, 1))
    rows[1], rows[2] = rows[2], rows[1]
    path = cases.write_long(tmp_path / "a.csv", rows, 1)
    message = f"line 4, column 'time' must rise within a case, got '{times[1]}' after '{times[2]}'"
    refused(path, message)


@pytest.mark.parametrize("names", [("xs", "labels"), ("x", "y"), ("X", "y"), ("xs", "Y")])
def test_npz_comes_back_to_the_bit(tmp_path, rng, names):
    xs, labels = cases.draw(rng)
    padded, lengths = gj.pad(xs)
    arrays = {names[0]: padded.astype(float), names[1]: np.array(labels)}
    np.savez(tmp_path / "a.npz", lengths=lengths, **arrays)
    same(gj.read_labelled(tmp_path / "a.npz"), xs, labels)
    for x, length in zip(padded, lengths, strict=True):
        x[length:] = np.nan
    np.savez(tmp_path / "b.npz", **arrays | {names[0]: padded})
    same(gj.read_labelled(tmp_path / "b.npz"), xs, labels)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([1, 0]), ["1", "0"]),
        (np.array([1.0, -2.0]), ["1", "-2"]),
        (np.array([0.1, 2.0], np.float32), ["0.1", "2"]),
        (np.array([True, False]), ["True", "False"]),
        (np.array([b"a", "\u00e9".encode()]), ["a", "\u00e9"]),
        (np.array(["01", " b"]), ["01", " b"]),
    ],
)
def test_labels_of_npz_become_texts(tmp_path, labels, expected):
    np.savez(tmp_path / "a.npz", x=np.ones((2, 3)), y=labels)
    same(gj.read_labelled(tmp_path / "a.npz"), np.ones((2, 3, 1)), expected)


def test_npz_needs_no_polars(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    np.savez(tmp_path / "a.npz", x=np.ones((2, 3)))
    same(gj.read_labelled(tmp_path / "a.npz"), np.ones((2, 3, 1)), None)
    refused(tmp_path / "a.csv", "needs polars to be read")


# Labels


def test_classes_are_sorted_as_people_count():
    assert gj.class_names(["10", "9", "1", "9"]) == ["1", "9", "10"]
    assert gj.class_names(["10.0", "2.0"]) == ["2.0", "10.0"]
    assert gj.class_names(["b", "10", "a", "9"]) == ["10", "9", "a", "b"]
    assert gj.class_names(["nan", "1"]) == ["1", "nan"]
    with pytest.raises(ValueError, match="labels must be of two classes or more, got only 'a'"):
        gj.class_names(["a", "a"])
    with pytest.raises(ValueError, match="labels must be of two classes or more, got none"):
        gj.class_names([])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["0.5", "1"], True),
        (["-1e-3"], True),
        (["1.0", "2"], False),
        (["1", "2"], False),
        (["0.5", "a"], False),
        (["0.5", "nan"], False),
        ([], False),
    ],
)
def test_labels_with_decimals_are_numbers(labels, expected):
    assert gj.labels_are_numbers(labels) is expected
