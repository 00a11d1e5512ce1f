"""The container, the embedded data and the string task."""

import inspect
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from grus import datasets
from grus.datasets import Sequences, load_japanese_vowels, make_dummy_strings

TEST_COUNTS = [31, 35, 88, 44, 29, 24, 40, 50, 29]  # of speakers 1 to 9, as the source's description says


def two_sequences(**changes):
    fields = {
        "x": [np.full((3, 2), 1.5), np.full((5, 2), 2.5)],
        "y": np.array([7, 8]),
        "ids": np.array(["a", "b"]),
        "feature_names": ("u", "v"),
        "name": "toy",
    }
    return Sequences(**(fields | changes))


class TestSequences:
    def test_fields_and_sizes(self):
        data = two_sequences()
        assert len(data) == 2
        assert data.lengths.tolist() == [3, 5]
        assert data.lengths.dtype == np.int64
        assert repr(data) == "Sequences('toy': 2 sequences, lengths 3 to 5, 2 features, float64, 2 classes)"

    @pytest.mark.parametrize(
        ("y", "summary"),
        [
            (None, "no targets"),
            (np.array([0.25, -3.0]), "targets -3 to 0.25"),
            (np.array(["x", "x"]), "1 class"),
        ],
    )
    def test_repr_tells_the_kind_of_target(self, y, summary):
        assert repr(two_sequences(y=y)).endswith(f"float64, {summary})")

    def test_it_is_frozen_and_compares_by_identity(self):
        data = two_sequences()
        with pytest.raises(AttributeError, match="cannot assign"):
            data.name = "other"
        assert data == data
        assert data != two_sequences()

    @pytest.mark.parametrize(
        ("changes", "error", "text"),
        [
            (
                {"x": np.zeros((2, 3, 2))},
                TypeError,
                r"x must be a list of arrays .* got ndarray",
            ),
            ({"x": []}, ValueError, "x must hold at least one sequence; got an empty list"),
            ({"x": [np.zeros((3, 2)), [[1.0, 2.0]]]}, TypeError, r"x\[1\] must be an array .* got list"),
            (
                {"x": [np.zeros((3, 2)), np.zeros((3, 4))]},
                ValueError,
                r"x\[1\] must have shape \(T_i, 2\) .* 2 feature_names; got \(3, 4\)",
            ),
            ({"x": [np.zeros((3, 2)), np.zeros((0, 2))]}, ValueError, r"T_i at least 1, .* got \(0, 2\)"),
            ({"x": [np.zeros((3, 2)), np.zeros(2)]}, ValueError, r"x\[1\] must have shape .* got \(2,\)"),
            ({"x": [np.zeros((3, 2), int)] * 2}, TypeError, r"x\[0\] must be float32 or float64; got int64"),
            (
                {"x": [np.zeros((3, 2)), np.zeros((3, 2), "float32")]},
                TypeError,
                r"x\[1\] must be float64 like x\[0\]; got float32",
            ),
            ({"feature_names": ["u", "v"]}, TypeError, "feature_names must be a tuple of str; got list"),
            ({"y": [7, 8]}, TypeError, r"y must be an array of shape \(2,\); got list"),
            ({"y": np.eye(2)}, ValueError, r"y must have shape \(2,\): .* 2 sequences; got \(2, 2\)"),
            ({"y": np.array([0.5, np.nan])}, ValueError, r"1 of 2 are NaN, first y\[1\]"),
            ({"ids": np.arange(3)}, ValueError, r"ids must have shape \(2,\): .* got \(3,\)"),
        ],
    )
    def test_what_disagrees_is_refused(self, changes, error, text):
        with pytest.raises(error, match=text):
            two_sequences(**changes)


