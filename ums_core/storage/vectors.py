"""Vectors as bytes. What is written says itself how it is to be read, so a database may hold several types.

``float32`` takes 4 bytes a component. ``float16`` and ``int8`` take 2 bytes and 1 byte, and after them one to four
bytes, the last of which says how many, so that the length divided by four leaves 1 or 2. An ``int8`` vector is scaled
so that its greatest component is 127 or -127; as all vectors are of length 1, the factor need not be kept.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ums_core.ports.ledger import VectorType

__all__ = ["pack", "unpack", "unpack_all"]

Floats = npt.NDArray[np.float32]

_REMAINDERS: dict[int, np.dtype[Any]] = {1: np.dtype("<f2"), 2: np.dtype("i1")}
_MOST = 127


def pack(vector: Floats, kind: VectorType) -> bytes:
    """A unit vector, shape (d,), as bytes. What comes back differs from it by 2e-4 in the cosine at most."""
    if kind == "float32":
        return vector.tobytes()
    if kind == "float16":
        body, remainder = vector.astype("<f2").tobytes(), 1
    else:
        body, remainder = np.rint(vector * (_MOST / np.abs(vector).max())).astype("i1").tobytes(), 2
    rest = (remainder - len(body) - 1) % 4 + 1
    return body + bytes([rest]) * rest


def unpack(blob: bytes) -> Floats:
    """The unit vector that bytes stand for, shape (d,)."""
    if len(blob) % 4 not in _REMAINDERS:
        return np.frombuffer(blob, np.float32)
    vector: Floats = unpack_all([blob])[0]
    return vector


def unpack_all(blobs: Sequence[bytes]) -> Floats:
    """The unit vectors that bytes stand for, shape (n, d); of at least one, and all of one dimension."""
    if len({len(blob) for blob in blobs}) > 1:
        return np.concatenate([unpack_all([blob]) for blob in blobs])
    size = len(blobs[0])
    kind = _REMAINDERS.get(size % 4)
    if kind is None:
        return np.frombuffer(b"".join(blobs), np.float32).reshape(len(blobs), -1)
    body = np.frombuffer(b"".join(blobs), np.uint8).reshape(len(blobs), size)[:, : size - blobs[0][-1]]
    rows: Floats = np.ascontiguousarray(body).view(kind).astype(np.float32)
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return rows
