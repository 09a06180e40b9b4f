"""Tables come back as they were written; whatever is wrong with a file is one clear sentence."""

import csv
import io
import math

import numpy as np
import polars as pl
import pytest
from refusals import blamed

from gru_jax.data import csv_files
from gru_jax.data.tables import check_complete, place, read_table


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path, text, numbers=None, **options):
    return read_table(write(path, text), numbers=numbers, **options).to_dict(as_series=False)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(("separator", "decimal"), [",.", ";.", "\t.", ";,", "\t,"])
def test_numbers_and_texts_come_back_as_written(tmp_path, rng, separator, decimal, mark, ending):
    numbers = rng.normal(size=(50, 3)) * 10.0 ** rng.integers(-9, 9, (50, 3))
    texts = [f"0{i}{separator}\"'\u00e9 {'NA' if i % 2 else ''}\n{i}.5" for i in range(50)]
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=separator, lineterminator=ending)
    writer.writerow(["a", "day, or night; 1", "b", "c"])
    for text, row in zip(texts, numbers, strict=True):
        first, *rest = [repr(float(x)).replace(".", decimal) for x in row]
        writer.writerow([first, text, *rest])
    path = write(tmp_path / "a.csv", mark + stream.getvalue().encode())
    table = read_table(path, numbers=["c", "a", "b"], texts=["day, or night; 1"])
    assert table.columns == ["c", "a", "b", "day, or night; 1"]
    np.testing.assert_array_equal(table["a", "b", "c"].to_numpy(), numbers)
    assert table["day, or night; 1"].to_list() == texts


def test_only_the_columns_asked_for_are_read(tmp_path):
    text = "a,b,c\n1,x,2\n3,y,4\n"
    assert read(tmp_path / "a.csv", text, ["c"]) == {"c": [2, 4]}
    assert read(tmp_path / "a.csv", text, [], texts=["b"]) == {"b": ["x", "y"]}
    assert read(tmp_path / "a.csv", text, texts=["b"]) == {
        "a": [1, 3],
        "c": [2, 4],
        "b": ["x", "y"],
    }
    options = {"texts": ["d"], "optional": ["d", "e"]}
    assert read(tmp_path / "a.csv", text, ["a", "e"], **options) == {"a": [1, 3]}


def test_missing_numbers_are_null_and_missing_texts_empty(tmp_path):
    words = [*csv_files.MISSING, "-nan", " NA ", '""']
    text = "a,b,c\n" + "".join(f"{word},{word},1\n" for word in words)
    table = read(tmp_path / "a.csv", text, ["a", "c"], texts=["b"])
    assert table["a"] == [None] * len(words)
    assert table["b"] == [*words[:-1], ""]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n\n\n3,4\n\n", {"a": [1, 3], "b": [2, 4]}),
        ("a,b\n\n\n1,2\n\n\n3,4\n\n", {"a": [1, 3], "b": [2, 4]}),
        ("a\n1\n\r\n2", {"a": [1, 2]}),
        ("a , b\n 1 ,2 \n+3,4e1\n", {"a": [1, 3], "b": [2, 40]}),
        ("a;b\n1 ;2\n 3,5 ;?\n", {"a": [1, 3.5], "b": [2, None]}),
        ('"a","b"\n"1","2"\n', {"a": [1], "b": [2]}),
        ('\ufeff"a","b"\n1,2\n', {"a": [1], "b": [2]}),
        ('"a\nb",c\n1,2\n', {"a\nb": [1], "c": [2]}),
        ("a,b\n,\n1,2\n", {"a": [None, 1], "b": [None, 2]}),
        ("a,b\n.5,5.\n-1E3,1e-3\n", {"a": [0.5, -1000], "b": [5, 0.001]}),
    ],
)
def test_what_people_write_is_read(tmp_path, text, expected):
    assert read(tmp_path / "a.csv", text) == expected