class TestJapaneseVowels:
    def test_sizes_speakers_and_order(self):
        train, test = load_japanese_vowels()
        assert (len(train), len(test)) == (270, 370)
        assert np.array_equal(train.y, np.repeat(np.arange(1, 10), 30))
        assert np.array_equal(test.y, np.repeat(np.arange(1, 10), TEST_COUNTS))
        assert train.y.dtype == np.int64
        lengths = np.concatenate([train.lengths, test.lengths])
        assert (lengths.min(), lengths.max(), lengths.sum()) == (7, 29, 9961)
        assert {case.shape[1] for case in train.x + test.x} == {12}
        assert (train.ids[0], train.ids[-1], test.ids[-1]) == (1, 270, 370)
        assert train.feature_names[0] == "cepstrum_1"

    def test_first_values_are_those_of_the_source(self):
        train, _ = load_japanese_vowels()
        assert train.x[0][:3, 0].tolist() == [1.860936, 1.891651, 1.939205]
        assert train.x[0][0, :3].tolist() == [1.860936, -0.207383, 0.261557]

    def test_every_value_equals_what_aeon_parses(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # aeon's affair
            import aeon.datasets
        folder = Path(aeon.datasets.__file__).parent / "data" / "JapaneseVowels"
        for ours, part in zip(load_japanese_vowels(), ("TRAIN", "TEST"), strict=True):
            x, y = aeon.datasets.load_from_ts_file(str(folder / f"JapaneseVowels_{part}.ts"))
            assert len(ours) == len(x)
            for mine, theirs in zip(ours.x, x, strict=True):
                assert np.array_equal(mine, theirs.T)
            assert ours.y.astype(str).tolist() == y.tolist()

    def test_two_loads_share_nothing(self):
        one, other = load_japanese_vowels().train, load_japanese_vowels().train
        before = other.x[0][0, 0]
        one.x[0][0, 0] = 99.0
        assert other.x[0][0, 0] == before


class TestDummyStrings:
    def test_shapes_letters_and_rule(self):
        strings, labels = make_dummy_strings(seed=1)
        assert strings.shape == (480, 12)
        assert strings.dtype == np.dtype("<U1")
        assert labels.dtype == np.int64
        assert set(strings.ravel()) == set("ATGC")
        assert [int(row[0] != row[-1]) for row in strings] == labels.tolist()

    def test_classes_have_the_shares_of_chance(self):
        _, labels = make_dummy_strings(n=20_000, seed=3)
        assert abs(labels.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 20_000)

    def test_seed_repeats_and_generator_goes_on(self):
        same = [make_dummy_strings(n=50, seed=4)[0] for _ in range(2)]
        assert np.array_equal(*same)
        rng = np.random.default_rng(4)
        first, second = (make_dummy_strings(n=50, seed=rng)[0] for _ in range(2))
        assert np.array_equal(first, same[0])
        assert not np.array_equal(first, second)

    def test_the_global_random_state_is_left_alone(self):
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        make_dummy_strings(seed=None)
        assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002

    @pytest.mark.parametrize(
        ("arguments", "error", "text"),
        [
            ({"n": 0}, ValueError, "n must be at least 1; got 0"),
            ({"n": 2.0}, TypeError, "n must be an int; got 2.0, a float"),
            ({"n": True}, TypeError, "n must be an int; got True, a bool"),
            ({"length": 1}, ValueError, "length must be at least 2; got 1"),
            ({"alphabet": "A"}, ValueError, "alphabet must have at least 2 letters, all different; got 'A'"),
            ({"alphabet": "ABA"}, ValueError, "all different; got 'ABA'"),
            ({"alphabet": ["A", "B"]}, TypeError, "alphabet must be a str of different letters; got a list"),
            ({"seed": -1}, ValueError, "seed must be at least 0; got -1"),
            ({"seed": "1"}, TypeError, r"seed must be an int, a numpy.random.Generator or None; got str"),
        ],
    )
    def test_bad_arguments(self, arguments, error, text):
        with pytest.raises(error, match=text):
            make_dummy_strings(**arguments)


def test_importing_needs_neither_pandas_nor_aeon():
    code = "import sys, grus.datasets; print(sorted({'pandas', 'pyarrow', 'aeon'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [name for name in datasets.__all__ if name != "JapaneseVowels"])
def test_docstring_lists_the_parameters_of_the_signature(name):
    function = getattr(datasets, name)
    section = inspect.getdoc(function).partition("Parameters\n")[2].partition("\n\nR")[0]
    documented = re.findall(r"^(\*{0,2}\w+)(?: :|$)", section, re.MULTILINE)
    given = inspect.signature(function).parameters.values()
    assert documented == [f"**{p.name}" if p.kind is p.VAR_KEYWORD else p.name for p in given]
