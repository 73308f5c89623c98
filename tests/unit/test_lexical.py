"""Matching by words: scores, frequent words, and who has a part in them."""

import numpy as np
import pytest

from ums_core import Draft, LocalStore, Query, UnifiedSettings, open_store
from ums_core.ranking.lexical import Matches, WordRows, among, bm25, rows_of


def ids(store: LocalStore, text: str, **options: object) -> list[str]:
    query = Query(text=text, mode="keyword", **options)  # type: ignore[arg-type]  # fields of a query
    return [hit.memory.id for hit in store.search(query)]


def test_nothing_near_and_no_word_said_is_no_hit() -> None:
    with open_store(UnifiedSettings.for_testing(model={"embedder": "none", "vector_dim": 4})) as store:
        store.add([Draft(text="tea")])
        assert store.search(Query(text="walrus", vector=[1.0, 0.0, 0.0, 0.0])) == []


def test_a_rarer_word_and_a_shorter_row_score_higher() -> None:
    words = [WordRows(np.array([1]), 1), WordRows(np.array([1, 2, 3]), 3)]
    rids = np.array([1, 2, 3])
    lengths = np.array([5, 5, 10], np.int32)
    scores = bm25(words, rids.searchsorted(rows_of(words)), lengths, 100)
    assert scores[0] > scores[1] > scores[2] > 0
    assert bm25([], rows_of([]), lengths, 100).tolist() == [0.0, 0.0, 0.0]


def test_a_row_without_a_word_of_the_question_changes_no_score() -> None:
    words = [WordRows(np.array([1]), 1), WordRows(np.array([1, 3]), 2)]
    alone = bm25(words, np.array([0, 0, 1]), np.array([5, 10], np.int32), 100)
    beside = bm25(words, np.array([0, 0, 2]), np.array([5, 900, 10], np.int32), 100)
    assert beside.tolist() == [alone[0], 0.0, alone[1]]
    assert Matches(np.array([1, 2, 3]), beside).best(3).tolist() == [1, 3]


def test_the_best_are_the_same_however_many_are_asked_for() -> None:
    matches = Matches(np.arange(1, 9), np.array([1.0, 3, 3, 2, 3, 0, 5, 1]))
    whole = matches.best(100).tolist()
    assert whole == [7, 2, 3, 5, 4, 1, 8]
    assert [matches.best(k).tolist() for k in range(1, 9)] == [whole[:k] for k in range(1, 9)]
    assert matches.of(np.array([7, 99, 1])).tolist() == [5.0, 0.0, 1.0]
    assert among(np.array([3]), np.empty(0, np.int64)).tolist() == [False]


def test_of_a_word_only_the_rows_that_may_be_found_count() -> None:
    rids = np.array([2, 4])
    assert WordRows(np.array([1, 2]), 2).only(rids).count == 1
    assert WordRows(np.array([1, 2]), 900).only(rids).count == 900


@pytest.fixture(scope="module")
def many() -> LocalStore:
    store = open_store(UnifiedSettings.for_testing(model={"embedder": "none"}))
    texts = [f"common plain {'usual ' * (n % 2)}{'odd' if n % 500 == 7 else ''} w{n}" for n in range(3000)]
    store.add([Draft(id=f"m{n}", text=t, namespace=("all", f"n{n % 100}"), level=n % 50) for n, t in enumerate(texts)])
    return store


def test_a_frequent_word_decides_among_rows_with_a_rare_one(many: LocalStore) -> None:
    found = ids(many, "odd common usual", k=6)
    assert set(found) == {f"m{n}" for n in range(7, 3000, 500)}
    assert found[0] == "m7"
    assert ids(many, "w2222 common", k=3) == ["m2222"]


def test_words_that_are_all_frequent_find_what_holds_most_of_them(many: LocalStore) -> None:
    assert all(int(id_[1:]) % 2 for id_ in ids(many, "common usual plain", k=10))
    assert len(ids(many, "common", k=5000)) == 3000


def test_in_a_namespace_or_under_a_filter_all_rows_are_found(many: LocalStore) -> None:
    assert ids(many, "odd common", namespace=("all", "n5"), k=50) == [f"m{n}" for n in range(5, 3000, 100)]
    # A hundred namespaces are more than are looked up one by one.
    assert len(ids(many, "common", namespace=("all",), k=5000)) == 3000
    assert sorted(ids(many, "odd common usual", level=3, k=100)) == sorted(f"m{n}" for n in range(3, 3000, 50))
    assert ids(many, "common", namespace=("none",)) == []
    assert ids(many, "common", level=77) == []
    assert ids(many, "?!") == []


def test_other_namespaces_have_no_part_in_how_rare_a_word_is() -> None:
    with open_store(UnifiedSettings.for_testing(model={"embedder": "none"})) as store:
        store.add([Draft(id=f"{n}", text=text, namespace=("a",)) for n, text in enumerate(["red", "blue", "red hat"])])
        before = store.search(Query(text="red blue hat", namespace=("a",)))
        store.add([Draft(text="blue hat", namespace=("b", str(n))) for n in range(100)])
        after = store.search(Query(text="red blue hat", namespace=("a",)))
        assert [(hit.memory.id, hit.score) for hit in after] == [(hit.memory.id, hit.score) for hit in before]
