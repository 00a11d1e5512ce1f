"""The string task: does a string end with the letter it began with?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def make_dummy_strings(
    n: int = 480,
    length: int = 12,
    alphabet: str = "ATGC",
    seed: int | np.random.Generator | None = None,
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64]]:
    """Draw strings of random letters; the class says whether the first letter comes back as the last.

    A network has to carry the first letter over ``length - 1`` steps. A model that sees only the last
    letter can't do better than always saying 1, which is right for ``1 - 1/len(alphabet)`` of all strings.

    Parameters
    ----------
    n : int, default 480
        Number of strings N.
    length : int, default 12
        Letters per string T, at least 2.
    alphabet : str, default "ATGC"
        The letters to draw from, evenly; at least 2, all different.
    seed : int or numpy.random.Generator, optional
        Source of randomness. The same int gives the same strings; None gives new ones each time.

    Returns
    -------
    strings : ndarray, shape (N, T), dtype '<U1'
        One letter per element; :class:`grus.nn.OneHot` takes it as it is.
    labels : ndarray, shape (N,), int64
        0 if ``strings[i, 0] == strings[i, -1]``, else 1.

    Raises
    ------
    ValueError
        A size is too small, or a letter is repeated; the message names the argument.
    TypeError
        A size isn't an integer, ``alphabet`` isn't a str, or ``seed`` is neither int nor Generator.

    Examples
    --------
    >>> from grus.datasets import make_dummy_strings
    >>> strings, labels = make_dummy_strings(n=100, length=4, seed=0)
    >>> strings.shape, labels.shape
    ((100, 4), (100,))
    >>> bool((labels == (strings[:, 0] != strings[:, -1])).all())
    True
    """
    _check_size("n", n, at_least=1)
    _check_size("length", length, at_least=2)
    letters = _letters(alphabet)
    strings = letters[_generator(seed).integers(len(letters), size=(n, length))]
    return strings, (strings[:, 0] != strings[:, -1]).astype(np.int64)


def _check_size(argument: str, value: int, at_least: int) -> None:
    # bool is a subclass of int, but n=True is a mistake.
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{argument} must be an int; got {value!r}, a {type(value).__name__}.")
    if value < at_least:
        raise ValueError(f"{argument} must be at least {at_least}; got {value}.")


def _letters(alphabet: str) -> npt.NDArray[np.str_]:
    if not isinstance(alphabet, str):
        raise TypeError(f"alphabet must be a str of different letters; got a {type(alphabet).__name__}.")
    if len(set(alphabet)) != len(alphabet) or len(alphabet) < 2:
        raise ValueError(f"alphabet must have at least 2 letters, all different; got {alphabet!r}.")
    return np.array(list(alphabet), dtype="<U1")


def _generator(seed: int | np.random.Generator | None) -> np.random.Generator:
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer | None):
        raise TypeError(f"seed must be an int, a numpy.random.Generator or None; got {type(seed).__name__}.")
    if seed is not None and seed < 0:
        raise ValueError(f"seed must be at least 0; got {seed}.")
    return np.random.default_rng(seed)
