import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ums_core.crypto import Envelope, envelope_path
from ums_core.crypto.cipher import ForgedError, open_with, seal_to
from ums_core.crypto.keys import context_of
from ums_core.crypto.raw import RawSource
from ums_core.crypto.recovery import RecoverySource, new_recovery_code
from ums_core.crypto.wrapping import WrappingKeys
from ums_core.errors import InvalidInput, InvalidKey, KeyCorrupt, KeyDenied, KeyMissing
from ums_core.ports import Context, KeySource, Wrapped

KEK = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return envelope_path(tmp_path / "memory.db")


@pytest.fixture
def envelope(path: Path) -> Envelope:
    return Envelope.create(path, RawSource(KEK))


def test_an_envelope_gives_its_key_back(envelope: Envelope, path: Path) -> None:
    again = Envelope.open(path, RawSource(KEK))
    assert path.name == "memory.db.keys.json"
    assert again.database_id == envelope.database_id
    assert again.active.secret == envelope.active.secret
    assert again.active.key_id == envelope.active.key_id
    assert (again.pending, again.retired) == (None, [])
    assert envelope.active.secret.hex() not in path.read_text()


def test_an_envelope_can_be_made_for_a_known_database(path: Path) -> None:
    assert Envelope.create(path, RawSource(KEK), database_id="ab" * 16).database_id == "ab" * 16


def test_an_envelope_is_not_overwritten(envelope: Envelope, path: Path) -> None:
    with pytest.raises(InvalidInput, match="not overwritten"):
        Envelope.create(path, RawSource(KEK))
    assert Envelope.open(path, RawSource(KEK)).active.secret == envelope.active.secret


def test_another_key_opens_nothing(envelope: Envelope, path: Path) -> None:
    with pytest.raises(KeyMissing, match="name the former one"):
        Envelope.open(path, RawSource(bytes(32)))
    with pytest.raises(KeyMissing, match="no recovery wrapping"):
        Envelope.open(path, RecoverySource.of_code(new_recovery_code()))
    with pytest.raises(KeyMissing):
        Envelope.open(path.with_name("other.keys.json"), envelope.source)


def test_a_rotation_goes_through_its_states(envelope: Envelope, path: Path) -> None:
    first = envelope.active
    second = envelope.begin()
    assert envelope.keys == [first, second]
    assert envelope.pending is second
    assert envelope.begin() is second
    # Killed here, the next process finds both.
    again = Envelope.open(path, RawSource(KEK))
    assert [key.secret for key in again.keys] == [first.secret, second.secret]
    again.promote()
    assert again.active.secret == second.secret
    assert [key.secret for key in again.retired] == [first.secret]
    envelope.reload()
    assert envelope.keys == [second]
    envelope.retire(first.key_id)
    again.reload()
    assert [key.secret for key in Envelope.open(path, RawSource(KEK)).retired + again.retired] == []
    assert [record.state for record in envelope.status().keys] == ["destroyed", "active"]


def test_a_rotation_can_be_abandoned(envelope: Envelope) -> None:
    first = envelope.active
    envelope.abandon()
    envelope.begin()
    envelope.abandon()
    assert envelope.keys == [first]
    with pytest.raises(InvalidInput, match="no pending key"):
        envelope.promote()


def test_only_a_retired_key_is_destroyed(envelope: Envelope) -> None:
    with pytest.raises(InvalidInput, match="is active"):
        envelope.retire(envelope.active.key_id)
    with pytest.raises(InvalidInput, match="is not in it"):
        envelope.retire("0" * 16)


