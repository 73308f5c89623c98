"""Full, read-only and damaged disks: a typed error, or the right answer, and nothing acknowledged is lost."""

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ums_core import LocalStore, Query
from ums_core.errors import (
    DatabaseEncrypted,
    DirectoryNotWritable,
    DiskFull,
    IndexRecovering,
    NotADatabase,
    StorageError,
)
from ums_core.testing.samples import assert_found, unit
from ums_core.testing.worker import Worker, WorkerError
from ums_core.testing.workload import Place, version_of

pytestmark = pytest.mark.faults

BACKENDS = ["exact", pytest.param("faiss", marks=pytest.mark.needs_faiss)]
GRAPH_SIZE = 6500
UNLIMITED = -1

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a file system in memory with the options given, where that is allowed."""
    mounted: list[Path] = []

    def make(options: str) -> Path:
        target = tmp_path / f"mounted{len(mounted)}"
        target.mkdir()
        done = _system("mount", "-t", "tmpfs", "-o", options, "tmpfs", target)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted.append(target)
        return target

    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root and mount(8)")
    yield make
    for target in mounted:
        assert _system("umount", target).returncode == 0


def _system(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(shutil.which(command)), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def _fill(store: LocalStore, place: Place, prefix: str) -> dict[str, int]:
    """Add until the disk is full, and return what was acknowledged."""
    acknowledged: dict[str, int] = {}
    for number in range(100_000):
        ids = [f"{prefix}-{number}-{part}" for part in range(5)]
        try:
            store.add([place.draft(id_, 0) for id_ in ids])
        except DiskFull:
            return acknowledged
        acknowledged |= dict.fromkeys(ids, 0)
    raise AssertionError("the disk was never full")


def _assert_holds(store: LocalStore, place: Place, acknowledged: dict[str, int]) -> None:
    memories = store.scan(limit=1_000_000).memories
    assert {memory.id: version_of(memory, place.dim) for memory in memories} == acknowledged
    for id_ in random.Random(0).sample(sorted(acknowledged), min(50, len(acknowledged))):
        assert_found(store.search(Query(vector=unit(f"{id_}#{acknowledged[id_]}", place.dim), k=1)), id_)


@pytest.mark.parametrize("kib", [40, 150, 600])
@pytest.mark.parametrize("checkpoint_writes", [5, 100_000])
def test_a_write_beyond_the_size_limit_is_refused_and_none_before_it_is_lost(
    tmp_path: Path, kib: int, checkpoint_writes: int
) -> None:
    place = Place(str(tmp_path / "memory.db"), checkpoint_writes=checkpoint_writes)
    acknowledged: dict[str, int] = {}
    with Worker.obeying(place) as worker:
        worker.ask("limit", size=kib * 1024)

        def fill() -> None:
            for number in range(10_000):
                ids = [f"a-{number}-{part}" for part in range(5)]
                worker.ask("add", effect=dict.fromkeys(ids, 0))
                acknowledged.update(dict.fromkeys(ids, 0))

        with pytest.raises(WorkerError, match="disk_full"):
            fill()
        assert worker.ask("count") == len(acknowledged)
        if acknowledged:
            assert worker.ask("find", id="a-0-1", version=0) == ["a-0-1"]
        # The same store goes on once there is room.
        worker.ask("limit", size=UNLIMITED)
        worker.ask("add", effect={"b-0": 0})
        acknowledged["b-0"] = 0
        worker.ask("limit", size=kib * 1024)
        assert worker.finish() == 0
    with place.open() as store:
        _assert_holds(store, place, acknowledged)
        assert store.verify() == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_full_file_system_refuses_writes_and_keeps_what_it_has(mount: Mount, backend: str) -> None:
    place = Place(str(mount("size=4m") / "memory.db"), backend=backend, checkpoint_writes=50)
    with place.open() as store:
        acknowledged = _fill(store, place, "a")
        assert len(acknowledged) > 500
        _assert_holds(store, place, acknowledged)
        with pytest.raises(DiskFull):
            store.add([place.draft(f"b-{number}", 0) for number in range(200)])
        assert store.health().status == "ok"
    with place.open() as store:
        _assert_holds(store, place, acknowledged)
        assert store.verify() == []


def test_a_store_on_a_full_file_system_goes_on_once_there_is_room(mount: Mount) -> None:
    directory = mount("size=4m")
    place = Place(str(directory / "memory.db"), checkpoint_writes=50)
    (directory / "something else").write_bytes(bytes(2**21))
    with place.open() as store:
        acknowledged = _fill(store, place, "a")
        (directory / "something else").unlink()
        store.add([place.draft("b-0", 0)])
        assert store.delete(["b-0"], namespace=("b",)) == 1
        _assert_holds(store, place, acknowledged)
        assert store.verify() == []


def test_a_checkpoint_that_cannot_be_made_fails_no_write(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "memory.db"), checkpoint_writes=1)
    with place.open() as store:
        # Nobody can open this as the lock file that a checkpoint needs.
        Path(f"{place.path}.lock").unlink(missing_ok=True)
        Path(f"{place.path}.lock").mkdir()
        for number in range(3):
            store.add([place.draft(f"a-{number}", 0)])
        _assert_holds(store, place, {f"a-{number}": 0 for number in range(3)})


def test_a_read_only_file_system_is_not_writable(mount: Mount) -> None:
    empty, used = mount("size=1m"), mount("size=4m")
    place = Place(str(used / "memory.db"))
    with place.open() as store:
        store.add([place.draft("a-0", 0)])
    for directory in (empty, used):
        assert _system("mount", "-o", "remount,ro", directory).returncode == 0
        with pytest.raises(DirectoryNotWritable, match="writable"):
            Place(str(directory / "memory.db")).open()
        with pytest.raises(DirectoryNotWritable):
            Place(str(directory / "new" / "memory.db")).open()


@pytest.mark.parametrize("damage", ["header", "first page", "a page", "cut to half", "cut to a page", "cut to a word"])
def test_a_damaged_database_is_a_typed_error_or_the_right_answer(tmp_path: Path, damage: str) -> None:
    place = Place(str(tmp_path / "memory.db"))
    ids = [f"a-{number}" for number in range(200)]
    with place.open() as store:
        store.add([place.draft(id_, 0) for id_ in ids])
    content = bytearray(Path(place.path).read_bytes())
    if damage.startswith("cut"):
        content = content[: {"half": len(content) // 2, "a page": 4096, "a word": 4}[damage.removeprefix("cut to ")]]
    else:
        start, size = {"header": (0, 100), "first page": (100, 3996), "a page": (5 * 4096, 4096)}[damage]
        content[start : start + size] = random.Random(1).randbytes(size)
    Path(place.path).write_bytes(content)

    def use() -> None:
        with place.open() as store:
            assert store.count() == len(ids)
            _assert_holds(store, place, dict.fromkeys(ids, 0))
            store.add([place.draft("b-0", 0)])
            store.delete(ids[:10], namespace=("a",))

    with pytest.raises(StorageError) as caught:
        use()
    # Without its header a file is like an encrypted one.
    assert type(caught.value) is (DatabaseEncrypted if damage == "header" else NotADatabase)


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(place: float) -> Callable[[bytes], bytes]:
    def flip(content: bytes) -> bytes:
        spoilt = bytearray(content)
        spoilt[int(place * (len(content) - 1))] ^= 0x10
        return bytes(spoilt)

    return flip


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "garbage": lambda content: random.Random(2).randbytes(len(content)),
    "cut": _cut,
    "longer": lambda content: content + b"\0",
    "first byte": _flip(0),
    "header": _flip(0.02),
    "middle": _flip(0.5),
    "late": _flip(0.9),
    "last byte": _flip(1),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_snapshot_is_made_good_without_a_word(tmp_path: Path, backend: str, damage: str) -> None:
    place = Place(str(tmp_path / "memory.db"), backend=backend)
    versions = {f"a-{number}": 0 for number in range(100)}
    with place.open() as store:
        store.add([place.draft(id_, 0) for id_ in versions])
    (snapshot,) = tmp_path.glob("*.index")
    snapshot.write_bytes(DAMAGES[damage](snapshot.read_bytes()))
    with place.open() as store:
        _assert_holds(store, place, versions)
        assert (store.verify(), store.health().status) == ([], "ok")
        store.add([place.draft("a-new", 0)])
    with place.open() as store:
        _assert_holds(store, place, versions | {"a-new": 0})


def test_a_snapshot_of_another_database_is_not_believed(tmp_path: Path) -> None:
    places = [Place(str(tmp_path / name / "memory.db")) for name in ("one", "two")]
    for number, place in enumerate(places):
        with place.open() as store:
            store.add([place.draft(f"{number}-{n}", 0) for n in range(20)])
    name = "memory.db.text.index"
    shutil.copy(tmp_path / "one" / name, tmp_path / "two" / name)
    with places[1].open() as store:
        _assert_holds(store, places[1], {f"1-{n}": 0 for n in range(20)})
        assert store.verify() == []


@pytest.mark.needs_faiss
def test_a_large_index_answers_exactly_while_it_is_rebuilt_and_refuses_writes(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "memory.db"), backend="faiss")
    versions = {f"a-{number}": 0 for number in range(GRAPH_SIZE)}
    with place.open() as store:
        ids = list(versions)
        for start in range(0, GRAPH_SIZE, 500):
            store.add([place.draft(id_, 0) for id_ in ids[start : start + 500]])
    (snapshot,) = tmp_path.glob("*.index")
    snapshot.write_bytes(_flip(0.7)(snapshot.read_bytes()))
    with place.open() as store:
        # Whoever builds the graph waits with it until all this was looked at.
        with store._indexes.held()["text"]._changed:  # type: ignore[attr-defined]  # of faiss
            assert store.health().status == "recovering"
            _assert_holds(store, place, versions)
            calls: list[Callable[[], Any]] = [
                lambda: store.add([place.draft("b-0", 0)]),
                lambda: store.delete(["a-1"], namespace=("a",)),
            ]
            for call in calls:
                with pytest.raises(IndexRecovering) as caught:
                    call()
                assert caught.value.retry_after_s > 0
        store.settle()
        assert (store.health().status, store.verify()) == ("ok", [])
        store.add([place.draft("b-0", 0)])
        _assert_holds(store, place, versions | {"b-0": 0})


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_older_copy_of_the_database_beside_a_newer_snapshot_is_answered_right(tmp_path: Path, backend: str) -> None:
    place = Place(str(tmp_path / "memory.db"), backend=backend)
    copy = tmp_path / "copy of the database"
    versions = {f"a-{number}": 0 for number in range(50)}
    with place.open() as store:
        store.add([place.draft(id_, 0) for id_ in versions])
    shutil.copy(place.path, copy)
    with place.open() as store:
        store.add([place.draft(f"late-{number}", 0) for number in range(50)])
        store.delete([f"a-{number}" for number in range(0, 50, 2)], namespace=("a",))
    shutil.copy(copy, place.path)
    for _ in range(2):
        with place.open() as store:
            _assert_holds(store, place, versions)
            assert store.verify() == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_copy_of_the_database_that_went_its_own_way_does_not_believe_the_snapshot(
    tmp_path: Path, backend: str
) -> None:
    place = Place(str(tmp_path / "here" / "memory.db"), backend=backend)
    elsewhere = replace(place, path=str(tmp_path / "elsewhere" / "memory.db"))
    Path(elsewhere.path).parent.mkdir()
    with place.open() as store:
        store.add([place.draft("a-0", 0)])
    shutil.copy(place.path, elsewhere.path)
    with place.open() as store:
        store.add([place.draft("here-0", 0)])
    with elsewhere.open() as store:
        store.add([place.draft("elsewhere-0", 0)])
        store.add([place.draft("elsewhere-1", 0)])
    # The database comes back, the snapshot beside it is of what happened here.
    shutil.copy(elsewhere.path, place.path)
    with place.open() as store:
        _assert_holds(store, place, {"a-0": 0, "elsewhere-0": 0, "elsewhere-1": 0})
        assert store.verify() == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_older_snapshot_beside_a_newer_database_catches_up(tmp_path: Path, backend: str) -> None:
    place = Place(str(tmp_path / "memory.db"), backend=backend)
    snapshot = tmp_path / "memory.db.text.index"
    with place.open() as store:
        store.add([place.draft(f"a-{number}", 0) for number in range(50)])
    older = snapshot.read_bytes()
    with place.open() as store:
        store.add([place.draft("b-0", 0), place.draft("a-1", 1)])
        store.delete(["a-0"], namespace=("a",))
    snapshot.write_bytes(older)
    versions = {f"a-{number}": 0 for number in range(2, 50)} | {"a-1": 1, "b-0": 0}
    with place.open() as store:
        _assert_holds(store, place, versions)
        assert store.verify() == []
