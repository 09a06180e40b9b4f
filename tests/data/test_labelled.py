"""Labelled sequences come back to the bit from every kind of file; bad ones are one sentence."""

import sys

import labelled_cases as cases
import numpy as np
import polars as pl
import pytest

import gru_jax as gj


def same(actual, xs, labels):
    assert actual.labels == labels
    assert len(actual.xs) == len(xs)
    for a, b in zip(actual.xs, xs, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)


def refused(path, message, **options):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        gj.read_labelled(path, **options)
    assert str(error.value).startswith(f"{path}")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


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


# Channels and steps that change places


def test_an_npz_that_looks_swapped_is_refused_until_confirmed(tmp_path):
    xs, path = np.ones((4, 6, 9)), tmp_path / "a.npz"
    np.savez(path, xs=xs)
    refused(path, "looks like [case, channel, time]: save xs.swapaxes(1, 2), or lengths beside it")
    same(gj.read_labelled(path, channels=list("abcdefghi")), xs, None)
    refused(path, "looks like [case, channel, time]", channels=list("abcdef"))
    np.savez(path, xs=xs.swapaxes(1, 2))
    same(gj.read_labelled(path), xs.swapaxes(1, 2), None)
    refused(path, "looks like [case, channel, time]", channels=list("abcdefghi"))
    refused(path, "must have 5 channels, as their names, got 6.", channels=list("abcde"))
    for lengths in ([6, 6, 6, 6], [5, 4, 3, 2]):
        np.savez(path, xs=xs, lengths=lengths)
        same(gj.read_labelled(path), [x[:n] for x, n in zip(xs, lengths, strict=True)], None)
    np.savez(path, xs=xs, lengths=[6, 9, 7, 8])
    refused(path, "looks like [case, channel, time]")


# What is wrong with a file


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,1,1,x", "a,1,2,x"], ": line 3, column 'time' must rise within a case, got '1' after"),
        (["a,2,1,x", "b,0,1,x", "a,1,2,x"], ": line 4, column 'time' must rise within a case"),
        (["a,1,1,x", "a,2,1,y"], ": line 3, column 'label' must not change within a case, got 'y'"),
        (["a,1,1,x", "b,2,1,"], ": line 3, column 'label' must not be missing, but is."),
        (["a,1,1,x", "b,2,1,NA"], ": line 3, column 'label' must be a label, got 'NA'."),
        (["a,1,1,x", "b,2,1, "], ": line 3, column 'label' must not be missing, but is."),
        (["a,1,1,x", ",2,1,x"], ": line 3, column 'case' must not be missing, but is."),
        (["a,1,1,x", "a,,1,x"], ": line 3, column 'time' must not be missing, but is."),
        (["a,1,1,x", "a,soon,1,x"], ": line 3, column 'time' must be a number as before, got"),
        (["a,now,1,x", "a,2,1,x"], ": line 2, column 'time' must be a number or an ISO date, got"),
        (
            ["a,2024-01-01,1,x", "a,2,1,x"],
            ": line 3, column 'time' must be a number or an ISO date",
        ),
        (["a,1,1,x", "a,2,z,x"], ": line 3, column 'c0' must be a number, got 'z'."),
        (["a,1,1,x", "a,2,inf,x"], ": line 3, column 'c0' must be finite, got 'inf'."),
        (["a,1,1,x", "a,2,1e30,x"], ": line 3, column 'c0' must be from -1e18 to 1e18, got '1e30'"),
        (["a,1,,x", "a,2,NA,x"], ": case 'a' must have one value or more, got none."),
        (["a,1,1,x", "a,2,1,2,x"], ": line 3 must have 4 fields, as the first, got 5."),
        ([], "must have rows below its header, but has none."),
    ],
)
def test_a_bad_long_table_is_one_clear_sentence(tmp_path, rows, message):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["case,time,c0,label", *rows]))
    refused(path, message)


def test_columns_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("case,time,c0,c1,kind\na,1,1,,x\na,2,1,,x\n")
    refused(path, "must have a column 'label', but its columns are case, time, c0, c1, kind.")
    refused(path, "channel 'c1' must have one value or more, got none.", label="kind")
    refused(path, "column 'kind' must be a number, got 'x'.", label=None)
    refused(path, "column 'kind' must be numbers or text", label="kind", channels=["kind"])
    refused(path, "must have one channel or more", label="kind", channels=[])
    refused(path, "case, time and label must be different columns", label="case")
    refused(path, "must have a column 'c9'", label="kind", channels=["c9"])


