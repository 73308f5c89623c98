"""Whatever is done to the text of a key file, it gives the keys that were written, or an error: never others."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ums_core.crypto import Envelope
from ums_core.crypto.cipher import Argon2Cost
from ums_core.crypto.keyring import Keyring
from ums_core.crypto.raw import RawSource
from ums_core.crypto.recovery import RecoverySource, new_recovery_code
from ums_core.errors import KeyFailure, UMSError

pytestmark = [pytest.mark.property, pytest.mark.fuzz]

SOURCE = RawSource(bytes(range(32)))
CODE = new_recovery_code()


def _written(directory: Path) -> tuple[bytes, list[bytes]]:
    envelope = Envelope.create(directory / "a.keys.json", SOURCE)
    envelope.begin()
    envelope.promote()
    envelope.begin()
    envelope.add_recovery(RecoverySource.of_code(CODE))
    keys = [key.secret for key in (*envelope.keys, *envelope.retired)]
    return (directory / "a.keys.json").read_bytes(), keys


with tempfile.TemporaryDirectory() as _place:
    ENVELOPE, KEYS = _written(Path(_place))
    RING = Keyring.create(Path(_place) / "ring.json", "main")
    RING.add("main")
    RING_TEXT = RING.path.read_bytes()
    VERSIONS = RING.versions("main")
    LOCKED = Keyring.create(
        Path(_place) / "locked.json", "main", "horse", cost=Argon2Cost(memory_kib=19 * 1024, iterations=1, lanes=1)
    )
    LOCKED_TEXT = LOCKED.path.read_bytes()
    LOCKED_VERSIONS = LOCKED.versions("main")


@st.composite
def mutations(draw: st.DrawFn, text: bytes) -> bytes:
    """The text with a byte exchanged, a piece cut, repeated or moved."""
    start, end, at = (draw(st.integers(0, len(text) - 1)) for _ in range(3))
    piece = text[min(start, end) : max(start, end)]
    rest = text[: min(start, end)] + text[max(start, end) :]
    return draw(
        st.sampled_from(
            [
                text[:at] + bytes([draw(st.integers(0, 255))]) + text[at + 1 :],
                text[:at],
                rest,
                text[:at] + piece + text[at:],
                rest[:at] + piece + rest[at:],
            ]
        )
    )


def _file(directory: str, text: bytes) -> Path:
    path = Path(directory) / "file.json"
    path.write_bytes(text)
    path.chmod(0o600)
    return path


@given(text=mutations(ENVELOPE), recovery=st.booleans())
def test_a_changed_envelope_gives_its_keys_or_none(text: bytes, *, recovery: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = _file(directory, text)
        try:
            envelope = Envelope.open(path, RecoverySource.of_code(CODE) if recovery else SOURCE)
            keys = [key.secret for key in (*envelope.keys, *envelope.retired)]
        except KeyFailure:
            return
    assert keys == KEYS


@given(text=mutations(RING_TEXT))
def test_a_changed_keyring_gives_its_keys_or_none(text: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        try:
            assert Keyring.open(_file(directory, text)).versions("main") == VERSIONS
        except UMSError:
            return


@settings(max_examples=40)  # each costs a guess of the passphrase
@given(text=mutations(LOCKED_TEXT))
def test_a_changed_sealed_keyring_gives_its_keys_or_none(text: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        try:
            assert Keyring.open(_file(directory, text), "horse").versions("main") == LOCKED_VERSIONS
        except UMSError:
            return
