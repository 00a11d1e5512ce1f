"""Arrays on memory that is used again.

The system clears the pages of a large new array one by one as they are touched, and takes them from all cores when
it is freed. The arrays of a pass are as short-lived as they are large: at T=100, B=64, I=128, H=256 that took a
tenth of a training step. So the core keeps what was freed, at most 128 MiB (``kernels/memory.cpp``).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from grus import _core

Array = np.ndarray[Any, np.dtype[Any]]
_LARGE = 2**16  # bytes; below that NumPy's own way is quick


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """As :func:`numpy.empty`."""
    size = math.prod(shape) * dtype.itemsize
    if size < _LARGE:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, _core.Memory(size))  # type: ignore[arg-type]  # NumPy's stubs know few buffers