HEADER = "@dimensions 2\n@classLabel true a b\n@data\n1,2:3,4:a\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a file of sequences, but has zero bytes."),
        ("@univariate true\n", "must have a line @data, but has none."),
        ("@data\n", "must hold one sequence or more, but holds none."),
        ("1,2:3\n", ": line 1 must be a key as @data, got '1,2:3'."),
        ("@timeStamps true\n@data\n", ": line 1 must be @timeStamps false, got true"),
        ("@data\n(1,2),(2,3):a", ": line 2, dimension 'dim_0' must be values without time stamps"),
        ("@dimensions x\n@data\n", ": @dimensions must be a number of 1 or more, got 'x'."),
        (f"{HEADER}1,2:a\n", ": line 5 must have 2 dimensions, got 1."),
        (f"{HEADER}1,2:1,2:3,4:a\n", ": line 5 must have 2 dimensions, got 3."),
        (f"{HEADER}1,2:3:a\n", ": line 5, dimension 'dim_1' must have 2 steps, as the first, got"),
        (f"{HEADER}1,2:3,z:a\n", ": line 5, dimension 'dim_1', step 2 must be a number, got 'z'."),
        (f"{HEADER}1,2:3,:a\n", ": line 5, dimension 'dim_1', step 2 must be a number, got ''."),
        (f"{HEADER}1,2:3,1_0:a\n", ": line 5, dimension 'dim_1', step 2 must be a number, got"),
        (f"{HEADER}::a\n", ": line 5, dimension 'dim_0' must have one step or more, got none."),
        (f"{HEADER}1,2:3,4:c\n", ": line 5 must have one of the header's labels, got 'c'."),
        (f"{HEADER}1,2:3,1e30:b\n", ": case '1', step 2, channel 'dim_1' must be finite and from"),
        (f"{HEADER}1,2:3,inf:b\n", ": case '1', step 2, channel 'dim_1' must be finite and from"),
        (f"{HEADER}?:?:b\n", ": case '1' must have one value or more, got none."),
        ("@data\n1,2:?,?:b\n", ": channel 'dim_1' must have one value or more, got none."),
        ("@data\n1,2:3,4:\n", ": case '0' must have a label, got ''."),
        ("@data\n1,2:3,4:?\n", ": case '0' must have a label, got '?'."),
        ("@data\n1,2\n", ": line 2 must end in a colon and a label, but does not."),
        ("@equalLength true\n@seriesLength 3\n@data\n1,2:a\n", ": line 4 must have 3 steps, got 2"),
        (b"@data\n1:\xff\n", ": line 2 must be UTF-8, got the byte 0xff."),
        (b"@data\n1\x00:a\n", ": line 2 must be text in UTF-8, got a NUL byte."),
    ],
)
def test_a_bad_ts_file_is_one_clear_sentence(tmp_path, text, message):
    path = tmp_path / "a.ts"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(path, message)


ONE = "@relation a\n@attribute a numeric\n@attribute b real\n@attribute c {x,'y z'}\n@data\n"
MANY = "@attribute s relational\n@attribute a numeric\n@end s\n@attribute c {x,y}\n@data\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a file of sequences, but has zero bytes."),
        (ONE[:-6], "must have a line @data, but has none."),
        (ONE, "must hold one sequence or more, but holds none."),
        (f"{ONE}1,2\n", ": line 6 must have 2 steps and a label, got 2 values."),
        (f"{ONE}1,2,z\n", ": line 6 must have one of the header's labels, got 'z'."),
        (f"{ONE}1,q,x\n", ": line 6, dimension 'dim_0', step 2 must be a number, got 'q'."),
        (f"{ONE}1,2,?\n", ": line 6 must have one of the header's labels, got '?'."),
        (f"{ONE}1,2,x\n?,?,x\n", ": case '1' must have one step or more, got none."),
        (f"{MANY}1,x\n", ": line 6 must be a quoted series and a label."),
        (f"{MANY}'1,2',x\n", ": line 6 must have 1 steps, got 2."),
        (f"{MANY}'1\\n2',x\n'1',y\n", ": line 7 must have 2 dimensions, got 1."),
        ("@attribute a string\n", ": line 1 must be a numeric step or, at the end, a class"),
        ("@attribute a numeric\n@data\n", ": the attributes must be one step or more and then a"),
        ("hello\n", ": line 1 must be an attribute, got 'hello'."),
        (ONE.replace("@data", "@attribute d numeric"), ": line 5 must be @data"),
    ],
)
def test_a_bad_arff_file_is_one_clear_sentence(tmp_path, text, message):
    path = tmp_path / "a.arff"
    path.write_text(text)
    refused(path, message)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "must hold xs and may hold labels and lengths, got nothing."),
        ({"x": np.ones((2, 3)), "X": np.ones((2, 3))}, "must hold xs and may hold labels"),
        ({"x": np.ones((2, 3)), "z": np.ones(2)}, "labels and lengths, got x, z."),
        ({"xs": np.ones(3)}, "xs must be numbers [case, time, channel] or [case, time], got [3]"),
        ({"xs": np.array([["a"]])}, "xs must be numbers [case, time, channel]"),
        ({"xs": np.ones((0, 3))}, "xs must be numbers [case, time, channel]"),
        ({"xs": np.ones((2, 3)), "y": [1]}, "y must be 2 texts or numbers, got [1] int64."),
        ({"xs": np.ones((2, 3)), "y": [1, np.nan]}, "y must be finite, got nan in case 1."),
        ({"xs": np.ones((2, 3)), "y": ["a", ""]}, "case '1' must have a label, got ''."),
        ({"xs": np.ones((2, 3)), "y": [b"a", b"\xff"]}, "y must be UTF-8"),
        ({"xs": np.ones((2, 3)), "lengths": [3, 0]}, "lengths must be 2 integers from 1 to 3"),
        ({"xs": np.full((2, 3), np.nan)}, "case '0' must have one step or more, got none."),
        ({"xs": np.full((2, 3), 1e30)}, "case '0', step 1, channel 'dim_0' must be finite and"),
        ({"xs": np.full((2, 3), np.inf)}, "case '0', step 1, channel 'dim_0' must be finite and"),
    ],
)
def test_a_bad_npz_is_one_clear_sentence(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    refused(tmp_path / "a.npz", message)


def test_other_files_are_refused(tmp_path):
    refused(tmp_path / "a.xlsx", "must end in .csv, .tsv, .txt, .parquet, .ts, .arff or .npz.")
    for ending in (".ts", ".arff", ".npz", ".csv", ".parquet"):
        with pytest.raises(FileNotFoundError, match="must be a file, but there is none"):
            gj.read_labelled(tmp_path / f"a{ending}")


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