LONG = "x" * 80


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a table with a header, but has zero bytes."),
        ("\n\n", ": line 1 must name the columns, got an empty line."),
        ("a,b\n", "must have rows below its header, but has none."),
        ("a,b\n\n\n", "must have rows below its header, but has none."),
        ("1,2.5\n3,4\n", ": line 1 must name the columns, got only numbers: 1,2.5."),
        ("b,a,a\n1,2,3\n", ": line 1 must name each column once, got 'a' in columns 2 and 3."),
        ("b, a,a\n1,2,3\n", ": line 1 must name each column once, got 'a' in columns 2 and 3."),
        (",a\n1,2\n", ": the header must name each column, but not column 1."),
        ("a,b\n1,2\n3\n", ": line 3 must have 2 fields, as the first, got 1."),
        ("a,b\n\n1,2\n3,4,5\n", ": line 4 must have 2 fields, as the first, got 3."),
        ("a,b\n1,2\n  \n3,4\n", ": line 3 must have 2 fields, as the first, got 1."),
        ('a,b\n"1\n\n",2\n3\n', ": line 5 must have 2 fields, as the first, got 1."),
        ('a,b\n"1\n2",2\n5" x,3\n7" y,4\n', ": line 4 must have quotes around whole fields alone."),
        ('a,b\n1,2\n3,"4"5\n', ": line 3 must have quotes around whole fields alone."),
        ('a,b\n1, "2"\n', ": line 2 must have quotes around whole fields alone."),
        ("a,b\n1,2\n3,x\n", ": line 3, column 'b' must be a number, got 'x'."),
        ("a,b\n1,2\n\n3,1 2\n", ": line 4, column 'b' must be a number, got '1 2'."),
        (f"a,b\n1,{LONG}\n", f": line 2, column 'b' must be a number, got '{LONG[:60]}...'."),
        ("a,b\n1,2\n1_0,2\n", ": line 3, column 'a' must be a number, got '1_0'."),
        ("a,b\n1,True\n", ": line 2, column 'b' must be a number, got 'True'."),
        ('a,b\n1,"2,5"\n', ": line 2, column 'b' must be a number, got '2,5'."),
        ("a,b\n1,-inf\n", ": line 2, column 'b' must be finite, got '-inf'."),
        ("a,b\n1,1e30\n", ": line 2, column 'b' must be from -1e18 to 1e18, got '1e30'."),
        ("a,b\n1,-1e999\n", ": line 2, column 'b' must be from -1e18 to 1e18, got '-1e999'."),
        ("a;b\n1;2\n1,5;3.5\n", ": line 3, column 'b' must have the decimal mark of line 3, got"),
        ("a;b\n1;2\n1,5;2\n1;1.234\n", ": line 4, column 'b' must have the decimal mark of line 3"),
        (b"a,b\n1,2\n3,\xff\n", ": line 3 must be UTF-8, got the byte 0xff."),
        ("\u00e9,b\n1,2\n".encode("latin1"), ": line 1 must be UTF-8, got the byte 0xe9."),
        ("a,b\n1,2\n".encode("utf-16"), ": line 1 must be UTF-8, got the byte 0xff."),
        (b"a,b\n1,2\n3,\x00\n", ": line 3 must be text in UTF-8, got a NUL byte."),
        ("a,b\r1,2\r", ": line 1 must end in a line feed, got a carriage return alone."),
        ('a,b\n1,2\n3,"4\n5,6\n', ": line 3 must close its quotes, but they stay open."),
    ],
)
def test_a_bad_file_is_one_clear_sentence(tmp_path, text, message):
    path = write(tmp_path / "a.csv", text)
    with blamed(path, message):
        read_table(path, numbers=None)