def test_two_processes_change_one_envelope_in_turn(envelope: Envelope, path: Path) -> None:
    def rotate() -> None:
        Envelope.open(path, RawSource(KEK)).begin()

    threads = [threading.Thread(target=rotate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    envelope.reload()
    assert [record.state for record in envelope.status().keys] == ["active", "pending"]
    assert envelope.status().revision == 1


def test_status_holds_no_secret(envelope: Envelope) -> None:
    status = envelope.status()
    assert (status.revision, status.recovery, status.source.reachable) == (0, False, True)
    assert envelope.active.secret.hex() not in repr(status)


# The key that wraps


class Versioned(WrappingKeys):
    """A source whose key has had two versions."""

    def __init__(self, *versions: str) -> None:
        super().__init__("local", "main", {version: version.encode() * 32 for version in versions})


def test_rewrapping_moves_every_key_to_the_newest_version_and_changes_none(path: Path) -> None:
    envelope = Envelope.create(path, Versioned("1"))
    envelope.begin()
    envelope.promote()
    envelope.begin()
    secrets = [key.secret for key in envelope.keys + envelope.retired]
    newer = Envelope.open(path, Versioned("1", "2"))
    steps: list[tuple[int, int]] = []
    assert newer.rewrap(lambda done, total: steps.append((done, total))) == 3
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert newer.rewrap() == 0
    only_new = Envelope.open(path, Versioned("2"))
    assert [key.secret for key in only_new.keys + only_new.retired] == secrets
    assert not newer._rewrapped("0" * 16, "3")


def test_rewrapping_goes_on_where_it_was_interrupted(path: Path) -> None:
    envelope = Envelope.create(path, Versioned("1"))
    envelope.begin()
    newer = Envelope.open(path, Versioned("1", "2"))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt(f"{done} of {total}")

    with pytest.raises(KeyboardInterrupt, match="1 of 2"):
        newer.rewrap(stop)
    versions = [record.slots[0].wrapped.version for record in Envelope.open(path, Versioned("1", "2")).status().keys]
    assert versions == ["2", "1"]
    assert Envelope.open(path, Versioned("1", "2")).rewrap() == 1


def test_a_source_without_versions_rewraps_every_time(envelope: Envelope, path: Path) -> None:
    before = path.read_bytes()
    assert envelope.rewrap() == 1
    assert path.read_bytes() != before


def test_a_version_that_is_gone_opens_nothing(path: Path) -> None:
    Envelope.create(path, Versioned("1"))
    with pytest.raises(KeyMissing, match="version '1'"):
        Envelope.open(path, Versioned("2"))


def test_an_envelope_moves_to_another_source(envelope: Envelope, path: Path) -> None:
    envelope.begin()
    envelope.promote()
    envelope.retire(envelope.status().keys[0].key_id)
    secret = envelope.active.secret
    envelope.move(Versioned("1"))
    assert envelope.source.provider == "local"
    assert Envelope.open(path, Versioned("1")).active.secret == secret
    with pytest.raises(KeyMissing, match="the settings name the raw key"):
        Envelope.open(path, RawSource(KEK))


class Forgetful(Versioned):
    """A source that gives back another key than it was given."""

    def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        return hashlib.sha256(super().unwrap(wrapped, context)).digest()


def test_a_source_that_does_not_give_back_the_key_is_not_moved_to(envelope: Envelope, path: Path) -> None:
    with pytest.raises(KeyCorrupt, match="does not give back"):
        envelope.move(Forgetful("1"))
    assert Envelope.open(path, RawSource(KEK)).active.secret == envelope.active.secret


def test_a_source_that_does_not_give_back_the_key_does_not_rewrap_it(path: Path) -> None:
    envelope = Envelope.create(path, Versioned("1"))
    envelope.source = Forgetful("1", "2")
    with pytest.raises(KeyCorrupt, match="wrapped anew"):
        envelope.rewrap()
    assert Envelope.open(path, Versioned("1")).active.secret == envelope.active.secret


# Recovery


def test_the_code_in_the_safe_opens_keys_that_came_after_it(envelope: Envelope, path: Path) -> None:
    code = new_recovery_code()
    envelope.begin()
    envelope.promote()
    envelope.retire(envelope.status().keys[0].key_id)
    envelope.add_recovery(RecoverySource(RecoverySource.of_code(code).public))
    later = envelope.begin()
    assert envelope.status().recovery
    found = Envelope.open(path, RecoverySource.of_code(code.lower().replace("-", " ")))
    assert [key.secret for key in found.keys] == [envelope.active.secret, later.secret]
    found.move(RawSource(bytes(32)))
    assert Envelope.open(path, RawSource(bytes(32))).pending is not None


def test_a_new_code_takes_the_place_of_the_former(envelope: Envelope, path: Path) -> None:
    former, code = new_recovery_code(), new_recovery_code()
    envelope.add_recovery(RecoverySource.of_code(former))
    envelope.add_recovery(RecoverySource.of_code(code))
    assert Envelope.open(path, RecoverySource.of_code(code)).active.secret == envelope.active.secret
    with pytest.raises(KeyMissing):
        Envelope.open(path, RecoverySource.of_code(former))


def test_an_envelope_opened_by_its_code_needs_a_lasting_key_first(envelope: Envelope, path: Path) -> None:
    code = new_recovery_code()
    envelope.add_recovery(RecoverySource.of_code(code))
    found = Envelope.open(path, RecoverySource.of_code(code))
    for act in (found.begin, found.rewrap):
        with pytest.raises(InvalidInput, match="ums keys move"):
            act()


def test_a_recovery_source_says_what_it_cannot_do(envelope: Envelope) -> None:
    source = RecoverySource.of_code(new_recovery_code())
    context = context_of(envelope.database_id, envelope.active.key_id)
    key, wrapped = source.generate(context)
    assert source.unwrap(source.rewrap(wrapped, context), context) == key
    assert source.describe().reachable
    with pytest.raises(KeyCorrupt, match="does not open"):
        source.unwrap(wrapped, {**context, "database": "0" * 32})
    with pytest.raises(KeyDenied, match="without its code"):
        RecoverySource(source.public).unwrap(wrapped, context)
    source.close()
    with pytest.raises(KeyDenied):
        source.unwrap(wrapped, context)
    with pytest.raises(InvalidKey, match="got 3"):
        RecoverySource(b"abc")
    with pytest.raises(KeyCorrupt, match="not one that can be sealed to"):
        RecoverySource(bytes(32)).wrap(key, context)


@pytest.mark.parametrize(
    "change", [lambda c: c[:-1], lambda c: c[:-3] + "A1B", lambda c: c[:13], lambda c: c + "AAAAAAAA"]
)
def test_a_mistyped_code_is_refused(change: Callable[[str], str]) -> None:
    with pytest.raises(InvalidKey, match="mistyped"):
        RecoverySource.of_code(change(new_recovery_code()))


def test_a_message_opens_with_the_other_half_alone() -> None:
    source, other = (RecoverySource.of_code(new_recovery_code()) for _ in range(2))
    sealed = seal_to(source.public, b"data", b"info")
    assert open_with(source._private or b"", sealed, b"info") == b"data"
    for private, message, info in [
        (other._private, sealed, b"info"),
        (source._private, sealed[:-1], b"info"),
        (source._private, b"", b"info"),
        (source._private, sealed, b"else"),
    ]:
        with pytest.raises(ForgedError):
            open_with(private or b"", message, info)


# Damage and forgery


def test_swapped_key_files_do_not_open(tmp_path: Path) -> None:
    one, other = (Envelope.create(envelope_path(tmp_path / name), RawSource(KEK)) for name in ("a.db", "b.db"))
    mine, theirs = json.loads(one.path.read_text()), json.loads(other.path.read_text())
    mine["keys"] = theirs["keys"]
    one.path.write_text(json.dumps(mine))
    with pytest.raises(KeyCorrupt, match="belongs to another database"):
        Envelope.open(one.path, RawSource(KEK))


@pytest.mark.parametrize(
    "forge",
    [
        lambda d: d.update(database="0" * 32),
        lambda d: d.update(recovery="11" * 32),
        lambda d: d.update(revision=d["revision"] + 1),
        lambda d: d["keys"][0].update(state="pending") or d["keys"][1].update(state="active"),
        lambda d: d["keys"][0].update(created="2000-01-01T00:00:00+00:00"),
        lambda d: d["keys"].pop(),
        lambda d: d["keys"][0]["slots"][0].update(blob=d["keys"][1]["slots"][0]["blob"]),
        lambda d: d["keys"][0]["slots"][0].update(version="7"),
        lambda d: d.update(proof="0" * 64),
    ],
)
def test_a_forged_field_is_noticed(
    envelope: Envelope, path: Path, forge: Callable[[dict[str, object]], object]
) -> None:
    envelope.begin()
    document = json.loads(path.read_text())
    forge(document)
    path.write_text(json.dumps(document))
    with pytest.raises((KeyCorrupt, KeyMissing)):
        Envelope.open(path, RawSource(KEK))
    with pytest.raises((KeyCorrupt, KeyMissing)):
        envelope.promote()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.update(format=2),
        lambda d: d.update(more=1),
        lambda d: d.update(database=5),
        lambda d: d.update(database="xyz"),
        lambda d: d.update(revision="1"),
        lambda d: d.update(revision=True),
        lambda d: d.update(keys={}),
        lambda d: d.update(keys=[]),
        lambda d: d.update(keys=d["keys"] * 2),
        lambda d: d["keys"][0].update(state="lost"),
        lambda d: d["keys"][0].update(slots=[]),
        lambda d: d["keys"][0].update(slots=d["keys"][0]["slots"] * 2),
        lambda d: d["keys"][0]["slots"][0].update(slot="spare"),
        lambda d: d["keys"][0]["slots"][0].update(blob="%%"),
        lambda d: d["keys"][0]["slots"].append("x"),
    ],
)
def test_a_file_of_another_form_is_refused(
    envelope: Envelope, path: Path, spoil: Callable[[dict[str, object]], object]
) -> None:
    document = json.loads(path.read_text())
    spoil(document)
    path.write_text(json.dumps(document))
    with pytest.raises(KeyCorrupt, match="restore it from its backup"):
        Envelope.open(path, RawSource(KEK))
    assert envelope.active is not None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 100_000, "\ud800".encode("utf-8", "surrogatepass")]
)
def test_what_is_no_strict_json_is_refused(path: Path, text: str | bytes) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    with pytest.raises(KeyCorrupt):
        Envelope.open(path, RawSource(KEK))


def test_a_file_that_became_another_database_is_not_taken_for_the_former(envelope: Envelope, tmp_path: Path) -> None:
    other = Envelope.create(envelope_path(tmp_path / "other.db"), RawSource(KEK))
    os.replace(other.path, envelope.path)  # noqa: PTH105  # as a restore would do it
    envelope.reload()
    assert envelope.database_id == other.database_id
    assert envelope.active.secret == other.active.secret


def test_a_destroyed_envelope_is_gone(envelope: Envelope, path: Path) -> None:
    envelope.destroy()
    with pytest.raises(KeyMissing):
        Envelope.open(path, RawSource(KEK))
    with pytest.raises(KeyMissing):
        envelope.reload()


def test_a_raw_source_is_named_for_its_key_and_tells_nothing_of_it() -> None:
    one, same, other = RawSource(KEK), RawSource(KEK), RawSource(bytes(32))
    assert one.key_id == same.key_id != other.key_id
    assert KEK.hex()[:16] not in one.key_id
    sources: list[KeySource] = [one, other]
    for source in sources:
        source.close()
