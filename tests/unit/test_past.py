"""What was superseded, summarised or forgotten answers whoever asks for it, and nobody else."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ums_core import Draft, LocalStore, Passage, Query, UnifiedSettings, open_store
from ums_core.errors import InvalidField, InvalidInput, InvalidNamespace, InvalidQuery, MemoryNotFound, SettingsError
from ums_core.records.query import Mode
from ums_core.settings.database import url_of

START = datetime(2026, 1, 1, tzinfo=UTC)


class Times:
    """A time that only the test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, days: float) -> datetime:
        self.now += timedelta(days=days)
        return self.now


@pytest.fixture
def times() -> Times:
    return Times()


def opened(place: Path, times: Times, **lifetime: object) -> LocalStore:
    settings = UnifiedSettings.for_testing(
        database={"url": url_of(place / "memory.db"), "backend": "exact"},
        model={"embedder": "hashing:32", "vector_dim": 32},
        lifetime=lifetime,
    )
    return open_store(settings, clock=times)


@pytest.fixture
def store(tmp_path: Path, times: Times) -> Iterator[LocalStore]:
    with opened(tmp_path, times) as made:
        yield made


def ids(store: LocalStore, text: str = "Ada lives where", **options: object) -> list[str]:
    hits = store.search(Query(text=text, **options))  # type: ignore[arg-type]  # of a query
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    return [hit.memory.id for hit in hits]


def moved(store: LocalStore, times: Times) -> list[datetime]:
    """Ada lives in one place after another; the moments between."""
    moments = []
    store.add([Draft(id="turin", text="Ada lives in Turin")])
    for old, new in (("turin", "paris"), ("paris", "oslo")):
        moments.append(times.pass_(1))
        times.pass_(1)
        store.supersede(old, Draft(id=new, text=f"Ada lives in {new.title()}"))
    return [*moments, times.pass_(1)]


def test_a_correction_takes_the_place_of_what_it_corrects(store: LocalStore, times: Times) -> None:
    before = store.add([Draft(id="turin", text="Ada lives in Turin", namespace=("n",))])
    now = times.pass_(1)
    new = store.supersede("turin", Draft(text="Ada lives in Paris"), namespace=("n",))
    assert (new.namespace, new.valid_from, new.archived) == (("n",), now, None)
    assert store.scan().memories == [new]
    assert store.verify() == []
    (old,) = (hit.memory for hit in store.search(Query(text="Turin", mode="keyword", include_archived=True)))
    assert (old.archived, old.under, old.valid_to) == ("superseded", new.id, now)
    assert replace(old, archived=None, under=None, valid_to=None, batch=None) == before[0]


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
def test_an_answer_is_that_of_its_moment(store: LocalStore, times: Times, mode: Mode) -> None:
    moments = moved(store, times)
    assert [ids(store, mode=mode, as_of=moment) for moment in moments] == [["turin"], ["paris"], ["oslo"]]
    assert ids(store, mode=mode) == ["oslo"]
    assert sorted(ids(store, mode=mode, include_archived=True)) == ["oslo", "paris", "turin"]
    assert ids(store, mode=mode, as_of=START - timedelta(seconds=1)) == []


def test_a_fact_may_have_been_true_before_it_was_told(store: LocalStore, times: Times) -> None:
    store.add([Draft(id="turin", text="Ada lives in Turin", valid_from=START - timedelta(days=100))])
    times.pass_(10)
    store.supersede("turin", Draft(id="paris", text="Ada lives in Paris", valid_from=START + timedelta(days=5)))
    answers = [ids(store, as_of=START + timedelta(days=days)) for days in (-101, -1, 4, 5, 9)]
    assert answers == [[], ["turin"], ["turin"], ["paris"], ["paris"]]


def test_what_was_forgotten_was_there_until_then(store: LocalStore, times: Times) -> None:
    store.add([Draft(id="a", text="Ada lives in Turin")])
    before = times.pass_(1)
    times.pass_(1)
    store.forget(retain_fraction=0)
    assert ids(store) == []
    assert ids(store, as_of=before) == ["a"]
    assert ids(store, as_of=times.pass_(1)) == []
    assert ids(store, include_archived=True) == ["a"]
    times.pass_(40)
    assert ids(store, include_archived=True) == ids(store, as_of=before) == []


