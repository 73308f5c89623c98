import copy
import io
import pickle
import random
import sys

import pytest

from ums_core.crypto import DataKey, Files
from ums_core.crypto.cipher import Aead, Argon2Cost, argon2id, hkdf
from ums_core.crypto.keys import new_database_id, new_key_id
from ums_core.crypto.sealed_file import CHUNK_BYTES
from ums_core.errors import InvalidField, InvalidKey, MissingExtra, SealBroken

DATABASE = "00112233445566778899aabbccddeeff"
KEY = DataKey(bytes(range(32)), database_id=DATABASE, key_id="0123456789abcdef")
OTHER = DataKey(bytes(range(32)), database_id=DATABASE, key_id="fedcba9876543210")


def sealed(content: bytes, header: dict[str, object] | None = None, *, key: DataKey = KEY) -> bytes:
    file = io.BytesIO()
    with Files(key).writer(file, header or {}) as writer:
        writer.write(content)
    return file.getvalue()


def opened(file: bytes, *keys: DataKey) -> bytes:
    return b"".join(Files(*(keys or (KEY,))).reader(io.BytesIO(file)).chunks())


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 5]
)
@pytest.mark.parametrize("piece", [1 << 30, 300_001, CHUNK_BYTES])
def test_what_was_sealed_in_pieces_is_read_back(size: int, piece: int) -> None:
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    file = io.BytesIO()
    with Files(KEY).writer(file, {"seq": 7}) as writer:
        assert sum(writer.write(content[start : start + piece]) for start in range(0, size, piece)) == size
    assert opened(file.getvalue()) == content
    chunks = max(1, -(-size // CHUNK_BYTES))
    head = len(sealed(b"", {"seq": 7})) - 16
    assert len(file.getvalue()) == head + size + 16 * chunks


def test_a_buffer_is_filled_across_chunks() -> None:
    content = bytes(range(256)) * (CHUNK_BYTES // 128)
    reader = Files(KEY).reader(io.BytesIO(sealed(content)))
    buffer = bytearray(CHUNK_BYTES + 100)
    assert reader.readinto(buffer) == len(buffer)
    assert buffer == content[: len(buffer)]
    assert reader.readinto(memoryview(buffer)) == len(content) - len(buffer)
    assert reader.readinto(buffer) == 0
    assert Files(KEY).reader(io.BytesIO(sealed(content))).prove() == len(content)


def test_the_header_is_read_back_and_cannot_be_changed() -> None:
    header: dict[str, object] = {"dim": 384, "metric": "ip", "seq": 12, "parameters": {"m": 32}}
    file = sealed(b"vectors", header)
    assert Files(KEY).reader(io.BytesIO(file)).header == header
    assert b'"seq":12' in file
    with pytest.raises(SealBroken, match="chunk 0"):
        opened(file.replace(b'"seq":12', b'"seq":13'))


@pytest.mark.parametrize("header", [{"database": "x"}, {"dim": float("nan")}, {"x": {1}}, {"x": "y" * 65536}])
def test_an_unusable_header_is_refused(header: dict[str, object]) -> None:
    with pytest.raises(InvalidField, match="header"):
        Files(KEY).writer(io.BytesIO(), header)


def test_a_file_is_sealed_for_one_database_and_one_key() -> None:
    file = sealed(b"mine")
    stranger = DataKey(KEY.secret, database_id=new_database_id(), key_id=KEY.key_id)
    with pytest.raises(SealBroken):
        opened(file, stranger)
    with pytest.raises(SealBroken, match=f"holds {OTHER.key_id}"):
        opened(file, OTHER)
    assert opened(file, OTHER, KEY) == b"mine"


def test_a_file_that_names_another_database_is_refused_even_under_the_same_key() -> None:
    file = io.BytesIO()
    writer = Files(KEY).writer(file, {})
    lying = writer._bound.replace(DATABASE.encode(), b"f" * 32)
    writer._bound = lying
    file.seek(0)
    file.write(lying)
    writer.close()
    with pytest.raises(SealBroken, match="another database"):
        opened(file.getvalue())


@pytest.mark.parametrize("file", [b"", b"UMSX\x01", b"UMSX\x02" + bytes(100), b"SQLite format 3\0" + bytes(100)])
def test_a_file_of_another_kind_is_refused(file: bytes) -> None:
    with pytest.raises(SealBroken, match="not a sealed file"):
        opened(file)


def test_a_header_length_beyond_the_bound_is_not_read() -> None:
    file = bytearray(sealed(b"x"))
    file[45:49] = b"\xff\xff\xff\xff"
    with pytest.raises(SealBroken):
        opened(bytes(file))


def test_chunks_cannot_be_swapped_dropped_repeated_or_cut() -> None:
    size = CHUNK_BYTES + 16
    file = sealed(b"a" * CHUNK_BYTES + b"b" * CHUNK_BYTES + b"c" * 10)
    head = len(file) - 2 * size - 26
    first, second, last = file[head : head + size], file[head + size : head + 2 * size], file[-26:]
    start = file[:head]
    for forged in (
        second + first + last,
        first + last,
        first + first + second + last,
        first + second,
        first,
        b"",
        last,
    ):
        with pytest.raises(SealBroken, match="not what was written"):
            opened(start + forged)
    with pytest.raises(SealBroken):
        opened(file + b"x")


def test_a_reader_that_met_a_broken_chunk_never_looks_finished() -> None:
    reader = Files(KEY).reader(io.BytesIO(sealed(b"a" * CHUNK_BYTES + b"b" * 10)[:-1] + b"!"))
    buffer = bytearray(CHUNK_BYTES + 10)
    for _ in range(3):
        with pytest.raises(SealBroken):
            reader.readinto(buffer)


def test_many_chunks_are_opened_where_they_are_to_lie() -> None:
    content = random.Random(7).randbytes(7 * CHUNK_BYTES)
    for size in (0, 100):
        reader = Files(KEY).reader(io.BytesIO(sealed(content + bytes(size))))
        buffer = bytearray(len(content) + size + 9)
        assert reader.readinto(memoryview(buffer)[:5]) == 5
        assert reader.readinto(memoryview(buffer)[5:]) == len(content) + size - 5
        assert buffer == content + bytes(size + 9)
        assert reader.readinto(buffer) == 0


@pytest.mark.parametrize("number", range(1, 8))
def test_a_broken_chunk_among_many_gives_nothing_of_itself_and_no_end(number: int) -> None:
    content = bytes([7]) * (8 * CHUNK_BYTES)
    file = bytearray(sealed(content))
    file[len(file) - (8 - number) * (CHUNK_BYTES + 16)] ^= 1
    reader = Files(KEY).reader(io.BytesIO(bytes(file)))
    buffer = bytearray(len(content))
    for _ in range(2):
        with pytest.raises(SealBroken, match=f"chunk {number} "):
            reader.readinto(buffer)
        assert not any(buffer[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES])
    assert set(buffer) == {0, 7}


def test_two_files_of_the_same_content_have_nothing_in_common() -> None:
    one, other = sealed(b"same" * 100), sealed(b"same" * 100)
    assert one[-416:] != other[-416:]


def test_a_file_whose_writing_failed_cannot_be_read() -> None:
    file = io.BytesIO()
    writer = Files(KEY).writer(file, {})

    def fail() -> None:
        with writer:
            writer.write(b"half of it")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with pytest.raises(SealBroken):
        opened(file.getvalue())
    with pytest.raises(ValueError, match="was closed"):
        writer.write(b"more")


def test_closing_twice_ends_a_file_once() -> None:
    file = io.BytesIO()
    writer = Files(KEY).writer(file, {})
    writer.close()
    writer.close()
    assert opened(file.getvalue()) == b""


def test_a_file_of_too_many_chunks_is_refused() -> None:
    writer = Files(KEY).writer(io.BytesIO(), {})
    writer._number = 1 << 32
    with pytest.raises(InvalidField, match="at most"):
        writer.close()


# The data key


def test_derived_keys_differ_by_purpose_salt_and_database() -> None:
    stranger = DataKey(KEY.secret, database_id=new_database_id(), key_id=KEY.key_id)
    derived = [KEY.derive("pages"), KEY.derive("files"), KEY.derive("files", salt=b"s"), stranger.derive("pages")]
    assert len({*derived, KEY.secret}) == 5
    assert all(len(key) == 32 for key in derived)
    assert KEY.derive("pages") == KEY.derive("pages")


def test_hkdf_is_that_of_the_rfc() -> None:
    # RFC 5869, test case 1, its first 32 bytes.
    okm = hkdf(b"\x0b" * 22, salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA)))
    assert okm.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


def test_a_key_hides_its_bytes() -> None:
    key = DataKey(b"s" * 32, database_id=DATABASE, key_id=new_key_id())
    assert "ssss" not in repr(key)
    assert key.key_id in repr(key)
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not copied"):
            act(key)


@pytest.mark.parametrize(
    ("secret", "database_id", "key_id"),
    [(b"short", DATABASE, "0" * 16), (bytes(32), "xyz", "0" * 16), (bytes(32), DATABASE, "G" * 16)],
)
def test_a_key_of_another_form_is_refused(secret: bytes, database_id: str, key_id: str) -> None:
    with pytest.raises(InvalidKey):
        DataKey(secret, database_id=database_id, key_id=key_id)


@pytest.mark.parametrize(
    "cost",
    [
        {"memory_kib": 19 * 1024 - 1},
        {"memory_kib": 1 << 30},
        {"iterations": 0},
        {"iterations": 17},
        {"lanes": 17},
        {"lanes": True},
        {"memory_kib": 65536.0},
    ],
)
def test_the_cost_of_a_passphrase_is_bounded(cost: dict[str, int]) -> None:
    with pytest.raises(InvalidKey, match="must be from"):
        Argon2Cost(**cost)


def test_a_passphrase_gives_a_key_by_its_salt_and_cost() -> None:
    cost = Argon2Cost(memory_kib=19 * 1024, iterations=1, lanes=1)
    key = argon2id(b"correct horse", b"salt" * 4, cost)
    assert len(key) == 32
    assert key == argon2id(b"correct horse", b"salt" * 4, cost)
    assert key != argon2id(b"correct horse", b"tlas" * 4, cost)


def test_a_cipher_takes_no_other_key_length() -> None:
    with pytest.raises(InvalidKey, match="got 16"):
        Aead(bytes(16))


def test_sealing_without_the_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.kdf.hkdf", None)
    with pytest.raises(MissingExtra, match=r"ums-core\[security\]"):
        KEY.derive("pages")
