"""The file readers: what they read, and that they refuse what is damaged or ambiguous, saying where."""

import pickle
import re
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from grus.datasets import Sequences, load_japanese_vowels, read_npz, read_sequences, read_table, read_ts

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # aeon's affair; imported here, so that no test below imports it first
    import aeon.datasets


def assert_same_sequences(got, expected):
    assert len(got) == len(expected)
    for mine, theirs in zip(got.x, expected.x, strict=True):
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    assert got.ids.tolist() == expected.ids.tolist()
    assert got.feature_names == expected.feature_names
    if expected.y is None:
        assert got.y is None
    else:
        assert got.y.dtype.kind == expected.y.dtype.kind
        assert got.y.tolist() == expected.y.tolist()


def test_the_comparison_above_fails_on_a_difference():
    def one(value):
        return Sequences([np.array([[value]])], None, np.arange(1), ("x0",), "")

    assert_same_sequences(one(1.0), one(1.0))
    with pytest.raises(AssertionError):
        assert_same_sequences(one(1.0), one(1.5))


# --------------------------------------------------------------------------------------------- round trips

# Text that no reader may take for a number or for a missing value.
WORDS = st.text(st.sampled_from("abXYZ é,;\"'\n\t"), max_size=5).map(lambda text: "w" + text)


@st.composite
def ragged(draw, dtypes=("float32", "float64")):
    """Random Sequences: any lengths, finite values, any kind of identifiers and targets."""
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    n, size, dtype = len(lengths), draw(st.integers(1, 3)), draw(st.sampled_from(dtypes))
    values = st.floats(allow_nan=False, allow_infinity=False, width=32 if dtype == "float32" else 64)
    x = [draw(arrays(dtype, (length, size), elements=values)) for length in lengths]
    names = draw(st.sampled_from([st.integers(-(2**40), 2**40), WORDS]))
    ids = draw(st.lists(names, min_size=n, max_size=n, unique=True))
    numbers = st.floats(allow_nan=False, allow_infinity=False).filter(lambda v: v != int(v))
    kind = draw(st.sampled_from([None, st.integers(-9, 9), numbers, WORDS]))
    y = None if kind is None else np.array(draw(st.lists(kind, min_size=n, max_size=n)))
    return Sequences(x, y, np.array(ids), tuple(f"f {k}" for k in range(size)), "data")


def long_form(data, rng):
    """One row per step, the rows of different sequences mixed, those of one in random order of time."""
    columns = {name: np.concatenate([case[:, k] for case in data.x]) for k, name in enumerate(data.feature_names)}
    table = pd.DataFrame({"id": np.repeat(data.ids, data.lengths), **columns})
    table["time"] = np.concatenate([np.arange(length) * 0.5 for length in data.lengths])
    if data.y is not None:
        table["target"] = np.repeat(data.y, data.lengths)
    # The reader keeps the order of first appearance, so each sequence's first row keeps its place before the rest.
    starts = np.cumsum(data.lengths) - data.lengths
    others = rng.permutation(np.setdiff1d(np.arange(len(table)), starts))
    return table.iloc[np.concatenate([starts, others])].reset_index(drop=True)


@given(data=ragged(dtypes=("float64",)), seed=st.integers(0, 99))
def test_csv_round_trip(data, seed):
    table = long_form(data, np.random.default_rng(seed))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        table.to_csv(path, index=False)
        target = None if data.y is None else "target"
        got = read_table(path, id_column="id", time_column="time", target_column=target)
    assert_same_sequences(got, data)
    assert got.name == "data"


@given(data=ragged(), seed=st.integers(0, 99))
def test_parquet_round_trip(data, seed):
    table = long_form(data, np.random.default_rng(seed))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.parquet"
        table.to_parquet(path)
        options = {} if data.y is None else {"target_column": "target"}
        got = read_sequences(path, id_column="id", time_column="time", **options)
    assert_same_sequences(got, data)


@given(data=ragged())
def test_npz_round_trip(data):
    fields = {"ids": data.ids, "feature_names": data.feature_names, "lengths": data.lengths}
    if data.y is not None:
        fields["y"] = data.y
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, x=np.concatenate(data.x), **fields)
        assert_same_sequences(read_sequences(path), data)


CLASSES = st.lists(st.sampled_from(["Up", "up", "10", "-1", "0.5"]), unique=True, min_size=2, max_size=6)


