"""Vectors and memories that depend on nothing but what they are asked for."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import numpy.typing as npt

from ums_core.records import Hit

__all__ = ["UNRELATED", "assert_found", "cosine", "unit"]

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


def assert_found(hits: Sequence[Hit], id_: str) -> None:
    """The first hit is the memory that the question's vector was of."""
    assert hits
    assert hits[0].memory.id == id_
    assert hits[0].similarity is not None
    assert abs(hits[0].similarity - 1) < 1e-5