def test_the_archive_is_filtered_as_the_living_are(store: LocalStore, times: Times) -> None:
    store.add(
        [
            Draft(id="a", text="Ada lives in Turin", namespace=("x", "y"), level=1, tags=("t",)),
            Draft(id="b", text="Ada lives in Paris", namespace=("x",), importance=0.9),
            Draft(id="c", text="Ada lives in Oslo", namespace=("xy",), ttl_s=86400 * 3),
            Draft(id="live", text="Ada lives on", namespace=("x",)),
        ]
    )
    store.forget(retain_fraction=0, where={"id": {"$ne": "live"}})
    assert sorted(ids(store, include_archived=True, namespace=("x",))) == ["a", "b", "live"]
    assert ids(store, include_archived=True, level=1) == ["a"]
    assert ids(store, include_archived=True, level=1, filter={"tags": {"$contains": "t"}}) == ["a"]
    assert ids(store, include_archived=True, filter={"importance": {"$gt": 0.8}}) == ["b"]
    assert ids(store, as_of=START, filter={"importance": {"$gt": 0.8}}) == []
    assert ids(store, as_of=START, level=0, namespace=("x",)) == ["live"]
    assert "c" in ids(store, include_archived=True)
    times.pass_(3)
    assert "c" not in ids(store, include_archived=True)


def test_pages_of_the_living_and_the_archived_add_up(store: LocalStore) -> None:
    store.add([Draft(id=f"m{n}", text=f"Ada lives in house {n}", importance=n / 20) for n in range(12)])
    store.forget(retain_fraction=0.5)
    for mode in ("hybrid", "vector", "keyword"):
        whole = ids(store, mode=mode, include_archived=True, k=12)
        assert len(set(whole)) == 12
        pages = [ids(store, mode=mode, include_archived=True, k=5, offset=offset) for offset in (0, 5, 10)]
        assert [id_ for page in pages for id_ in page] == whole


def test_a_cosine_of_the_archive_is_that_of_its_best_passage(store: LocalStore) -> None:
    store.add([Draft(id="two", text="x", passages=(Passage(text="about boats"), Passage(text="Ada lives in Turin")))])
    store.forget(retain_fraction=0)
    query = Query(text="Ada lives in Turin", mode="vector", include_archived=True)
    (hit,) = store.search(query)
    assert (hit.passage, round(hit.similarity or 0, 4), hit.score) == (1, 1.0, hit.similarity)
    assert store.search(replace(query, min_score=0.9)) == [hit]
    assert store.search(replace(query, min_score=1.1)) == []
    (fused,) = store.search(replace(query, mode="hybrid"))
    assert (fused.passage, fused.similarity) == (1, hit.similarity)


def test_an_empty_database_has_no_past(store: LocalStore) -> None:
    assert ids(store, include_archived=True) == []
    assert ids(store, mode="keyword", include_archived=True) == []


def test_words_alone_are_compared_where_there_is_no_vector(tmp_path: Path, times: Times) -> None:
    settings = UnifiedSettings.for_testing(
        database={"url": url_of(tmp_path / "memory.db"), "backend": "exact"}, model={"embedder": "none"}
    )
    with open_store(settings, clock=times) as store:
        store.add([Draft(id="a", text="Ada lives in Turin"), Draft(id="b", text="boats")])
        store.forget(retain_fraction=0)
        assert ids(store, include_archived=True) == ["a"]
        assert ids(store, text="?", include_archived=True) == []


def test_undoing_a_correction_takes_it_back(store: LocalStore, times: Times) -> None:
    before = store.add([Draft(id="turin", text="Ada lives in Turin")])
    store.supersede("turin", Draft(id="paris", text="Ada lives in Paris"))
    times.pass_(1)
    store.supersede("paris", Draft(id="oslo", text="Ada lives in Oslo"))
    first, second = batches(store)
    # The later one comes first.
    assert store.undo(first) == 0
    assert store.undo(second) == 1
    assert store.undo(first) == 1
    assert store.scan().memories == before


def test_a_correction_that_is_deleted_leaves_what_it_corrected_in_the_past(store: LocalStore) -> None:
    store.add([Draft(id="turin", text="Ada lives in Turin")])
    store.supersede("turin", Draft(id="paris", text="Ada lives in Paris"))
    store.delete(["paris"])
    assert ids(store) == []
    assert ids(store, include_archived=True) == ["turin"]
    (batch,) = batches(store)
    assert store.undo(batch) == 1
    assert ids(store) == ["turin"]