@given(data=ragged(dtypes=("float64",)), classes=CLASSES)
def test_ts_round_trip_through_aeons_writer(data, classes):
    # aeon refuses to write one class only, and its format holds no space or colon in a class.
    y, kind = data.y, "regression"
    if y is not None and y.dtype.kind != "f":
        y, kind = np.resize(classes, len(data)), "classification"
    if y is not None and len(set(y.tolist())) < 2:
        y = None
    with tempfile.TemporaryDirectory() as folder:
        aeon.datasets.save_to_ts_file([case.T for case in data.x], y, label_type=kind, path=folder)
        got = read_sequences(Path(folder) / "data.ts")
    if y is not None and {"10", "-1"} == set(y.tolist()):
        y = y.astype(np.int64)
    names = tuple(f"x{k}" for k in range(len(data.feature_names)))
    assert_same_sequences(got, Sequences(data.x, y, np.arange(len(data)), names, "data"))


# ------------------------------------------------------------------------------------------------- any path


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet", ".ts"])
def test_a_file_that_is_not_there_is_named(tmp_path, suffix):
    options = {"id_column": "id"} if suffix in (".csv", ".parquet") else {}
    with pytest.raises(FileNotFoundError, match=re.escape(f"there is none at {str(tmp_path / 'no') + suffix!r}")):
        read_sequences(tmp_path / f"no{suffix}", **options)


def test_a_folder_and_other_suffixes_and_types_are_refused(tmp_path):
    folder = tmp_path / "folder.npz"
    folder.mkdir()
    with pytest.raises(IsADirectoryError, match=r"path must be a file; .*folder\.npz' is a directory"):
        read_npz(folder)
    with pytest.raises(ValueError, match=r"one of '\.csv', '\.npz', '\.parquet', '\.ts'; got 'data\.xlsx'"):
        read_sequences("data.xlsx")
    with pytest.raises(ValueError, match=r"one of '\.ts'; got 'data', which ends in ''"):
        read_ts("data")
    with pytest.raises(TypeError, match="path must be a str or a path object; got int"):
        read_sequences(3)


def test_options_of_another_reader_are_refused_by_name(tmp_path):
    (tmp_path / "a.csv").write_text("id,x\n1,2\n")
    np.savez(tmp_path / "a.npz", x=np.ones((1, 2)))
    with pytest.raises(TypeError, match=r"options for a \.csv file are those of read_table: 'id_column'.*missing"):
        read_sequences(tmp_path / "a.csv")
    with pytest.raises(TypeError, match=r"those of read_npz: 'missing'; .*'id_column'"):
        read_sequences(tmp_path / "a.npz", id_column="id")


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError("not yours")

    for suffix in (".npz", ".parquet", ".ts"):
        (tmp_path / f"a{suffix}").write_bytes(b"")
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(pd, "read_parquet", refuse)
    for suffix in (".npz", ".parquet", ".ts"):
        options = {"id_column": "id"} if suffix == ".parquet" else {}
        with pytest.raises(PermissionError, match="not yours"):
            read_sequences(tmp_path / f"a{suffix}", **options)


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".parquet", ".ts"])
def test_random_bytes_are_an_error_that_names_the_file(tmp_path, suffix):
    rng = np.random.default_rng(0)
    path = tmp_path / f"junk{suffix}"
    options = {"id_column": "id"} if suffix in (".csv", ".parquet") else {}
    for size in (0, 1, 22, 300):
        path.write_bytes(rng.bytes(size))
        with pytest.raises(ValueError, match=re.escape(str(path))):
            read_sequences(path, **options)


def test_upper_case_suffix(tmp_path):
    (tmp_path / "A.CSV").write_text("id,v\n1,2.5\n")
    assert read_sequences(tmp_path / "A.CSV", id_column="id").x[0].tolist() == [[2.5]]


# ------------------------------------------------------------------------------------------------ libraries


def test_without_pandas_pyarrow_or_aeon_the_message_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("id,v\n1,2\n")
    (tmp_path / "a.ts").write_text(TOY_TS)
    pd.DataFrame({"id": [1], "v": [2.0]}).to_parquet(tmp_path / "a.parquet")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pandas", None)
        with pytest.raises(ImportError, match=re.escape('needs pandas: pip install "grus[app]"')):
            read_table(tmp_path / "a.csv", id_column="id")
    with monkeypatch.context() as patch:
        for module in ("pyarrow", "pyarrow.parquet", "fastparquet"):
            patch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=re.escape('needs pyarrow: pip install "grus[app]"')):
            read_table(tmp_path / "a.parquet", id_column="id")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "aeon.datasets", None)
        with pytest.raises(ImportError, match=re.escape('needs aeon: pip install "grus[ts]"')):
            read_ts(tmp_path / "a.ts")


