"""Killed while it consolidates, forgets or takes back: every memory is in one place, and work goes on."""

import random
import shutil
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from thorough import count

from ums_core import Draft, LocalStore, UnifiedSettings, open_store
from ums_core.settings.database import url_of
from ums_core.storage.connect import load_driver
from ums_core.testing.worker import _START

pytestmark = [pytest.mark.faults, pytest.mark.no_cover]

ROUNDS = count(3, 120)
SPACES = ("a", "b")
TOPICS, EACH = 10, 4
# A kill comes so long after the work began, at most; a whole turn of it takes about as long.
LONGEST_S = 0.5


def opened(directory: Path) -> LocalStore:
    return open_store(UnifiedSettings.for_testing(database={"url": url_of(directory / "memory.db")}))


def drafts() -> list[Draft]:
    """Some memories about each topic, in two namespaces whose ids tell which."""
    return [
        Draft(
            id=f"{space}-{topic}-{n}",
            namespace=(space,),
            text=f"topic{topic} thing{topic} place{topic} word{n}",
            importance=n / EACH,
        )
        for space in SPACES
        for topic in range(TOPICS)
        for n in range(EACH)
    ]


def toil(directory: Path, seed: int, told: Connection) -> None:
    """Merge, forget and take back, again and again, until somebody kills it."""
    rng = random.Random(seed)
    store = opened(directory)
    told.send("go")
    while True:
        merged = store.consolidate(threshold=0.5, namespace=(rng.choice(SPACES),))
        forgotten = store.forget(retain_fraction=rng.random(), namespace=(rng.choice(SPACES),))
        for batch in rng.sample([forgotten.batch, merged.batch], 2):
            if batch is not None:
                store.undo(batch)


def check(store: LocalStore, path: Path) -> None:
    """Every memory that was acknowledged is in one place, and nothing stands for what lies elsewhere."""
    assert store.verify() == []
    assert store.verify_history() == []
    with load_driver().connect(f"file:{path / 'memory.db'}?mode=ro", uri=True) as connection:
        spaces = dict(connection.execute("SELECT nid, rtrim(path, '/') FROM namespaces").fetchall())
        live = connection.execute("SELECT nid, id, level FROM memories").fetchall()
        away = connection.execute("SELECT nid, id, level, why, under, until FROM archived").fetchall()
    known = {(nid, id_) for nid, id_, _ in live} | {(row[0], row[1]) for row in away}
    assert len(known) == len(live) + len(away), "a memory is in two places"
    told = [(nid, id_) for nid, id_, level, *_ in [*live, *away] if not level]
    assert sorted(id_ for _, id_ in told) == sorted(draft.id or "" for draft in drafts())
    assert all(id_.startswith(f"{spaces[nid]}-") for nid, id_ in told), "a memory crossed a namespace"
    for nid, _, _, why, under, until in away:
        if why == "consolidated":
            assert (nid, under) in known, "a source stands under a summary that is nowhere"
        else:
            assert why == "forgotten"
            assert until > time.time() * 1e6
    connection.close()


def test_killed_at_any_moment_each_memory_is_in_one_place_and_work_goes_on(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    with opened(base) as store:
        store.add(drafts())
    rng = random.Random(11)
    for round_ in range(ROUNDS):
        place = tmp_path / f"round{round_}"
        shutil.copytree(base, place)
        here, there = _START.Pipe()
        child = _START.Process(target=toil, args=(place, round_, there))
        child.start()
        assert here.poll(60)
        assert here.recv() == "go"
        time.sleep(rng.uniform(0, LONGEST_S))
        child.kill()
        child.join()
        with opened(place) as store:
            check(store, place)
            # What was not done is done now, and can be taken back.
            assert store.consolidate(threshold=0.5).complete
            forgotten = store.forget(retain_fraction=0.5)
            check(store, place)
            if forgotten.batch is not None:
                store.undo(forgotten.batch)
            check(store, place)
        shutil.rmtree(place)
