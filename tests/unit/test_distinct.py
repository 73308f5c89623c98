"""What is stored already: exact words, near vectors, and what is no duplicate."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest

from ums_core import Draft, LocalStore, Memory, Query, UnifiedSettings, open_store
from ums_core.pipeline.distinct import fingerprint
from ums_core.records.distinct import Duplicate
from ums_core.settings.database import url_of

START = datetime(2026, 3, 1, tzinfo=UTC)


def opened(**settings: object) -> LocalStore:
    return open_store(UnifiedSettings.for_testing(**settings))


def test_the_same_words_have_the_same_fingerprint() -> None:
    assert fingerprint("  Caf\u00e9\tau  LAIT\n") == fingerprint("cafe\u0301 au lait")
    assert fingerprint("cafe au lait") != fingerprint("caf\u00e9 au lait")


def test_without_vectors_only_the_same_text_is_known() -> None:
    with opened(model={"embedder": "none"}) as store:
        store.add([Draft(id="a", text="The gate is green")])
        told = store.add_distinct([Draft(text="The gate is green"), Draft(text="The gate is greenish")])
        assert [(each.draft, each.id, each.exact) for each in told.duplicates] == [(0, "a", True)]
        # What has metadata alone is like nothing.
        assert store.add_distinct([Draft(metadata={"a": 1}), Draft(metadata={"a": 1})]).stored == 2


def test_a_long_text_is_a_duplicate_only_word_by_word() -> None:
    long = " ".join(f"word{n}" for n in range(3000))
    with opened() as store:
        (memory,) = store.add([Draft(id="a", text=long)])
        assert len(memory.passages) > 1
        told = store.add_distinct([Draft(text=long.upper()), Draft(text=f"{long} more"), Draft(text=long.split()[0])])
        assert [(each.draft, each.id) for each in told.duplicates] == [(0, "a")]


def test_the_nearest_counts_and_the_threshold_is_the_callers() -> None:
    with opened(model={"embedder": "none", "vector_dim": 3}) as store:
        store.add([Draft(id="a", embedding=[1, 0, 0]), Draft(id="b", embedding=[1, 0.3, 0])])
        said = [Draft(embedding=[1, 0.2, 0]), Draft(embedding=[0, 0, 1])]
        near = store.add_distinct(said, similarity=0.99)
        assert [(each.draft, each.id, each.exact) for each in near.duplicates] == [(0, "b", False)]
        assert near.duplicates[0].similarity == pytest.approx(0.9958, abs=1e-3)
        assert near.stored == 1
        strict = store.add_distinct([Draft(embedding=[1, 0.2, 0])], similarity=0.9999)
        assert strict.duplicates == ()


def test_in_a_batch_the_first_is_known_by_its_vector_too() -> None:
    with opened(model={"embedder": "none", "vector_dim": 3}) as store:
        said = [
            Draft(id="a", text="one", embedding=[1, 0, 0]),
            Draft(id="b", text="two", embedding=[0, 1, 0]),
            Draft(id="c", text="three", embedding=[0, 1, 0.01]),
            Draft(id="a", text="four", embedding=[1, 0, 0]),
        ]
        told = store.add_distinct(said)
        assert [(each.draft, each.id) for each in told.duplicates] == [(2, "b")]
        assert [memory.id for memory in told.memories] == ["a", "b", "b", "a"]


def test_what_was_known_and_is_gone_by_the_time_of_writing_is_stored_after_all() -> None:
    with opened() as store:
        prepared = store._ingest.prepare([Draft(id="b", text="The gate is green")])
        known = {0: Duplicate(draft=0, id="a", similarity=1.0, exact=True)}
        memories, new = store._database.write(lambda tx: store._distinct(tx, prepared, known, merge=True))
        assert ([memory.id for memory in memories], new) == (["b"], 1)


@pytest.mark.parametrize("meanwhile", ["The gate is  GREEN", "the gate is green today", "Ada likes tea"])
def test_what_another_store_adds_while_duplicates_are_looked_for_is_known(tmp_path: Path, meanwhile: str) -> None:
    settings = UnifiedSettings.for_testing(database={"url": url_of(tmp_path / "memory.db")})
    # The store asks the time once for the batch, and in each search that finds what expires: the third one is the last.
    asked: list[bool] = []

    def clock() -> datetime:
        asked.append(True)
        if len(asked) == 3:
            other.add([Draft(id="gone", text="The gate is green", expires_at=START), Draft(id="a", text=meanwhile)])
        return START

    with open_store(settings, clock=lambda: START) as other, open_store(settings, clock=clock) as store:
        store.add([Draft(id="z", text="Nothing like it", ttl_s=1000)])
        asked.clear()
        said = [Draft(text="the gate is green"), Draft(metadata={"a": 1}), Draft(text="word " * 600)]
        told = store.add_distinct(said, similarity=0.7)
        alike = [(0, "a")] if "gate" in meanwhile else []
        assert [(each.draft, each.id) for each in told.duplicates] == alike
        assert told.stored == 3 - len(alike)


def test_of_callers_at_one_moment_one_stores(tmp_path: Path) -> None:
    settings = UnifiedSettings.for_testing(database={"url": url_of(tmp_path / "memory.db")})
    with ExitStack() as stack:
        stores = [stack.enter_context(open_store(settings)) for _ in range(2)] * 2
        with ThreadPoolExecutor(len(stores)) as pool:
            for number in range(10):
                start = Barrier(len(stores))

                def say(store: LocalStore, number: int = number, start: Barrier = start) -> int:
                    start.wait()
                    return store.add_distinct([Draft(text=f"The gate has code {number}{number}")]).stored

                assert sum(pool.map(say, stores)) == 1


def test_merging_says_nothing_new_where_there_is_nothing_new() -> None:
    with opened() as store:
        (known,) = store.add([Draft(id="a", text="The gate is green", tags=("x",))])
        (told,) = store.add_distinct([Draft(text="the gate is green", tags=("x",))], duplicates="merge").memories
        assert (told.id, told.tags, told.updated_at) == (known.id, known.tags, known.updated_at)
        # That it was said again is a use.
        assert (known.accesses, told.accesses) == (0, 1)
        assert told.last_accessed_at > known.last_accessed_at
        several = [Draft(text="the gate is green", tags=(tag,)) for tag in "yz"]
        (memory, again) = store.add_distinct(several, duplicates="merge").memories
        assert isinstance(memory, Memory)
        assert memory == again
        assert memory.tags == ("x", "y", "z")


def test_what_has_expired_is_not_known_any_more(tmp_path: Path) -> None:
    now = [START]
    settings = UnifiedSettings.for_testing(database={"url": url_of(tmp_path / "memory.db")})
    with open_store(settings, clock=lambda: now[0]) as store:
        store.add([Draft(id="old", text="The gate is green", ttl_s=60)])
        known = store.add_distinct([Draft(text="The gate is green")])
        assert [each.id for each in known.duplicates] == ["old"]
        now[0] += timedelta(seconds=61)
        prepared = store._ingest.prepare([Draft(id="late", text="The gate is green")])
        # It came to its end between the look and the write.
        found = {0: Duplicate(draft=0, id="old", similarity=1.0, exact=True)}
        memories, new = store._database.write(lambda tx: store._distinct(tx, prepared, found, merge=True))
        assert ([memory.id for memory in memories], new) == (["late"], 1)
        store.delete(["late"])
        told = store.add_distinct([Draft(id="new", text="The gate is green")])
        assert (told.stored, told.duplicates) == (1, ())
        assert store.sweep() == 1
        assert [hit.memory.id for hit in store.search(Query(text="gate"))] == ["new"]


def test_what_many_namespaces_below_say_hides_no_duplicate() -> None:
    with opened() as store:
        store.add([Draft(text="hello there", namespace=("org", f"u{n}")) for n in range(120)])
        store.add([Draft(id="own", text="hello there", namespace=("org",))])
        told = store.add_distinct([Draft(text="hello there", namespace=("org",))])
        assert [each.id for each in told.duplicates] == ["own"]
        assert store.add_distinct([Draft(text="hello there", namespace=("org", "new"))]).stored == 1
