"""What a search finds does not depend on what is kept elsewhere, nor on chance."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ums_core import Draft, LocalStore, Query, UnifiedSettings, open_store

pytestmark = pytest.mark.property

MINE, OTHERS = ("users", "ana"), ("users", "bo")
WORDS = ["boat", "key", "rain", "hill", "bread", "train", "the", "may"]
MODES = ("hybrid", "vector", "keyword")

texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
memories = st.fixed_dictionaries(
    {"text": st.tuples(texts, st.sampled_from(["", "?"])).map("".join)},
    optional={
        "speaker": st.sampled_from(["Ana", "May"]),
        "role": st.sampled_from(["user", "assistant"]),
        "session": st.sampled_from(["s1", "s2"]),
        "caption": texts,
    },
)


def found(store: LocalStore, question: str, mode: str, k: int) -> list[tuple[str, Any, Any]]:
    hits = store.search(Query(text=question, namespace=MINE, mode=mode, k=k))  # type: ignore[arg-type]  # one of MODES
    return [(hit.memory.id, pytest.approx(hit.score, abs=1e-9), hit.similarity) for hit in hits]


def opened() -> LocalStore:
    return open_store(UnifiedSettings.for_testing(model={"embedder": "hashing:16"}))


def told(store: LocalStore, namespace: tuple[str, ...], drafts: list[dict[str, Any]]) -> None:
    store.add([Draft(id=f"{n}", namespace=namespace, position=n, **draft) for n, draft in enumerate(drafts)])


@settings(max_examples=12, deadline=None)
@given(
    st.lists(memories, min_size=1, max_size=12),
    st.lists(memories, min_size=1, max_size=30),
    st.tuples(texts, st.sampled_from(["", " of May", " last week, Ana?"])).map("".join),
    st.integers(1, 6),
)
def test_what_others_keep_changes_neither_hits_nor_scores(
    mine: list[dict[str, Any]], others: list[dict[str, Any]], question: str, k: int
) -> None:
    with opened() as store:
        told(store, MINE, mine)
        before = [found(store, question, mode, k) for mode in MODES]
        told(store, OTHERS, others)
        assert [found(store, question, mode, k) for mode in MODES] == before
        store.delete([f"{n}" for n in range(len(others) // 2)], namespace=OTHERS)
        assert [found(store, question, mode, k) for mode in MODES] == before


@settings(max_examples=8, deadline=None)
@given(st.lists(memories, min_size=1, max_size=6), texts)
def test_equals_come_in_the_order_in_which_they_were_stored(kinds: list[dict[str, Any]], question: str) -> None:
    alike = [{"text": draft["text"], "caption": draft.get("caption")} for draft in kinds for _ in range(3)]
    with opened() as store, opened() as again:
        for each in (store, again):
            told(each, MINE, alike)
        for mode in MODES:
            once = [id_ for id_, *_ in found(store, question, mode, 18)]
            assert once == [id_ for id_, *_ in found(store, question, mode, 18)]
            assert once == [id_ for id_, *_ in found(again, question, mode, 18)]
            for first in range(0, len(alike), 3):
                group = [int(id_) for id_ in once if first <= int(id_) < first + 3]
                assert group == sorted(group)
