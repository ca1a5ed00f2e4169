"""Labels given as bare numbers: what they must look like, for every source that has no class names."""

from collections.abc import Sequence

from tailwise.types import TailwiseError


def numbered(rows: Sequence[tuple[str, str, int]]) -> list[str]:
    """Class names "0".."C-1" for ``rows`` of (where, split, label).

    Raises `TailwiseError`, saying where, unless the training labels are 0..C-1 without gaps and no split has others: a
    gap is far more often a wrong label than a class that nothing shows.
    """
    trained = {label for _, split, label in rows if split == "train"}
    for where, split, label in rows:
        if label < 0:
            raise TailwiseError(f"{where}: negative label {label}; number the classes from 0")
        if label not in trained:
            raise TailwiseError(f"{where}: label {label} is in {split} but not in train; add training images or remove it")
    gap = next(c for c in range(len(trained) + 1) if c not in trained)
    for where, _, label in rows:
        if label > gap:
            raise TailwiseError(
                f"{where}: label {label} is out of range, for no training image has label {gap}; number the classes from 0 "
                "without gaps"
            )
    return [str(c) for c in range(gap)]
