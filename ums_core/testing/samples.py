"""Vectors and memories that depend on nothing but what they are asked for."""

from zlib import crc32

import numpy as np
import numpy.typing as npt

__all__ = ["UNRELATED", "cosine", "unit"]

# Texts that share no word, and hardly a trigram.
UNRELATED = ("the quick zebra gallops over dry savanna", "monthly invoices must be filed by Friday")


def unit(label: object, dim: int) -> npt.NDArray[np.float32]:
    """A unit vector, shape (dim,), the same for every label of the same spelling."""
    vector = np.random.default_rng(crc32(str(label).encode())).standard_normal(dim).astype(np.float32)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def cosine(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """The cosine of two vectors."""
    left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))