# ------------------------------------------------------------------------------------------------------ npz


@pytest.fixture
def npz(tmp_path):
    """Save arrays, and read them back with options."""

    def save_and_read(options=None, **arrays):
        np.savez_compressed(tmp_path / "data.npz", **arrays)
        return read_npz(tmp_path / "data.npz", **(options or {}))

    return save_and_read


class TestNpz:
    def test_three_forms_of_x(self, npz):
        x = np.random.default_rng(1).normal(size=(4, 3, 2))
        assert np.array_equal(np.stack(npz(x=x).x), x)
        assert np.array_equal(np.stack(npz(x=x[:, :, 0]).x), x[:, :, :1])
        padded = npz(x=x, lengths=[1, 3, 2, 3])
        assert padded.lengths.tolist() == [1, 3, 2, 3]
        assert np.array_equal(padded.x[2], x[2, :2])
        ragged = npz(x=x.reshape(12, 2), lengths=[5, 7])
        assert np.array_equal(ragged.x[1], x.reshape(12, 2)[5:])

    def test_defaults_and_types(self, npz):
        data = npz(x=np.ones((2, 3, 2), dtype="int16"))
        assert (data.x[0].dtype, data.y, data.ids.tolist(), data.feature_names) == (
            np.float64,
            None,
            [0, 1],
            ("x0", "x1"),
        )
        assert npz(x=np.ones((2, 3), dtype="float32")).x[0].dtype == np.float32
        assert npz(x=np.ones((2, 3), dtype="float16")).x[0].dtype == np.float64

    @pytest.mark.parametrize(
        ("arrays", "error", "text"),
        [
            ({"y": np.arange(2)}, ValueError, "must have an array 'x'; it has 'y'"),
            ({"x": np.ones((2, 3)), "length": [1]}, ValueError, "got 'length', too. Did you mean 'lengths'?"),
            ({"x": np.ones(3)}, ValueError, r"x must have shape \(N, T, I\) .* got \(3,\) without lengths"),
            (
                {"x": np.ones((2, 0, 3))},
                ValueError,
                r"at least one sequence, step and feature; got \(2, 0, 3\)",
            ),
            (
                {"x": np.ones((6, 2)), "lengths": [2, 3]},
                ValueError,
                r"x must have shape \(5, I\), because the 2 lengths sum to that; got \(6, 2\)",
            ),
            ({"x": np.ones(5), "lengths": [2, 3]}, ValueError, r"shape \(5, I\), .* got \(5,\)"),
            (
                {"x": np.ones((2, 3, 1)), "lengths": [2, 4]},
                ValueError,
                r"shape \(2, T, I\) with T at least 4 to fit lengths; got \(2, 3, 1\)",
            ),
            (
                {"x": np.ones((6, 2)), "lengths": [6, 0]},
                ValueError,
                "each length at least 1; the smallest is 0",
            ),
            (
                {"x": np.ones((6, 2)), "lengths": [[6]]},
                ValueError,
                r"shape \(N,\), with N .* got \(1, 1\)",
            ),
            (
                {"x": np.ones((6, 2)), "lengths": [6.0]},
                TypeError,
                "lengths must be integers; got dtype float64",
            ),
            ({"x": np.array([["a"]])}, TypeError, "x must be an array of real numbers; got dtype <U1"),
            ({"x": np.ones((1, 2), complex)}, TypeError, "real numbers; got dtype complex128"),
            ({"x": np.ones((2, 3)), "y": [1]}, ValueError, r"y must have shape \(2,\).* got \(1,\)"),
            (
                {"x": np.ones((2, 3)), "ids": [1, 2, 3]},
                ValueError,
                r"ids must have shape \(2,\).* got \(3,\)",
            ),
            (
                {"x": np.ones((2, 3)), "feature_names": ["a", "b"]},
                ValueError,
                r"feature_names must have shape \(1,\).* got \(2,\)",
            ),
        ],
    )
    def test_wrong_arrays(self, npz, arrays, error, text):
        with pytest.raises(error, match=text) as caught:
            npz(**arrays)
        assert "data.npz" in str(caught.value)

    def test_objects_are_never_unpickled(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (pytest.fail, ("the file was unpickled",))

        hidden = np.empty(1, dtype=object)
        hidden[0] = Bomb()
        np.savez(tmp_path / "a.npz", x=hidden)
        with pytest.raises(TypeError, match=r"x must be an array of plain numbers .* never unpickled"):
            read_npz(tmp_path / "a.npz")
        (tmp_path / "b.npz").write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(ValueError, match=r"b\.npz': must be a whole \.npz file \(a zip of arrays\)"):
            read_npz(tmp_path / "b.npz")

    def test_a_lone_npy_is_told_apart(self, tmp_path):
        np.save(tmp_path / "a.npy", np.ones(3))
        (tmp_path / "a.npy").rename(tmp_path / "a.npz")
        with pytest.raises(ValueError, match="its content is something else, or cut off"):
            read_npz(tmp_path / "a.npz")

    def test_no_cut_and_no_wrong_byte_reads_as_other_data(self, tmp_path):
        path = tmp_path / "a.npz"
        np.savez_compressed(
            path, x=np.arange(24.0).reshape(12, 2), lengths=[3, 4, 5], y=[0, 1, 0], ids=["a", "b", "c"]
        )
        good, data = path.read_bytes(), read_npz(path)
        for end in range(len(good)):
            path.write_bytes(good[:end])
            with pytest.raises(ValueError, match=r"a\.npz': must be a whole \.npz file"):
                read_npz(path)
        refused = []
        for place in range(len(good)):
            path.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
            try:
                assert_same_sequences(read_npz(path), data)  # a date, say
            except (ValueError, TypeError) as error:
                refused.append(str(error))
        assert len(refused) > len(good) / 2
        assert all("a.npz" in message for message in refused)


# ------------------------------------------------------------------------------------------------ npz and ts

GAPS = np.array([[np.nan, 1.0], [2.0, np.nan], [np.nan, np.nan], [5.0, 6.0]])


class TestMissing:
    def test_error_counts_and_places(self, npz):
        with pytest.raises(ValueError, match=r"4 of 8 .* in 'a \(2\)', 'b \(2\)'; the first is at step 0"):
            npz(x=GAPS, lengths=[1, 3], feature_names=["a", "b"])
        with pytest.raises(ValueError, match=r"3 of 6 .* step 1 of sequence 'p'\. .*missing='forward'"):
            npz(x=GAPS[[3, 1, 2]], lengths=[2, 1], ids=["p", "q"])

    def test_zero_and_forward_stay_inside_a_sequence(self, npz):
        zero = npz({"missing": "zero"}, x=GAPS, lengths=[2, 2])
        assert np.array_equal(np.concatenate(zero.x), np.nan_to_num(GAPS))
        forward = npz({"missing": "forward"}, x=GAPS, lengths=[2, 2])
        assert np.concatenate(forward.x).tolist() == [[0.0, 1.0], [2.0, 1.0], [0.0, 0.0], [5.0, 6.0]]
        one = npz({"missing": "forward"}, x=GAPS[None].astype("float32"))
        assert one.x[0].tolist() == [[0.0, 1.0], [2.0, 1.0], [2.0, 1.0], [5.0, 6.0]]
        assert one.x[0].dtype == np.float32

    def test_keep_leaves_them(self, npz):
        np.testing.assert_array_equal(np.concatenate(npz({"missing": "keep"}, x=GAPS, lengths=[1, 3]).x), GAPS)

    def test_other_choices(self, npz):
        with pytest.raises(ValueError, match=r"'forward', 'keep'; got 'mean'. .* leak the test set"):
            npz({"missing": "mean"}, x=GAPS, lengths=[4])

    def test_question_marks_in_ts(self, tmp_path):
        path = tmp_path / "a.ts"
        path.write_text(TOY_TS.replace("1,2,3:", "?,2,NaN:"))
        with pytest.raises(ValueError, match=r"2 of 10 .* missing, in 'x0 \(2\)'; .* sequence '0'"):
            read_ts(path)
        assert read_ts(path, missing="forward").x[0][:, 0].tolist() == [0.0, 2.0, 2.0]


# --------------------------------------------------------------------------------------------------- tables


@pytest.fixture
def csv(tmp_path):
    """Write a csv, and read it with options; ``id_column`` is "id" unless told."""

    def write_and_read(text, **options):
        (tmp_path / "data.csv").write_bytes(text.encode() if isinstance(text, str) else text)
        return read_table(tmp_path / "data.csv", **({"id_column": "id"} | options))

    return write_and_read


TABLE = "id,t,v,w,label\nb,2,4,5.5,up\na,1,1,2.5,down\nb,1,3,4.5,up\n"


class TestTable:
    def test_order_of_first_appearance_and_of_time(self, csv):
        data = csv(TABLE, time_column="t", target_column="label")
        assert data.ids.tolist() == ["b", "a"]
        assert [case.tolist() for case in data.x] == [[[3.0, 4.5], [4.0, 5.5]], [[1.0, 2.5]]]
        assert data.y.tolist() == ["up", "down"]
        assert data.feature_names == ("v", "w")
        assert data.x[0].dtype == np.float64

    def test_without_time_the_order_is_the_files(self, csv):
        data = csv(TABLE, target_column="label")
        assert data.feature_names == ("t", "v", "w")
        assert data.x[0].tolist() == [[2.0, 4.0, 5.5], [1.0, 3.0, 4.5]]

    def test_named_features_in_their_order(self, csv):
        data = csv(TABLE, time_column="t", features=["w", "t"])
        assert data.feature_names == ("w", "t")
        assert data.x[0].tolist() == [[4.5, 1.0], [5.5, 2.0]]
        assert data.y is None

    def test_a_sequence_of_one_row(self, csv):
        assert csv("id,v\n5,1.5\n").x[0].tolist() == [[1.5]]

    def test_byte_order_mark_and_crlf(self, csv):
        assert csv("\ufeffid,v\r\n1,2\r\n").ids.tolist() == [1]

    @pytest.mark.parametrize(
        ("written", "ids"),
        [
            (["7", "-8", "0"], [7, -8, 0]),
            (["007", "7", "08"], ["007", "7", "08"]),
            (["1.0", "1", "2"], ["1.0", "1", "2"]),
            (["1" * 25, "2", "3"], ["1" * 25, "2", "3"]),
        ],
    )
    def test_identifiers_are_numbers_only_where_nothing_is_lost(self, csv, written, ids):
        assert csv("id,v\n" + "".join(f"{name},1\n" for name in written)).ids.tolist() == ids

    @pytest.mark.parametrize(
        ("written", "kind", "y"),
        [
            (["3", "-1"], "i", [3, -1]),
            (["3", "0.5"], "f", [3.0, 0.5]),
            (["1e3", "-inf"], "f", [1000.0, -np.inf]),
            (["01", "1"], "U", ["01", "1"]),
            (["1" * 20, "2"], "U", ["1" * 20, "2"]),
            (["1_0", "10"], "U", ["1_0", "10"]),
            (["True", "False"], "U", ["True", "False"]),
        ],
    )
    def test_targets_of_a_csv(self, csv, written, kind, y):
        data = csv("id,v,y\n" + "".join(f"{k},1,{text}\n" for k, text in enumerate(written)), target_column="y")
        assert data.y.dtype.kind == kind
        assert data.y.tolist() == y

    @pytest.mark.parametrize(
        "times",
        [["10", "9"], ["2024-01-10", "2024-01-09"], ["2024-01-01T10:00:00Z", "2024-01-01T09:59:59.5Z"]],
    )
    def test_times_are_ordered_by_value(self, csv, times):
        data = csv(f"id,t,v\n1,{times[0]},2\n1,{times[1]},1\n", time_column="t")
        assert data.x[0].tolist() == [[1.0], [2.0]]

    @pytest.mark.parametrize(
        ("text", "options", "error"),
        [
            ("", {}, "must have a header line and rows of data; the file is empty"),
            ("\n\n", {}, "must be a comma-separated table in UTF-8 with a header line; pandas says"),
            ("id,v\n", {}, "must have at least one row of data; it has only 2 column names"),
            ("id,v\n1,2\n1,2,3\n", {}, r"comma-separated table .* pandas says: .*line 3, saw 3"),
            ("id,v\n1,2,3\n1,2,3\n", {}, r"rows have more values than the header has names \(2\)"),
            (b"id,v\n\xff,1\n", {}, "in UTF-8 with a header line; pandas says"),
            (
                "Id,v\n1,2\n",
                {},
                r"id_column .* no 'id'.* 'Id', 'v'\. Did you mean 'Id'\?",
            ),
            (
                "id;v\n1;2\n",
                {},
                r"no 'id'\. The columns are 'id;v'\. (Did you mean|Are they separated by commas)",
            ),
            ("q\n1\n", {}, r"no 'id'\. The columns are 'q'\. Are they separated by commas\?"),
            (
                TABLE,
                {"target_column": "lable"},
                r"target_column must name a column; there is no 'lable'.*Did you mean 'label'\?",
            ),
            (TABLE, {"features": ["v", "zz"]}, r"features must name a column; there is no 'zz'"),
            (
                TABLE,
                {},
                r"feature column 'label' must be numeric; it holds 'up'.*features=\['t', 'v', 'w'\]",
            ),
            (
                ",id,v\n0,1,2\n1,1,3\n",
                {},
                r"each column must have a name; column 1 has none, .* features=\['v'\]",
            ),
            ("id,v\n1,2\n1,2x\n1,3\n", {}, "feature column 'v' must be numeric; it holds '2x'"),
            ("id,y\n1,2\n", {"target_column": "y"}, "at least one feature column besides 'id', 'y'"),
            (
                "id,v\n1,2\n,3\n",
                {},
                "'id' must have a value .* missing in 1 of 2, first in data row 2",
            ),
            (
                "id,v,y\n1,2,a\n2,2,\n3,1,NA\n",
                {"target_column": "y"},
                "'y' must .* 2 of 3, first in data row 2",
            ),
            (
                "id,v,t\n1,2,1\n1,2,\n",
                {"time_column": "t"},
                "'t' must .* missing in 1 of 2, first in data row 2",
            ),
            (
                "id,v,y\n7,2,a\n8,1,b\n7,3,c\n",
                {"target_column": "y"},
                "target column 'y' must be the same .* sequence '7' has 'a' and, in data row 3, 'c'",
            ),
            (
                "id,v,t\n7,2,1.5\n8,1,1.5\n7,3,1.5\n",
                {"time_column": "t"},
                "must have each time once; sequence '7' has 't' '1.5' in data rows 1 and 3",
            ),
            (
                "id,v,t\n7,2,noon\n",
                {"time_column": "t"},
                "time column 't' must hold numbers or ISO 8601 dates",
            ),
            (
                "id,v,w\n1,2,\n2,,1\n2,,1\n",
                {},
                r"3 of 6 .* missing, in 'v \(2\)', 'w \(1\)'; .* step 0 of sequence '1', data row 1\.",
            ),
        ],
    )
    def test_files_that_are_refused(self, csv, text, options, error):
        with pytest.raises(ValueError, match=error) as caught:
            csv(text, **options)
        assert "data.csv" in str(caught.value)

    def test_the_first_missing_row_is_the_files_first(self, csv):
        # Sequence a comes first, but its gap lies further down than those of b.
        with pytest.raises(ValueError, match="step 1 of sequence 'b', data row 2"):
            csv("id,t,v\na,1,1\nb,2,\na,2,\nb,1,\n", time_column="t")

    def test_missing_choices_in_order_of_time(self, csv):
        text = "id,t,v\n1,3,\n1,1,\n2,1,\n1,2,8\n"
        assert [case.ravel().tolist() for case in csv(text, time_column="t", missing="zero").x] == [
            [0, 8, 0],
            [0],
        ]
        assert [case.ravel().tolist() for case in csv(text, time_column="t", missing="forward").x] == [
            [0, 8, 8],
            [0],
        ]

    def test_a_column_without_any_value(self, csv):
        assert csv("id,v\n1,\n2,\n", missing="zero").x[1].tolist() == [[0.0]]

    @pytest.mark.parametrize(
        ("options", "error", "text"),
        [
            ({"id_column": None}, TypeError, "id_column must be a column name, a str; got None"),
            ({"time_column": 3}, TypeError, "time_column must be a column name, a str or None; got 3"),
            (
                {"time_column": "id"},
                ValueError,
                "target_column must differ; got 'id', 'id'",
            ),
            ({"features": "v"}, TypeError, "features must be a list of column names; got 'v'"),
            ({"features": [1]}, TypeError, r"features must be a list of column names; got \[1\]"),
            ({"features": []}, ValueError, r"features must name at least one column, none twice; got \[\]"),
            ({"features": ["v", "v"]}, ValueError, "none twice"),
            ({"features": ["id"]}, ValueError, "features must not hold the id_column 'id'"),
            (
                {"target_column": "label", "features": ["label"]},
                ValueError,
                "not hold the target_column 'label'",
            ),
            (
                {"missing": "drop"},
                ValueError,
                "missing must be one of 'error', 'zero', 'forward', 'keep'; got 'drop'",
            ),
        ],
    )
    def test_bad_arguments(self, csv, options, error, text):
        with pytest.raises(error, match=text):
            csv(TABLE, **options)

    def test_a_csv_cut_inside_a_row_is_refused(self, csv):
        for end in range(TABLE.index("\nb,1") + 2, len(TABLE) - len("up\n")):
            with pytest.raises(ValueError, match=r"data\.csv"):
                csv(TABLE[:end], target_column="label", time_column="t")


class TestParquet:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "data.parquet"

    def test_types_are_those_of_the_file(self, path):
        pd.DataFrame(
            {
                "id": pd.Categorical(["p", "q", "p"]),
                "t": pd.to_datetime(["2024-01-02", "2024-01-01", "2024-01-01"]),
                "v": np.array([1.5, 2.5, 3.5], dtype="float32"),
                "y": [True, False, True],
            }
        ).to_parquet(path)
        data = read_table(path, id_column="id", time_column="t", target_column="y")
        assert data.ids.tolist() == ["p", "q"]
        assert data.y.tolist() == [True, False]
        assert data.x[0].dtype == np.float32
        assert data.x[0].tolist() == [[3.5], [1.5]]

    def test_nullable_columns_and_identifiers_in_the_index(self, path):
        table = pd.DataFrame({"v": pd.array([1, None, 3], "Int64"), "b": [True, False, True]})
        table.index = pd.Index([4, 4, 5], name="id")
        table.to_parquet(path)
        data = read_table(path, id_column="id", missing="zero")
        assert [case.tolist() for case in data.x] == [[[1.0, 1.0], [0.0, 0.0]], [[3.0, 1.0]]]
        assert data.ids.tolist() == [4, 5]

    def test_repeated_columns_are_refused(self, path):
        table = pyarrow.table([[1, 1], [2.0, 3.0], [4.0, 5.0]], names=["id", "v", "v"])
        pyarrow.parquet.write_table(table, path)
        with pytest.raises(ValueError, match=r"can't be read as \.parquet\..*Multiple matches for .*\(v\)"):
            read_table(path, id_column="id")

    def test_texts_and_lists_are_no_features(self, path):
        pd.DataFrame({"id": [1, 2], "v": [[1.0, 2.0], [3.0]]}).to_parquet(path)
        with pytest.raises(ValueError, match=r"feature column 'v' must be numeric; it holds '\[1. 2.\]'"):
            read_table(path, id_column="id")

    def test_every_cut_is_refused(self, path):
        pd.DataFrame({"id": [1, 1, 2], "v": [1.0, 2.0, 3.0]}).to_parquet(path)
        good = path.read_bytes()
        for end in range(0, len(good), 7):
            path.write_bytes(good[:end])
            with pytest.raises(ValueError, match=r"data\.parquet': can't be read as \.parquet"):
                read_table(path, id_column="id")

    def test_an_empty_table(self, path):
        pd.DataFrame({"id": [], "v": []}).to_parquet(path)
        with pytest.raises(ValueError, match="at least one row of data; it has only 2 column names"):
            read_table(path, id_column="id")


# ------------------------------------------------------------------------------------------------------- ts

TOY_TS = """#A comment, then the header.
@problemName Toy
@timeStamps false
@univariate false
@dimensions 2
@equalLength false
@classLabel true Up down
@data
1,2,3:4,5,6:Up
7,8:9,10:down
"""


@pytest.fixture
def ts(tmp_path):
    def write_and_read(text, **options):
        (tmp_path / "data.ts").write_bytes(text.encode() if isinstance(text, str) else text)
        return read_ts(tmp_path / "data.ts", **options)

    return write_and_read


class TestTs:
    def test_time_comes_first_and_classes_keep_their_spelling(self, ts):
        data = ts(TOY_TS)
        assert [case.tolist() for case in data.x] == [[[1, 4], [2, 5], [3, 6]], [[7, 9], [8, 10]]]
        assert data.y.tolist() == ["Up", "down"]
        assert (data.name, data.ids.tolist(), data.feature_names) == ("Toy", [0, 1], ("x0", "x1"))

    def test_integer_classes_numbers_and_no_targets(self, ts):
        integers = ts(TOY_TS.replace("Up", "10").replace("down", "-1"))
        assert (integers.y.dtype, integers.y.tolist()) == (np.int64, [10, -1])
        numbers = ts(
            TOY_TS.replace("@classLabel true Up down", "@targetLabel true")
            .replace("Up", "1")
            .replace("down", ".5")
        )
        assert (numbers.y.dtype, numbers.y.tolist()) == (np.float64, [1.0, 0.5])
        nothing = ts("@dimensions 1\n@univariate true\n@classLabel false\n@data\n1,2\n3,4\n")
        assert nothing.y is None
        assert nothing.x[1].tolist() == [[3.0], [4.0]]

    def test_the_files_that_aeon_carries(self):
        folder = Path(aeon.datasets.__file__).parent / "data"
        motions = read_ts(folder / "BasicMotions" / "BasicMotions_TRAIN.ts")
        assert (len(motions), motions.x[0].shape) == (40, (100, 6))
        assert set(motions.y) == {"Standing", "Running", "Walking", "Badminton"}
        covid = read_ts(folder / "Covid3Month" / "Covid3Month_TRAIN.ts")
        assert (len(covid), covid.y.dtype) == (140, np.float64)
        gesture = read_ts(folder / "PickupGestureWiimoteZ" / "PickupGestureWiimoteZ_TRAIN.ts")
        assert (gesture.lengths.min(), gesture.lengths.max(), gesture.y.max()) == (29, 361, 10)

    @pytest.mark.parametrize(
        ("old", "new", "error"),
        [
            ("@data", "@date", r"must have a line '@data'; there is none"),
            (
                "@timeStamps false",
                "@timeStamps true",
                r"'@timestamps false': .* aeon loses the signs",
            ),
            ("@dimensions 2", "@dimensions 3", r"line 9 must have 3 dimensions and a label; it has 3 parts"),
            (
                "@dimensions 2",
                "@dimensions two",
                r"a number of at least 1; got 'two'",
            ),
            (
                "@classLabel true Up down",
                "@classLabel true Up",
                r"line 10 must be one of .* 'Up'; got 'down'",
            ),
            (
                "@classLabel true Up down",
                "#",
                r"label in line 9 must be empty, because the header has neither",
            ),
            ("@classLabel true Up down", "@targetLabel true", r"label in line 9 must be a number; got 'Up'"),
            ("7,8:9,10", "7,8:9", r"aeon says: .*Channel 1 in case 2"),
            (
                "7,8:9,10",
                "7,8:9,1o",
                r"can't be read as \.ts; aeon says: could not convert string to float: '1o'",
            ),
            ("7,8:9,10", "7,8", r"line 10 must have 2 dimensions and a label; it has 2 parts"),
            ("7,8:9,10:down", "", r"line 10 must have 2 dimensions and a label; it is empty"),
            ("@problemName Toy", "@problemName", r"aeon says"),
            ("1,2,3:4,5,6:Up\n7,8:9,10:down\n", "", r"at least one line after @data; it has none"),
        ],
    )
    def test_files_that_are_refused(self, ts, old, new, error):
        assert old in TOY_TS
        with pytest.raises(ValueError, match=error) as caught:
            ts(TOY_TS.replace(old, new))
        assert "data.ts" in str(caught.value)

    def test_a_target_that_is_not_finite_and_bytes_that_are_not_text(self, ts):
        with pytest.raises(ValueError, match="line 9 must be a finite number; got 'nan'"):
            ts(TOY_TS.replace("@classLabel true Up down", "@targetLabel true").replace("Up", "nan"))
        with pytest.raises(ValueError, match=r"must be \.ts text in UTF-8"):
            ts(TOY_TS.encode().replace(b"comment", b"\xff\xfe"))

    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    def test_a_cut_anywhere_is_refused_or_leaves_whole_lines(self, ts, newline):
        text = TOY_TS.replace("\n", newline)
        whole = ts(text)
        read, refused = {}, []
        for end in range(len(text)):
            try:
                got = ts(text[:end])
            except ValueError as error:
                refused.append(str(error))
                continue
            read[end] = len(got)
            assert all(np.array_equal(mine, theirs) for mine, theirs in zip(got.x, whole.x, strict=False))
            assert got.y.tolist() == whole.y[: len(got)].tolist()
        assert all("data.ts" in message for message in refused)
        # Only the ends of lines: with nothing, a part or all of the line break.
        first, last = text.index(newline + "7"), len(text) - len(newline)
        breaks = range(len(newline) + 1)
        assert read == {first + k: 1 for k in breaks} | {last + k: 2 for k in breaks if last + k < len(text)}

    def test_cuts_of_a_real_file(self, ts):
        folder = Path(aeon.datasets.__file__).parent / "data" / "JapaneseVowels"
        content = (folder / "JapaneseVowels_TRAIN.ts").read_bytes()
        train = load_japanese_vowels().train
        assert_same_sequences(
            ts(content), Sequences(train.x, train.y, train.ids - 1, tuple(f"x{k}" for k in range(12)), "")
        )
        start = content.index(b"@data")
        ends = [*range(0, start, 101), *range(start, start + 3000, 37), *range(start, len(content), 9973)]
        for end in ends:
            with pytest.raises(ValueError, match=r"data\.ts"):
                ts(content[:end])
        third = [place for place, byte in enumerate(content[start:], start) if byte == ord("\n")][3]
        assert np.array_equal(ts(content[:third]).x[-1], train.x[2])
