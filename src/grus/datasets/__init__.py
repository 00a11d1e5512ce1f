"""Sequence data: the container, the embedded sets and the file readers."""

from grus.datasets._dummy_strings import make_dummy_strings
from grus.datasets._japanese_vowels import JapaneseVowels, load_japanese_vowels
from grus.datasets._read_npz import read_npz
from grus.datasets._read_sequences import read_sequences
from grus.datasets._read_table import read_table
from grus.datasets._read_ts import read_ts
from grus.datasets._sequences import Sequences

__all__ = [
    "JapaneseVowels",
    "Sequences",
    "load_japanese_vowels",
    "make_dummy_strings",
    "read_npz",
    "read_sequences",
    "read_table",
    "read_ts",
]
