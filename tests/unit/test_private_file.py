import os
import socket
import stat
from pathlib import Path

import pytest
from filelock import FileLock

from ums_core.crypto import private_file
from ums_core.errors import (
    DirectoryNotWritable,
    InvalidInput,
    KeyCorrupt,
    KeyFileUnsafe,
    KeyMissing,
    KeyUnavailable,
    StorageError,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_file_is_made_for_its_owner_alone(path: Path) -> None:
    private_file.create(path, b"one")
    private_file.replace(path, b"two")
    assert private_file.read(path) == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_exists_is_not_made_again(path: Path) -> None:
    private_file.create(path, b"one")
    with pytest.raises(InvalidInput, match="not overwritten"):
        private_file.create(path, b"two")
    assert private_file.read(path) == b"one"
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_file_says_so(path: Path) -> None:
    with pytest.raises(KeyMissing, match="ums keys init"):
        private_file.read(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_file_that_others_may_touch_is_refused(path: Path, mode: int) -> None:
    private_file.create(path, b"x")
    path.chmod(mode)
    with pytest.raises(KeyFileUnsafe, match=f"mode {mode:04o}"):
        private_file.read(path)


def test_a_link_is_refused(path: Path) -> None:
    private_file.create(path, b"x")
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(KeyFileUnsafe, match="symbolic link"):
        private_file.read(link)


def test_what_is_no_file_is_refused(path: Path) -> None:
    os.mkfifo(path, 0o600)
    with pytest.raises(KeyFileUnsafe, match="no regular file"):
        private_file.read(path)
    with pytest.raises(KeyFileUnsafe, match="is a directory"):
        private_file.read(path.parent)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(path: Path) -> None:
    private_file.create(path, b"x")
    os.chown(path, 12345, -1)
    with pytest.raises(KeyFileUnsafe, match="belongs to user 12345"):
        private_file.read(path)


def test_a_file_beyond_the_bound_is_refused(path: Path) -> None:
    private_file.create(path, bytes(private_file.MAX_BYTES + 1))
    with pytest.raises(KeyCorrupt, match="longer than"):
        private_file.read(path)


def test_a_file_that_cannot_be_opened_is_a_storage_error(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        with pytest.raises(StorageError, match="cannot be read"):
            private_file.read(path)


def test_what_a_killed_writer_left_is_removed(path: Path) -> None:
    left = path.with_name(f".{path.name}.0011.tmp")
    left.write_bytes(b"half")
    stranger = path.with_name(".other.json.0011.tmp")
    stranger.write_bytes(b"of another file")
    private_file.replace(path, b"x")
    assert sorted(path.parent.iterdir()) == sorted([stranger, path])


def test_destroying_leaves_no_byte_of_the_file(path: Path) -> None:
    private_file.create(path, b"secret" * 100)
    second = path.with_name("second-name")
    os.link(path, second)
    left = path.with_name(f".{path.name}.0011.tmp")
    left.write_bytes(b"half")
    private_file.destroy(path)
    private_file.destroy(path)
    assert list(path.parent.iterdir()) == [second]
    assert second.read_bytes() == bytes(600)


def test_a_directory_that_is_missing_is_a_storage_error(path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        private_file.replace(path.parent / "nowhere" / "keys.json", b"x")


def test_a_read_only_directory_is_named_as_such() -> None:
    with pytest.raises((DirectoryNotWritable, StorageError), match="cannot be written"):
        private_file.replace(Path("/proc/keys.json"), b"x")


def test_a_directory_of_others_is_named_as_such(path: Path) -> None:
    with pytest.raises(DirectoryNotWritable, match="check its directory"), private_file._explained(path):
        raise PermissionError(13, "Permission denied")


def test_a_lock_that_is_held_for_long_is_given_up(path: Path) -> None:
    late = pytest.raises(KeyUnavailable, match=r"has held the lock of .* for 0\.05 seconds")
    with FileLock(f"{path}.lock"), late, private_file.locked(path, 0.05):
        pytest.fail("it is locked")
    with private_file.locked(path):
        pass
