"""The Japanese Vowels data, embedded. Origin, licence and storage: ``data/README.md``."""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from grus.datasets._sequences import AnyArray, FloatArray, Sequences

_FEATURES = tuple(f"cepstrum_{k}" for k in range(1, 13))


class JapaneseVowels(NamedTuple):
    """The official split: 270 utterances to train on and 370 to test on."""

    train: Sequences
    test: Sequences


def load_japanese_vowels() -> JapaneseVowels:
    """Load Japanese Vowels: which of nine men says /ae/?

    640 utterances of 7 to 29 frames; a frame is 12 LPC cepstrum coefficients of 25.6 ms of sound, and
    frames are 6.4 ms apart. The data lies inside the package: nothing is downloaded.

    Returns
    -------
    train, test : Sequences
        270 and 370 sequences of shape (T_i, 12), float64, in the order of the source.
        ``y`` is the speaker, 1 to 9, int64; ``ids`` is the utterance's place in its file, from 1.

    References
    ----------
    .. [1] M. Kudo, J. Toyama and M. Shimbo (1999), "Multidimensional curve classification using
       passing-through regions", Pattern Recognition Letters 20(11-13), 1103-1111.
    .. [2] UCI Machine Learning Repository, Japanese Vowels, https://doi.org/10.24432/C5NS47

    Examples
    --------
    >>> from grus.datasets import load_japanese_vowels
    >>> train, test = load_japanese_vowels()
    >>> train
    Sequences('JapaneseVowels train': 270 sequences, lengths 7 to 26, 12 features, float64, 9 classes)
    >>> len(test), test.x[0].shape, test.y[:3]
    (370, (19, 12), array([1, 1, 1]))
    """
    source = files("grus.datasets") / "data" / "japanese_vowels.npz"
    with source.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        frames = join_byte_planes(arrays["frames"]) / 1e6
        lengths, speakers = arrays["lengths"].astype(np.int64), arrays["speakers"].astype(np.int64)
        train_size = int(arrays["train_size"])
    x: list[FloatArray] = np.split(frames, np.cumsum(lengths)[:-1])
    return JapaneseVowels(
        _part("train", x[:train_size], speakers[:train_size]),
        _part("test", x[train_size:], speakers[train_size:]),
    )


def _part(name: str, x: list[FloatArray], speakers: AnyArray) -> Sequences:
    return Sequences(x, speakers, np.arange(1, len(x) + 1), _FEATURES, f"JapaneseVowels {name}")


# The source prints six decimals, so integers of 1e-6 are exact, and dividing by 1e6 gives the very float64
# that parsing the text gives. Bytes of equal weight stored together compress a quarter better than int32.
def split_byte_planes(values: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """(n, I) int32 -> (4, I, n) uint8, least significant byte first."""
    return np.ascontiguousarray(values[:, :, None].astype("<i4").view(np.uint8).transpose(2, 1, 0))


def join_byte_planes(planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """(4, I, n) uint8 -> (n, I) int32: the inverse of :func:`split_byte_planes`."""
    joined = np.ascontiguousarray(planes.transpose(2, 1, 0)).view("<i4")[:, :, 0]
    return np.asarray(joined, dtype=np.int32)
