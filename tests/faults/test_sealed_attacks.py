"""What is done to sealed stores from outside: files swapped and replaced, kills, a full disk, two rotations at once."""

import multiprocessing
import os
import random
import shutil
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, combinations
from pathlib import Path

import pytest
from thorough import count

from ums_core import Draft, Query, UnifiedSettings, open_store
from ums_core.channels.care import decrypt_store, encrypt_store
from ums_core.errors import DatabaseBusy, KeyFileUnsafe, SettingsError, StorageError, TamperSuspected, UMSError
from ums_core.settings.database import url_of
from ums_core.testing.sealed import SEALED, SEALED_FIELDS
from ums_core.testing.worker import Worker, WorkerError
from ums_core.testing.workload import Place

pytestmark = [pytest.mark.faults, pytest.mark.needs_sqlcipher]

MODES = {"pages": SEALED, "fields": SEALED_FIELDS}
FILES = ("memory.db", "memory.db.anchor", "memory.db.keys.json", "memory.db.text.index")


def settings(place: Path, security: dict[str, object]) -> UnifiedSettings:
    return UnifiedSettings.for_testing(
        database={"url": url_of(place / "memory.db"), "backend": "exact"},
        model={"embedder": "hashing:16", "vector_dim": 16},
        security=security,
    )


def filled(place: Path, name: str, security: dict[str, object], size: int = 12) -> None:
    with open_store(settings(place, security)) as store:
        store.add([Draft(id=f"{n}", text=f"zebra {name} {n}") for n in range(size)])


@pytest.mark.parametrize("mode", MODES)
def test_any_files_swapped_between_two_databases_are_noticed(tmp_path: Path, mode: str) -> None:
    for name in "ab":
        filled(tmp_path / name, name, MODES[mode])
    said = {}
    for swapped in chain.from_iterable(combinations(FILES, size) for size in range(1, len(FILES) + 1)):
        place = tmp_path / "mixed"
        shutil.copytree(tmp_path / "a", place)
        for file in swapped:
            shutil.copy2(tmp_path / "b" / file, place)
        try:
            with open_store(settings(place, MODES[mode])) as store:
                texts = {memory.text.split()[1] for memory in store.scan().memories}
                texts |= {hit.memory.text.split()[1] for hit in store.search(Query(text="zebra", k=50))}
                texts |= {hit.memory.text.split()[1] for hit in store.search(Query(text="zebra", mode="vector", k=50))}
                assert (store.count(), store.verify()) == (12, [])
                said[frozenset(swapped)] = "".join(texts), store.health().status
        except UMSError as error:
            said[frozenset(swapped)] = error.code, ""
        shutil.rmtree(place)
    index = frozenset(FILES[3:])
    # The index is a cache, so it may be anybody's. The others open as a whole, or with a warning, or not at all.
    expected = {
        frozenset(): ("a", "ok"),
        frozenset(FILES[:3]): ("b", "ok"),
        frozenset({FILES[1]}): ("a", "degraded"),
        frozenset({FILES[0], FILES[2]}): ("b", "degraded"),
    }
    assert said == {swapped: expected.get(swapped - index, ("wrong_key", "")) for swapped in said}
    assert len(said) == 15


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["link", "dangling link", "directory", "pipe", "empty"])
def test_what_is_no_file_of_ours_is_an_error_or_a_suspicion(tmp_path: Path, mode: str, what: str) -> None:
    filled(tmp_path / "kept", "a", MODES[mode])
    for name in FILES[1:]:
        place = shutil.copytree(tmp_path / "kept", tmp_path / name)
        file = place / name
        file.rename(place / "elsewhere")
        if what == "directory":
            file.mkdir()
        elif what == "pipe":
            os.mkfifo(file)
        elif what == "empty":
            file.touch(mode=0o600)
        else:
            file.symlink_to(place / ("elsewhere" if what == "link" else "nowhere"))
        chosen = settings(place, MODES[mode])
        if name.endswith(".keys.json"):
            with pytest.raises(UMSError) as refused:
                open_store(chosen)
            assert isinstance(refused.value, KeyFileUnsafe) == (what not in {"dangling link", "empty"})
            continue
        with open_store(chosen) as store:
            assert (store.count(), len(store.search(Query(text="zebra", mode="vector", k=50)))) == (12, 12)
            if name.endswith(".index"):
                assert store.health().status == "ok"
                continue
            assert store.health().status == "degraded"
            with pytest.raises(TamperSuspected):
                store.add([Draft(text="more")])
            if what == "directory":
                with pytest.raises(StorageError, match="cannot be written"):
                    store.accept_state()
                continue
            store.accept_state()
            store.add([Draft(text="more")])
        with open_store(chosen) as store:
            assert (store.count(), store.health().status) == (13, "ok")


def _convert(place: str, mode: str, *, sealing: bool) -> None:
    (encrypt_store if sealing else decrypt_store)(settings(Path(place), MODES[mode]))


