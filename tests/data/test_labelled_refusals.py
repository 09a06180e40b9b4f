"""Labelled sequences: what is wrong with a file is one sentence that begins with its path."""

import numpy as np
import pytest
from labelled_cases import refused, same

import gru_jax as gj


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
