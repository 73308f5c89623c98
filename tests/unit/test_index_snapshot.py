import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from ums_core.errors import DirectoryNotWritable, DiskFull, StorageError
from ums_core.index import snapshot
from ums_core.index.snapshot import Section, Sink, read, section, write

_HEADER = {"seq": 7, "binding": {"database": "d"}}


def _bulk(size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=size, dtype=np.uint8)


def _save(path: Path, payload: np.ndarray) -> None:
    write(path, _HEADER, [section("few", [np.arange(3)], 24), section("bulk", [payload], payload.nbytes)])


@contextmanager
def _file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 1, 4 << 20, (4 << 20) - 24, (9 << 20) + 5])
def test_sections_come_back_byte_for_byte_and_the_last_one_is_aligned(tmp_path: Path, size: int) -> None:
    payload = _bulk(size)
    _save(tmp_path / "index", payload)
    found = read(tmp_path / "index", {"seq": 7})
    assert found is not None
    assert found.header["binding"] == {"database": "d"}
    assert np.array_equal(found.sections["bulk"], payload)
    assert found.array("few", np.int64).tolist() == [0, 1, 2]
    assert size == 0 or (found.sections["bulk"].ctypes.data + size) % 64 == 0


def test_a_flip_in_any_chunk_of_a_large_snapshot_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "index"
    _save(path, _bulk(9 << 20))
    size = path.stat().st_size
    for at in (size - 1, size - (6 << 20), 5000):
        with path.open("r+b") as file:
            byte = os.pread(file.fileno(), 1, at)
            os.pwrite(file.fileno(), bytes([byte[0] ^ 4]), at)
            assert read(path, {}) is None
            os.pwrite(file.fileno(), byte, at)
    assert read(path, {}) is not None


@pytest.mark.parametrize(
    "header",
    [
        {},
        [],
        {"seq": 7, "digests": [], "sections": [["bulk", 10]]},
        {"seq": 7, "digests": ["0" * 64], "sections": []},
        {"seq": 7, "digests": [], "sections": [["bulk"]]},
    ],
)
def test_a_whole_header_that_makes_no_sense_is_refused(tmp_path: Path, header: object) -> None:
    framed = snapshot._framed(header)  # type: ignore[arg-type]  # that is the point
    assert json.dumps(header, separators=(",", ":")).encode() in framed
    (tmp_path / "index").write_bytes(framed)
    assert read(tmp_path / "index", {"seq": 7}) is None


def test_a_section_of_another_length_than_announced_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "index"
    _save(path, _bulk(100))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="announced"):
        write(path, _HEADER, [section("bulk", [_bulk(99)], 100)])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "index"
    _save(path, _bulk(100))
    before = path.read_bytes()
    with _file_size_limit(1 << 20), pytest.raises(DiskFull, match="memories are safe"):
        _save(path, _bulk(3 << 20))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EROFS, DirectoryNotWritable),
        (errno.EACCES, DirectoryNotWritable),
        (errno.EIO, StorageError),
    ],
)
def test_a_refusal_of_the_file_system_has_a_name(code: int, error: type[StorageError]) -> None:
    assert type(snapshot._refusal(OSError(code, "refused"), Path("index"))) is error


def test_a_process_killed_while_saving_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "index"
    _save(path, _bulk(100))
    before = path.read_bytes()
    program = """if True:
        import os, signal, sys
        from pathlib import Path
        from ums_core.index.snapshot import Section, write
        def put(sink):
            sink(bytes(5 << 20))
            os.kill(os.getpid(), signal.SIGKILL)
        write(Path(sys.argv[1]), {}, [Section("bulk", 10 << 20, put)])
    """
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    (left,) = (other for other in tmp_path.iterdir() if other != path)
    _save(path, _bulk(200))
    assert not left.exists(), "nobody holds it any more"


def test_a_file_that_vanishes_while_it_is_written_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "index"

    def remove(sink: Sink) -> None:
        sink(b"x")
        for left in tmp_path.iterdir():
            left.unlink()

    with pytest.raises(StorageError, match="cannot be written"):
        write(path, {}, [Section("bulk", 1, remove)])
    assert list(tmp_path.iterdir()) == []