def test_beside_decimal_commas_a_point_is_no_decimal_mark(tmp_path):
    """1.234 is a thousand there, and polars would read it as a bit more than 1."""
    path = write(tmp_path / "a.csv", "a;b;c\n1;656;x\n1,5;1.234;y\n")
    with blamed(path, ": line 3, column 'b' must have the decimal mark of line 3, got '1.234'."):
        read_table(path, numbers=["b"])
    whole = write(tmp_path / "b.csv", "a;b;c\n1;656;x.1\n1,5;1234;y\n")
    assert read_table(whole, numbers=["b"])["b"].to_list() == [656, 1234]
    text = write(tmp_path / "c.csv", "a;b\nHall 1,5;1.5\n")
    assert read_table(text, numbers=["b"])["b"].to_list() == [1.5]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (["A"], r"must have a column 'A', but its columns are a, label \(did you mean 'a'\?\)\."),
        (["labl"], r"its columns are a, label \(did you mean 'label'\?\)\."),
        (["zzz"], r"but its columns are a, label\."),
        (["label"], r"column 'label' must be numbers or text, got both\."),
    ],
)
def test_a_column_that_is_not_there_is_named(tmp_path, numbers, message):
    path = write(tmp_path / "a.csv", "a,label\n1,2\n")
    with pytest.raises(ValueError, match=message):
        read_table(path, numbers=numbers, texts=["label"])


def test_any_text_is_read_as_the_csv_module_does_or_refused(tmp_path, rng):
    path, accepted = tmp_path / "a.csv", 0
    for _ in range(1500):
        body = "".join(rng.choice(list('x10,,""\n\n\r ;.\t'), rng.integers(1, 16)))
        write(path, f"h,k\n{body}")
        rows = [
            row for row in csv.reader(io.StringIO(path.read_bytes().decode(), newline="")) if row
        ][1:]
        table, fault = None, f"{path}"
        try:
            table = read_table(path, numbers=[], texts=["h", "k"])
        except ValueError as error:
            fault = str(error)
        assert fault.startswith(f"{path}")
        assert "polars" not in fault
        if table is not None:
            assert list(map(list, table.rows())) == rows
            accepted += 1
    assert accepted > 50


def test_faults_are_found_behind_many_rows(tmp_path):
    rows = [f"{i},{i / 7!r},x{i}\n" for i in range(300_000)]
    path = write(tmp_path / "a.csv", "a,b,c\n" + "".join(rows) + "1,2\n")
    assert csv_files._CHUNK < path.stat().st_size
    with pytest.raises(ValueError, match="line 300002 must have 3 fields, as the first, got 2"):
        read_table(path, numbers=["a"])
    write(path, "a,b,c\n" + "".join(rows) + "1,2,3\nx,2,3\n")
    with pytest.raises(ValueError, match="line 300003, column 'a' must be a number, got 'x'"):
        read_table(path, numbers=["a"])
    table = read_table(path, numbers=["b"], texts=["c"])
    np.testing.assert_array_equal(table["b"][:-2], np.arange(300_000) / 7)
    assert table["c"].to_list() == [*(f"x{i}" for i in range(300_000)), "3", "3"]


@pytest.mark.parametrize("chunk", [1, 7, 20])
def test_chunks_of_any_size_see_the_same_lines(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(csv_files, "_CHUNK", chunk)
    text = '\ufeffa,b\r\n1,"x\r\n,"\r\n\r\n2,""""\r\n3,"\u00e9\u00e9\n\n"'
    assert read(tmp_path / "a.csv", text, ["a"], texts=["b"]) == {
        "a": [1, 2, 3],
        "b": ["x\r\n,", '"', "\u00e9\u00e9\n\n"],
    }
    with pytest.raises(ValueError, match="line 10 must have 2 fields, as the first, got 1"):
        read(tmp_path / "a.csv", text + "\n\n9\n", ["a"])


def test_a_row_without_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "_CHUNK", 100)
    monkeypatch.setattr(csv_files, "_LONGEST", 200)
    with pytest.raises(ValueError, match="line 3 must be a row, but it does not end"):
        read(tmp_path / "a.csv", 'a,b\n1,2\n3,"4\n' + "5,6\n" * 200)