def test_a_correction_of_something_else_is_refused(store: LocalStore, times: Times) -> None:
    store.add(
        [Draft(id="turin", text="Ada lives in Turin"), Draft(id="b", text="b"), Draft(id="c", text="c", ttl_s=60)]
    )
    new = Draft(id="paris", text="Ada lives in Paris")
    with pytest.raises(MemoryNotFound, match="'x'"):
        store.supersede("x", new)
    with pytest.raises(MemoryNotFound, match="nowhere"):
        store.supersede("turin", new, namespace=("nowhere",))
    with pytest.raises(InvalidNamespace, match="elsewhere"):
        store.supersede("turin", replace(new, namespace=("elsewhere",)))
    for taken in ("turin", "b"):
        with pytest.raises(InvalidField, match="already"):
            store.supersede("turin", replace(new, id=taken))
    with pytest.raises(InvalidInput):
        store.supersede("turin", "paris")  # type: ignore[arg-type]  # that is the point
    times.pass_(1)
    with pytest.raises(MemoryNotFound, match="'c'"):
        store.supersede("c", new)
    assert store.get(["turin", "paris"])[1] is None


@pytest.mark.parametrize("name", ["include_archived", "as_of"])
def test_a_question_to_the_past_says_what_it_cannot_have(name: str) -> None:
    past: dict[str, object] = {name: True if name == "include_archived" else START}
    for shape in ({"context": 1}, {"group": "session"}, {"max_tokens": 9}, {"diversity": 0.5}, {"explain": True}):
        with pytest.raises(InvalidQuery, match=next(iter(shape))):
            Query(text="a", **past, **shape)  # type: ignore[arg-type]  # of a query
    with pytest.raises(InvalidInput, match=name):
        Query(text="a", **{name: "yes"})  # type: ignore[arg-type]  # that is the point


def test_new_memories_stay_as_long_as_their_namespace_says(tmp_path: Path, times: Times) -> None:
    with opened(tmp_path, times, ttl_s={"": 1000, "users": 100, "users/a%2Fb": 10}) as store:
        places = [(), ("users",), ("users", "c"), ("users", "a/b", "chat"), ("usersx",)]
        memories = store.add([Draft(text="a", namespace=place) for place in places])
        assert [memory.ttl_s for memory in memories] == [1000, 100, 100, 10, 1000]
        assert [memory.expires_at for memory in memories] == [
            START + timedelta(seconds=memory.ttl_s or 0) for memory in memories
        ]
        (own, ended) = store.add([Draft(text="a", ttl_s=5), Draft(text="a", expires_at=START)])
        assert (own.ttl_s, ended.ttl_s) == (5, None)
        assert store.add_distinct([Draft(text="quite another")]).memories[0].ttl_s == 1000
        assert store.supersede(own.id, Draft(text="b")).ttl_s == 1000
        keyed = store.add([Draft(text="c")], idempotency_key="k")
    with opened(tmp_path, times, ttl_s={"users": 100}) as store:
        assert store.add([Draft(text="a")])[0].ttl_s is None
        # The same write, whatever the settings say by now.
        assert store.add([Draft(text="c")], idempotency_key="k") == keyed


@pytest.mark.parametrize("path", ["users/", "/users", "a//b", "/", "a\0"])
def test_a_time_to_live_of_what_is_no_namespace_is_refused(path: str) -> None:
    with pytest.raises(SettingsError, match="names no namespace"):
        UnifiedSettings.for_testing(lifetime={"ttl_s": {path: 60}})


def test_what_is_read_lives_on_where_the_settings_say_so(tmp_path: Path, times: Times) -> None:
    day = 86400
    with opened(tmp_path, times, refresh_on_read=True) as store:
        store.add([Draft(id=id_, text=f"Ada lives in {id_}", ttl_s=2 * day) for id_ in ("a", "b", "c")])
        store.add([Draft(id="forever", text="Ada lives forever")])
        times.pass_(1)
        assert "a" in ids(store, text="a", mode="keyword", filter={"expires_at": {"$lt": START + timedelta(days=2.5)}})
        store.get(["b", "x", "forever"])
        times.pass_(1)
        assert sorted(ids(store, text="Ada", mode="keyword")) == ["a", "b", "forever"]
        store.get(["c"])
        assert ids(store, mode="keyword", filter={"expires_at": {"$gt": times.now}}) == ["a", "b"]
        times.pass_(3)
        assert ids(store) == ["forever"]
    with opened(tmp_path, times) as store:
        store.add([Draft(id="d", text="Ada", ttl_s=2 * day)])
        times.pass_(1)
        store.get(["d"])
        times.pass_(1)
        assert "d" not in ids(store)


def batches(store: LocalStore) -> list[str]:
    """Of what is archived, in the order in which it was told."""
    hits = store.search(Query(text="Ada", mode="keyword", include_archived=True))
    away = sorted((hit.memory for hit in hits if hit.memory.archived), key=lambda memory: memory.valid_to or START)
    return [memory.batch or "" for memory in away]
