"""Whatever is done to a sealed file, the reader gives the bytes that were written, or an error: never others."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ums_core.crypto import DataKey, Files
from ums_core.crypto.sealed_file import CHUNK_BYTES
from ums_core.errors import SealBroken

pytestmark = [pytest.mark.property, pytest.mark.no_cover, pytest.mark.fuzz]

DATABASE = "00112233445566778899aabbccddeeff"
KEY = DataKey(bytes(range(32)), database_id=DATABASE, key_id="0123456789abcdef")
CONTENT = b"a" * CHUNK_BYTES + b"b" * CHUNK_BYTES + b"c" * 99


def _sealed() -> bytes:
    file = io.BytesIO()
    with Files(KEY).writer(file, {"dim": 3, "seq": 9}) as writer:
        writer.write(CONTENT)
    return file.getvalue()


SEALED = _sealed()
HEAD = len(SEALED) - len(CONTENT) - 3 * 16
EDGES = [0, 5, 13, 45, 49, HEAD, HEAD + CHUNK_BYTES, HEAD + CHUNK_BYTES + 16, len(SEALED) - 16, len(SEALED) - 1]
PLACES = st.sampled_from(EDGES) | st.integers(0, len(SEALED) - 1)


def _given_out(file: bytes) -> bytes:
    """What comes out before an error, if there is one."""
    out: list[bytes] = []
    with pytest.raises(SealBroken):
        out.extend(Files(KEY).reader(io.BytesIO(file)).chunks())
    return b"".join(out)


@given(place=PLACES, bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(place: int, bit: int) -> None:
    file = bytearray(SEALED)
    file[place] ^= 1 << bit
    assert CONTENT.startswith(_given_out(bytes(file)))


@given(length=PLACES)
def test_a_cut_is_noticed(length: int) -> None:
    given_out = _given_out(SEALED[:length])
    assert CONTENT.startswith(given_out)
    assert len(given_out) < len(CONTENT)


@given(places=st.tuples(PLACES, PLACES, PLACES).map(sorted).filter(lambda p: p[0] < p[1]))
def test_a_piece_that_is_dropped_or_stands_twice_is_noticed(places: list[int]) -> None:
    start, end, at = places
    for file in (SEALED[:start] + SEALED[end:], SEALED[:at] + SEALED[start:end] + SEALED[at:]):
        assert CONTENT.startswith(_given_out(file))


@given(places=st.lists(PLACES, min_size=3, max_size=3, unique=True).map(sorted))
def test_pieces_that_change_places_are_noticed(places: list[int]) -> None:
    start, middle, end = places
    file = SEALED[:start] + SEALED[middle:end] + SEALED[start:middle] + SEALED[end:]
    if file != SEALED:
        assert CONTENT.startswith(_given_out(file))


@given(at=PLACES)
def test_a_file_that_goes_on_as_another_is_noticed(at: int) -> None:
    other = _sealed()
    file = SEALED[:at] + other[at:]
    if file not in (SEALED, other):
        assert CONTENT.startswith(_given_out(file))


@given(extra=st.binary(min_size=1, max_size=40))
def test_anything_after_the_end_is_noticed(extra: bytes) -> None:
    assert CONTENT.startswith(_given_out(SEALED + extra))