def test_a_missing_cell_is_named(tmp_path):
    path = tmp_path / "a.csv"
    write(path, 'a,b,c\n1,"x\n",2\n\n2,,3\n?,y,NA\n')
    table = read_table(path, numbers=["a", "c"], texts=["b"])
    assert [place(path, row) for row in range(3)] == ["line 2", "line 5", "line 6"]
    for columns, message in {"cab": "line 5, column 'b'", "ca": "line 6, column 'c'"}.items():
        with pytest.raises(ValueError, match=f"{message} must not be missing, but is."):
            check_complete(path, table, list(columns))
    check_complete(path, table[:1], ["a", "b", "c"])


def test_files_that_are_none_or_of_another_kind_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.csv must be a file, but there is none\."):
        read_table(tmp_path / "a.csv", numbers=None)
    with pytest.raises(FileNotFoundError, match="must be a file, but there is none"):
        read_table(tmp_path / "a.parquet", numbers=None)
    with pytest.raises(ValueError, match=r"must end in \.csv, \.tsv, \.txt or \.parquet\."):
        read_table(tmp_path / "a.xlsx", numbers=None)


def test_without_polars_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(ValueError, match=r"needs polars to be read: pip install 'gru_jax\[data\]'"):
        read_table(tmp_path / "a.csv", numbers=None)


def test_parquet_holds_the_same_table(tmp_path, rng):
    frame = pl.DataFrame(
        {
            "a": rng.normal(size=5),
            "b": [1, 2, None, 4, 5],
            "c": [True, False, None, True, True],
            "d": [1.0, math.nan, None, 2.0, 3.0],
            "e": ["01", None, "", "x", "NA"],
            "f": [7, 8, 9, 10, 11],
            "g": pl.datetime_range(pl.date(2024, 1, 1), pl.date(2024, 1, 5), "1d", eager=True),
            "h": [None] * 5,
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    table = read_table(
        tmp_path / "a.parquet", numbers=["d", "a", "b", "c", "h"], texts=["e", "f", "g"]
    )
    np.testing.assert_array_equal(table["a"], frame["a"])
    assert table["b"].to_list() == [1, 2, None, 4, 5]
    assert table["c"].to_list() == [1, 0, None, 1, 1]
    assert table["d"].to_list() == [1, None, None, 2, 3]
    assert table["h"].to_list() == [None] * 5
    assert table["e"].to_list() == ["01", "", "", "x", "NA"]
    assert table["f"].to_list() == ["7", "8", "9", "10", "11"]
    assert table["g"][1].startswith("2024-01-02T00:00:00")
    with pytest.raises(ValueError, match="row 2, column 'd' must not be missing, but is"):
        check_complete(tmp_path / "a.parquet", table, ["a", "d", "b"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": ["x"]}, "column 'a' must be numbers, got String."),
        ({"a": [1.0, math.inf]}, "row 2, column 'a' must be finite and from -1e18 to 1e18, got"),
        ({"a": [-1e30]}, "row 1, column 'a' must be finite and from -1e18 to 1e18, got -1e"),
        ({"b": [1]}, "must have a column 'a', but its columns are b."),
        ({"a": pl.Series([], dtype=pl.Float64)}, "must have one row or more, but has none."),
        ({"a": [[1]]}, r"column 'a' must be numbers, got List(Int64)."),
    ],
)
def test_a_bad_parquet_file_is_one_clear_sentence(tmp_path, columns, message):
    pl.DataFrame(columns).write_parquet(tmp_path / "a.parquet")
    with blamed(tmp_path / "a.parquet", message):
        read_table(tmp_path / "a.parquet", numbers=["a"])


def test_every_truncated_parquet_file_is_refused(tmp_path, rng):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"a": rng.normal(size=9)}).write_parquet(path)
    whole = path.read_bytes()
    for size in range(0, len(whole) - 1, 29):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"must be a (whole table|Parquet file)") as error:
            read_table(path, numbers=["a"])
        assert "\n" not in str(error.value)