@pytest.mark.parametrize("mode", MODES)
def test_a_kill_at_any_moment_of_a_conversion_leaves_a_store_that_opens(tmp_path: Path, mode: str) -> None:
    filled(tmp_path, "a", {}, size=150)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    rng = random.Random(mode)
    sealed = False
    for _ in range(count(8, 100)):
        work = processes.Process(target=_convert, args=(str(tmp_path), mode), kwargs={"sealing": not sealed})
        work.start()
        time.sleep(rng.uniform(0.0, 0.4))
        work.kill()
        work.join()
        # As it was, or as it was to be: it opens without a doubt, and holds everything.
        kinds = [MODES[mode] if sealed else {}, {} if sealed else MODES[mode]]
        opened = []
        for kind in kinds:
            try:
                store = open_store(settings(tmp_path, kind))
            except UMSError:
                continue
            with store:
                assert (store.count(), store.health().status, store.verify()) == (150, "ok", [])
                assert len(store.search(Query(text="zebra", mode="keyword", k=200))) == 150
            opened.append(kind)
        assert len(opened) == 1
        if opened == kinds[:1]:
            _convert(str(tmp_path), mode, sealing=not sealed)
        elif sealed and (tmp_path / "memory.db.keys.json").exists():
            # Killed just before it destroyed the keys.
            decrypt_store(settings(tmp_path, MODES[mode]))
        sealed = not sealed
        assert not list(tmp_path.glob(".*"))
        readable = [path for path in tmp_path.iterdir() if b"zebra" in path.read_bytes()]
        assert bool(readable) != sealed


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kib", [1, 30, 200])
def test_a_disk_that_is_full_during_a_rotation_loses_nothing_and_it_goes_on_once_there_is_room(
    tmp_path: Path, mode: str, kib: int
) -> None:
    place = Place(str(tmp_path / "memory.db"), security=MODES[mode], checkpoint_writes=100_000)
    with Worker.obeying(place) as worker:
        worker.ask("add", effect={f"a-{number}": 0 for number in range(150)})
        worker.ask("limit", size=kib * 1024)
        for order in ({"verb": "rotate"}, {"verb": "backup", "path": str(tmp_path / "backup")}):
            with pytest.raises(WorkerError, match="disk_full"):
                worker.ask(**order)
        worker.ask("limit", size=-1)
        # The same store goes on.
        assert (worker.ask("count"), worker.ask("find", id="a-3", version=0)) == (150, ["a-3"])
        worker.ask("add", effect={"b-0": 0})
        key = worker.ask("rotate")
        assert (worker.ask("count"), worker.ask("verify"), worker.finish()) == (151, [], 0)
    with place.open() as store:
        state = store.key_state()
        assert (store.count(), store.health().status) == (151, "ok")
        assert (state.active, state.pending, state.former) == (key, None, ())


@contextmanager
def raises_at_most(code: str | None) -> Iterator[None]:
    try:
        yield
    except WorkerError as error:
        if str(error) != code:
            raise


@pytest.mark.parametrize("mode", MODES)
def test_two_who_rotate_at_once_lose_nothing_and_both_go_on(tmp_path: Path, mode: str) -> None:
    place = Place(str(tmp_path / "memory.db"), security=MODES[mode])
    rounds = count(3, 50)
    with Worker.obeying(place) as one, Worker.obeying(place) as other:
        one.ask("add", effect={f"a-{number}": 0 for number in range(60)})
        for number in range(rounds):
            for each in (one, other):
                each.order("rotate")
            for each in (one, other):
                # A file whose pages are encrypted anew is nobody else's meanwhile.
                with raises_at_most(DatabaseBusy.code if mode == "pages" else None):
                    assert len(each.answer()) == 16
            one.ask("add", effect={f"b-{number}": 0})
            other.ask("add", effect={f"c-{number}": 0})
            for each in (one, other):
                assert (each.ask("count"), each.ask("find", id="a-3", version=0)) == (62 + 2 * number, ["a-3"])
        assert [each.ask("verify") for each in (one, other)] == [[], []]
        assert [each.finish() for each in (one, other)] == [0, 0]
    with place.open() as store:
        assert (store.count(), store.health().status) == (60 + 2 * rounds, "ok")
        assert store.rotate().former == ()


KEY = urlsafe_b64encode(os.urandom(32)).decode()


@pytest.mark.parametrize(
    ("security", "mode", "said"),
    [
        ({}, 0o700, "not sealed"),
        ({"encryption_key": KEY}, 0o700, "whole files"),
        ({"encrypt_at_rest": True, "encryption_key": urlsafe_b64encode(bytes(32)).decode()}, 0o700, "random"),
        ({"encrypt_at_rest": True, "encryption_key": urlsafe_b64encode(bytes(range(7, 39))).decode()}, 0o700, "random"),
        (SEALED, 0o700, "random"),
        ({"encrypt_at_rest": True}, 0o700, "needs a key"),
        ({"encrypt_at_rest": True, "encryption_key": KEY}, 0o755, "open to every user"),
        ({"encrypt_at_rest": True, "encryption_key": KEY}, 0o701, "open to every user"),
    ],
)
def test_production_opens_nothing_that_is_unsafe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: dict[str, object], mode: int, said: str
) -> None:
    place = tmp_path / "data"
    place.mkdir(mode=0o700)
    place.chmod(mode)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=said):
        open_store(
            UnifiedSettings(
                env="production",
                database={"url": url_of(place / "memory.db"), "backend": "exact"},
                model={"embedder": "hashing:16", "vector_dim": 16},
                security=security,
            )
        )
    assert not list(place.iterdir())
