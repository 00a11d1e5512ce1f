"""Make ``src/grus/datasets/data/japanese_vowels.npz`` from the two .ts files that aeon carries.

Run from the repository root, with aeon installed: ``python tools/make_japanese_vowels.py``.
It writes nothing unless every number reads back exactly as it was parsed.
"""

from __future__ import annotations

from pathlib import Path

import aeon.datasets
import numpy as np

from grus.datasets._japanese_vowels import join_byte_planes, split_byte_planes

SOURCE = Path(aeon.datasets.__file__).parent / "data" / "JapaneseVowels"
TARGET = Path(__file__).parents[1] / "src" / "grus" / "datasets" / "data" / "japanese_vowels.npz"


def main() -> None:
    """Read both parts, store them as one, and compare."""
    utterances, labels = [], []
    for part in ("TRAIN", "TEST"):
        x, y = aeon.datasets.load_from_ts_file(str(SOURCE / f"JapaneseVowels_{part}.ts"))
        utterances.append([case.T for case in x])
        labels.append(y.astype(np.uint8))
    together = utterances[0] + utterances[1]
    frames = np.concatenate(together)
    planes = split_byte_planes(np.rint(frames * 1e6).astype(np.int32))
    if not np.array_equal(join_byte_planes(planes) / 1e6, frames):
        raise SystemExit("The source has more than six decimals: nothing written.")
    np.savez_compressed(
        TARGET,
        frames=planes,
        lengths=np.array([len(case) for case in together], dtype=np.uint8),
        speakers=np.concatenate(labels),
        train_size=np.int64(len(utterances[0])),
    )
    print(f"{TARGET.name}: {len(together)} utterances, {len(frames)} frames, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
