"""A search beside writers: what is replaced while it looks is found, and nothing that is gone has a part in it."""

import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ums_core import Draft, LocalStore, Patch, Query, UnifiedSettings, open_store
from ums_core.encoders.hashing import HashingEmbedder
from ums_core.pipeline.retrieve import TRIES
from ums_core.pipeline.surroundings import Surroundings
from ums_core.ports.index import RowSet
from ums_core.storage.allowed import AllowedRows

HOME = ("users", "ana")
MODES = ("hybrid", "vector")
WHERE: tuple[dict[str, Any], ...] = ({}, {"namespace": HOME}, {"filter": {"role": "user"}})


class Meddling(HashingEmbedder):
    """Does something else before it embeds a question, as often as it is told to."""

    def __init__(self, dim: int = 16) -> None:
        super().__init__(dim)
        self.times, self.busy = 0, False
        self.work: Callable[[], object] = object

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        # What it does may be to embed something itself.
        if self.times and not self.busy:
            self.times, self.busy = self.times - 1, True
            self.work()
            self.busy = False
        return super().embed_query(text)


@pytest.fixture
def embedder() -> Meddling:
    return Meddling()


@pytest.fixture
def store(embedder: Meddling) -> Iterator[LocalStore]:
    settings = UnifiedSettings.for_testing(
        model={"modalities": ["text", "image"], "vector_dims": {"text": 16, "image": 16}}
    )
    with open_store(settings, embedder=embedder) as opened:
        opened.add([Draft(id=f"m{n}", text=f"filler {n} lake tent", role="user", namespace=HOME) for n in range(20)])
        opened.add([Draft(id=f"n{n}", text=f"other {n} lake", namespace=("users", "bo")) for n in range(20)])
        opened.add([wanted()])
        yield opened


def wanted() -> Draft:
    return Draft(id="wanted", text="violet submarine", role="user", namespace=HOME)


