"""Rows by word: what is kept from search to search changes the cost of an answer, and nothing else."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ums_core import Draft, LocalStore, Query, UnifiedSettings, open_store
from ums_core.pipeline.surroundings import Surroundings
from ums_core.ports.ledger import Head
from ums_core.settings.database import url_of
from ums_core.storage import journal
from ums_core.storage.postings import Candidates, Postings, Scopes

if TYPE_CHECKING:
    from ums_core.ranking.lexical import WordRows

WORDS = ["tea", "hill", "boat", "rain", "bread", "train"]
# How often each stands in a text: from nearly always to hardly ever; above 200 rows a word is frequent.
SHARES = np.array([0.95, 0.6, 0.5, 0.3, 0.05, 0.002])
PLACES: list[Scopes] = [None, (1,), (1, 2)]


@pytest.fixture
def store() -> Iterator[LocalStore]:
    with open_store(UnifiedSettings.for_testing(model={"embedder": "none"})) as opened:
        yield opened


def drafts(rng: np.random.Generator, ids: Sequence[int]) -> list[Draft]:
    held = rng.random((len(ids), len(WORDS))) < SHARES
    return [
        Draft(
            id=f"m{id_}",
            text="say " + " ".join(w for w, there in zip(WORDS, row, strict=True) if there),
            namespace=("n", str(id_ % 3)),
        )
        for id_, row in zip(ids, held, strict=True)
    ]


def answers(store: LocalStore, postings: Postings, words: Sequence[str]) -> list[list[tuple[int, list[int]]]]:
    """The rows of some words in each place, pruned and not, and under a filter."""
    with store._database.reader() as connection:
        head = journal.head(connection)
        some = np.arange(head.hi // 3 + 1, head.hi // 2 + 2)
        found: list[list[WordRows]] = []
        for scopes in PLACES:
            found += [
                postings.rows_with(connection, words, scopes, Candidates(head), prune=prune) for prune in (True, False)
            ]
            found.append(postings.rows_with(connection, words, scopes, Candidates(head, some), prune=False))
    told = [[(rows.count, rows.rids.tolist()) for rows in each] for each in found]
    # Where a filter stands, rows outside it may come along, or not.
    for place in range(2, len(told), 3):
        told[place] = [(0, sorted(set(rids) & set(some.tolist()))) for _, rids in told[place]]
        told[place].sort()
    return told


@pytest.mark.parametrize("max_gone", [2**16, 20])
@pytest.mark.parametrize("max_bytes", [2**20, 6000])
def test_what_is_kept_is_what_would_be_read_now(store: LocalStore, max_bytes: int, max_gone: int) -> None:
    rng = np.random.default_rng(max_bytes + max_gone)
    store.add(drafts(rng, range(900)))
    kept = Postings(max_bytes, max_gone)
    known = 900
    for step in range(12):
        words = rng.permutation(WORDS)[: int(rng.integers(1, 6))].tolist()
        for _ in range(3):
            assert answers(store, kept, words) == answers(store, Postings(0), words)
        if step % 3 == 0:
            store.add(drafts(rng, range(known, known + 40)))
            known += 40
        elif step % 3 == 1:
            # Other words, under new row ids.
            store.add(drafts(rng, rng.integers(known, size=12).tolist()))
        else:
            for place in range(3):
                store.delete([f"m{id_}" for id_ in rng.integers(known, size=8)], namespace=("n", str(place)))


def test_a_word_that_nobody_said_is_found_once_somebody_does(store: LocalStore) -> None:
    def found() -> list[str]:
        return [hit.memory.text for hit in store.search(Query(text="walrus", mode="keyword"))]

    assert found() == []
    (memory,) = store.add([Draft(text="a walrus")])
    assert found() == ["a walrus"]
    store.delete([memory.id])
    assert found() == []


def test_a_snapshot_of_the_past_is_answered_as_of_then(store: LocalStore) -> None:
    store.add([Draft(text="tea and bread"), Draft(text="tea")])
    postings, words = Postings(), ["tea", "bread"]
    with store._database.snapshot(), store._database.reader() as connection, ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(store.add, [Draft(text="tea again")]).result()
        assert [rids for _, rids in elsewhere.submit(answers, store, postings, words).result()[0]] == [[1], [1, 2, 3]]
        then = postings.rows_with(connection, words, None, Candidates(journal.head(connection)), prune=True)
        assert [rows.rids.tolist() for rows in then] == [[1], [1, 2]]
    assert [rids for _, rids in answers(store, postings, words)[0]] == [[1], [1, 2, 3]]


def test_what_was_read_before_another_thread_went_on_is_not_kept(store: LocalStore) -> None:
    postings = Postings()
    store.add([Draft(id="a", text="tea")])
    with store._database.reader() as connection:
        postings.rows_with(connection, ["tea"], None, Candidates(journal.head(connection)), prune=True)
        held = postings.known(None, ["tea"])["tea"]
        assert held is not None
        store.add([Draft(id="a", text="bread")])
        postings.rows_with(connection, ["bread"], None, Candidates(journal.head(connection)), prune=True)
        postings.keep(None, "tea", held, 1)
        (tea,) = postings.rows_with(connection, ["tea"], None, Candidates(journal.head(connection)), prune=True)
        assert tea.rids.tolist() == []


def test_a_search_that_another_one_overtakes_still_finds_what_was_replaced(store: LocalStore) -> None:
    store.add([Draft(id="a", text="tea")])
    postings = Postings()
    with store._database.reader() as connection:
        then = Candidates(journal.head(connection))
        postings.rows_with(connection, ["tea"], None, then, prune=True)
        store.add([Draft(id="a", text="tea again")])
        postings.rows_with(connection, ["bread"], None, Candidates(journal.head(connection)), prune=True)
        # This one looked where the journal ends before that change, and reads after it.
        (tea,) = postings.rows_with(connection, ["tea"], None, then, prune=True)
        assert tea.rids.tolist() == [2]


def test_what_was_read_of_a_later_change_is_not_taken_for_an_earlier_one(store: LocalStore) -> None:
    store.add([Draft(id="a", text="tea")])
    postings = Postings()
    with store._database.snapshot(), store._database.reader() as then, ThreadPoolExecutor(1) as elsewhere:
        head = journal.head(then)

        def looked() -> list[int]:
            with store._database.reader() as now:
                return postings.rows_with(now, ["tea"], None, Candidates(head), prune=True)[0].rids.tolist()

        elsewhere.submit(store.add, [Draft(id="a", text="tea again")]).result()
        assert elsewhere.submit(looked).result() == [2]
        assert postings.rows_with(then, ["tea"], None, Candidates(head), prune=True)[0].rids.tolist() == [1]


def test_of_a_frequent_word_others_are_the_first_rows_when_one_of_them_went(store: LocalStore) -> None:
    store.add([Draft(id=f"{n}", text="tea w1" if n == 2099 else "tea") for n in range(2100)])
    kept, words = Postings(), ["tea", "w1"]
    for _ in range(2):
        with store._database.reader() as connection:
            rare, frequent = kept.rows_with(connection, words, None, Candidates(journal.head(connection)), prune=True)
            assert frequent.rids.tolist() == rare.rids.tolist() == [2100]
            fresh = Postings(0).rows_with(connection, words, None, Candidates(journal.head(connection)), prune=True)
            assert [rows.count for rows in fresh] == [rare.count, frequent.count]
        store.delete(["3"])


def test_a_score_is_the_same_however_long_a_store_has_been_open(tmp_path: Path) -> None:
    settings = UnifiedSettings.for_testing(database={"url": url_of(tmp_path / "memory.db")}, model={"embedder": "none"})
    rng = np.random.default_rng(3)
    query = Query(text="train bread", k=100)
    with open_store(settings) as former:
        former.add(drafts(rng, range(60)))
        former.search(query)
        former.delete(["m3", "m6"], namespace=("n", "0"))
        former.search(query)
        former.add(drafts(rng, range(0, 60, 2)))
        told = [(hit.memory.id, hit.score) for hit in former.search(query)]
        with open_store(settings) as later:
            assert [(hit.memory.id, hit.score) for hit in later.search(query)] == told


@pytest.mark.parametrize("word", ["ns1", "NS1", "ñs1", "_ns1", "ns1 tea2"])
def test_a_word_that_is_the_term_of_a_namespace_finds_only_what_says_it(store: LocalStore, word: str) -> None:
    store.add([Draft(text="tea at the hill", namespace=("n",)), Draft(id="said", text="flight NS1", namespace=("n",))])
    for namespace in ((), ("n",)):
        hits = store.search(Query(text=word, mode="keyword", namespace=namespace))
        assert [hit.memory.id for hit in hits] == ["said"]


def test_rows_are_counted_once_though_somebody_still_reads_an_earlier_moment(store: LocalStore) -> None:
    database = store._database
    surroundings = Surroundings(database)

    def again() -> None:
        store.add(drafts(np.random.default_rng(5), range(3)))
        surroundings.refresh(database.head())

    again()
    with ThreadPoolExecutor(1) as pool, database.snapshot():
        pool.submit(again).result()
        # As a search does that was about to take up what another one has taken up meanwhile.
        surroundings.refresh(Head(2**40, 2**40))
    assert surroundings.rows == 3
    store.delete(["m0"], namespace=("n", "0"))
    surroundings.refresh(database.head())
    assert surroundings.rows == 2