def elsewhere(work: Callable[[], object]) -> None:
    """Do something in a thread of its own, to its end."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def found(store: LocalStore, **options: Any) -> list[str]:  # noqa: ANN401  # what a query takes
    return [hit.memory.id for hit in store.search(Query(text="violet submarine", k=3, **options))]


@pytest.mark.parametrize("times", [1, TRIES, TRIES + 1])
@pytest.mark.parametrize("where", WHERE, ids=["anywhere", "namespace", "filter"])
@pytest.mark.parametrize("mode", MODES)
def test_what_is_replaced_while_a_search_looks_is_found(
    store: LocalStore, embedder: Meddling, mode: str, where: dict[str, Any], times: int
) -> None:
    def replace() -> None:
        store.add([wanted()])

    def replace_and_take_up() -> None:
        replace()
        # The index is ahead then of what the search has seen so far.
        store.search(Query(vector=[1.0] * 16, namespace=("users", "bo")))

    for work in (replace, replace_and_take_up, replace):
        embedder.times, embedder.work = times, partial(elsewhere, work)
        assert found(store, mode=mode, **where)[0] == "wanted"
        assert embedder.times < times


def test_what_an_index_has_forgotten_is_compared_all_the_same(store: LocalStore, embedder: Meddling) -> None:
    store.add([Draft(id="picture", modality="image", text="violet", embedding=[1.0] * 16, namespace=HOME)])
    store.add([Draft(id="bare", text="", embedding=[1.0] * 16, namespace=HOME)])

    def replace() -> None:
        store.add([wanted(), Draft(id="bare", embedding=[1.0] * 16, namespace=HOME)])
        store.search(Query(vector=[1.0] * 16))

    embedder.times, embedder.work = TRIES + 1, lambda: elsewhere(replace)
    hits = store.search(Query(text="violet submarine", namespace=HOME, mode="vector", k=30))
    assert embedder.times == 0
    assert hits[0].memory.id == "wanted"
    assert {hit.memory.id for hit in hits} == {"wanted", "bare", *(f"m{n}" for n in range(20))}
    again = store.search(Query(text="violet submarine", namespace=HOME, mode="vector", k=30))
    assert [(hit.memory.id, hit.score) for hit in hits] == [(hit.memory.id, hit.score) for hit in again]


def test_what_goes_elsewhere_does_not_make_a_search_look_again(store: LocalStore, embedder: Meddling) -> None:
    work = iter(range(20))
    embedder.times, embedder.work = 5, lambda: store.delete([f"n{next(work)}"], namespace=("users", "bo"))
    for mode in ("vector", "hybrid"):
        assert found(store, namespace=HOME, mode=mode)[0] == "wanted"
    assert embedder.times == 3


def test_what_has_expired_is_not_looked_for_twice(embedder: Meddling, tmp_path: Path) -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    path = UnifiedSettings(database={"url": f"sqlite:///{tmp_path / 'm.db'}"})
    with open_store(path, embedder=embedder, clock=lambda: now) as store:
        store.add([Draft(id="gone", text="violet submarine", expires_at=now - timedelta(days=1)), wanted()])
        asked = []
        embedder.times, embedder.work = 9, lambda: asked.append(now)
        assert found(store) == ["wanted"]
        assert len(asked) == 2


def test_searches_beside_a_writer_that_replaces_never_miss_it(store: LocalStore) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.0005):
            store.add([wanted()])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for n in range(300):
            assert "wanted" in found(store, mode=MODES[n % 2], **WHERE[n % 3])
    finally:
        stop.set()
        thread.join()


def test_a_store_that_was_open_for_long_answers_as_a_fresh_one(tmp_path: Path) -> None:
    chance = random.Random(5)
    words = ["boat", "key", "rain", "hill", "bread", "train", "lake", "tent", "goat", "oven"]
    settings = UnifiedSettings(
        database={"url": f"sqlite:///{tmp_path / 'm.db'}"}, model={"embedder": "hashing:16"}, summary_strategy="concat"
    )

    def said(number: int) -> Draft:
        where = ("users", str(number % 2))
        turn = {"session": "one", "position": chance.randrange(50)} if number % 3 else {}
        return Draft(id=str(number), text=" ".join(chance.choices(words, k=4)), namespace=where, **turn)

    queries = [
        Query(text=f"{one} {other}", namespace=("users", place), k=9, mode=mode)
        for one in words[:5]
        for other in words[5:]
        for place in "01"
        for mode in (*MODES, "keyword")
    ]
    with open_store(settings) as store:
        store.add([said(number) for number in range(40)])
        for _ in range(30):
            number = chance.randrange(40)
            where = ("users", str(number % 2))
            if chance.random() < 0.5:
                store.add([said(number)])
            else:
                store.delete([str(number)], namespace=where)
            store.search(chance.choice(queries))
        living = [memory for memory in store.scan(namespace=("users", "0")).memories if memory.session]
        store.update([Patch(id=living[0].id, namespace=("users", "0"), changes={"position": 3})])
        was = [[(hit.memory.id, hit.score) for hit in store.search(query)] for query in queries]
    with open_store(settings) as fresh:
        assert [[(hit.memory.id, hit.score) for hit in fresh.search(query)] for query in queries] == was


def test_a_set_is_without_what_went_and_the_same_while_nothing_of_it_goes(store: LocalStore) -> None:
    around = Surroundings(store._database)
    rows, all_ = RowSet(np.array([1, 2, 3])), RowSet(np.array([4, 5]))
    around.refresh(store._database.head())
    assert around.living(rows) is rows
    store.delete(["m1", "m9"], namespace=HOME)
    around.refresh(store._database.head())
    left = around.living(rows)
    assert left.rids.tolist() == [1, 3]
    assert around.living(rows) is left
    assert around.living(all_) is all_
    store.delete(["m10"], namespace=HOME)
    around.refresh(store._database.head())
    assert around.living(rows) is left
    # Something that came and went before anybody looked, and something that nobody has seen yet.
    store.add([Draft(id="brief", text="brief")])
    store.delete(["brief"])
    store.add([Draft(id="last", text="last")])
    around.refresh(store._database.head())
    assert around.living(RowSet(np.array([4, 42, 43, 99]))).rids.tolist() == [4, 43, 99]


def test_a_set_that_outgrew_its_beginning_is_read_anew() -> None:
    with open_store(UnifiedSettings.for_testing(model={"embedder": "none"})) as store:
        kept = AllowedRows()
        sizes = []
        for round_ in range(7):
            store.add([Draft(id=str(n), text="again") for n in range(300)])
            with store._database.reader() as connection:
                sizes.append(len(kept.get(connection, "m.level = ?", [0], 300 * (round_ + 1))))
        assert sizes == [300, 600, 900, 1200, 1500, 1800, 300]


@pytest.mark.parametrize("where", WHERE, ids=["anywhere", "namespace", "filter"])
@pytest.mark.parametrize("mode", [*MODES, "keyword"])
def test_what_has_expired_has_no_part_in_an_answer(store: LocalStore, mode: str, where: dict[str, Any]) -> None:
    long_past = datetime(2001, 1, 1, tzinfo=UTC)
    texts = ["violet submarine", "violet lake tent", "filler 3 lake"]
    store.add(
        [Draft(id=f"gone{n}", text=t, role="user", namespace=HOME, expires_at=long_past) for n, t in enumerate(texts)]
    )

    def scores() -> list[tuple[str, float]]:
        query = Query(text="violet submarine", k=9, mode=mode, **where)  # type: ignore[arg-type]  # one of the modes
        return [(hit.memory.id, hit.score) for hit in store.search(query)]

    was = scores()
    assert was[0][0] == "wanted"
    assert store.sweep() == len(texts)
    assert scores() == was


def test_rows_without_the_expired_are_one_set_as_long_as_none_comes_or_expires(store: LocalStore) -> None:
    now = datetime.now(UTC)

    def rows(namespace: tuple[str, ...], at: datetime = now) -> RowSet:
        database = store._database
        return database.unexpired(namespace, None, database.head(), at)

    assert len(rows(())) == 41
    assert len(rows(HOME)) == 21
    assert rows(HOME) is rows(HOME)
    store.add([Draft(text="soon gone", namespace=HOME, expires_at=now + timedelta(hours=1))])
    later = now + timedelta(hours=2)
    assert (len(rows(HOME)), len(rows(HOME, later)), len(rows((), later))) == (22, 21, 41)
    assert rows(HOME, later) is rows(HOME, later)
