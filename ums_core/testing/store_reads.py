"""How a store finds: search, scan, count, and the walls between namespaces."""

# ruff: noqa: D102  # a test's name is the behaviour

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ums_core.ports import MemoryStore
from ums_core.records import Draft, Filter, Memory, Patch, Query
from ums_core.records.match import matches
from ums_core.testing.samples import UNRELATED, cosine
from ums_core.testing.store_case import MakeStore, StoreCase, everything, ids_of
from ums_core.testing.strategies import conditions, fields

__all__ = ["StoreReads"]

LABELS = (
    *("a", "A", "ab", "b", "a/b", "/", "//", "%", "%2F", "%25", "a%2Fb", ".", "..", "...", " ", "a b", "*", "?", "[a]"),
    *(
        "u1@example.org",
        "zoë",
        "zoe\u0308",
        "日本語",
        "😀",
        "it's",
        '"quoted"',
        "back\\slash",
        "semi;colon",
        "new\nline",
    ),
    *("0", "1", "-", "_", "null", "user's; DROP TABLE memories; --", "x" * 300, "\uffff", "\U0010ffff"),
)
FAR_AHEAD = datetime(9000, 1, 1, tzinfo=UTC)
LONG_PAST = datetime(2001, 1, 1, tzinfo=UTC)


class StoreReads(StoreCase):
    """Search, scan, count and namespaces."""

    def test_a_prefix_is_matched_label_by_label(self, store: MemoryStore) -> None:
        places = [(), ("a",), ("ab",), ("a", "b"), ("a", "b", "c"), ("a", "bc"), ("b", "a")]
        store.add([self.draft(str(number), namespace=place) for number, place in enumerate(places)])
        for prefix in [*places, ("a", "x"), ("c",)]:
            expected = [str(number) for number, place in enumerate(places) if place[: len(prefix)] == prefix]
            assert ids_of(everything(store, prefix)) == expected
            assert store.count(namespace=prefix) == len(expected)
            assert sorted(self.found(store, self.near("1", 20, prefix))) == expected
            assert store.namespaces(prefix=prefix) == sorted(places[int(id_)] for id_ in expected)

    def test_any_label_names_a_namespace_of_its_own(self, store: MemoryStore) -> None:
        store.add([self.draft(f"{place}", namespace=("n", label)) for place, label in enumerate(LABELS)])
        for place, label in enumerate(LABELS):
            assert ids_of(everything(store, ("n", label))) == [str(place)]
            assert self.found(store, self.near("0", 50, ("n", label))) == [str(place)]
            (memory,) = store.get([str(place)], namespace=("n", label))
            assert memory is not None
            assert memory.namespace == ("n", label)
        assert store.namespaces() == sorted(("n", label) for label in LABELS)

    def test_any_label_can_be_an_id(self, store: MemoryStore) -> None:
        memories = store.add([Draft(id=label, embedding=self.vector(label)) for label in LABELS])
        assert store.get(LABELS) == memories
        assert store.delete(LABELS) == len(LABELS)

    def test_two_users_never_see_one_another(self, store: MemoryStore) -> None:
        alice, bob = ("users", "alice@example.org"), ("users", "bob@example.org")
        text = "the password of the safe is zebra"
        store.add([Draft(id="x", namespace=user, text=text) for user in (alice, bob)])
        for user, other in ((alice, bob), (bob, alice)):
            for mode in ("hybrid", "vector", "keyword"):
                hits = store.search(Query(text=text, namespace=user, k=10, mode=mode))
                assert [hit.memory.namespace for hit in hits] == [user]
            assert [memory.namespace for memory in everything(store, user)] == [user]
            assert store.namespaces(prefix=user) == [user]
            store.update([Patch(id="x", namespace=user, changes={"level": 1})])
            assert [memory.level for memory in store.get(["x"], namespace=other) if memory] == [int(user == bob)]
        assert store.delete(["x"], namespace=alice) == 1
        assert store.count(namespace=bob) == 1

    def test_three_among_many_are_all_found(self, store: MemoryStore) -> None:
        store.add([self.draft(f"many{n}", namespace=("many",), text="zebra", level=n % 2) for n in range(600)])
        store.add([self.draft(f"few{n}", namespace=("few",), text="zebra", level=n % 2) for n in range(3)])
        vector = self.vector("many7")
        for mode in ("hybrid", "vector"):
            ask: dict[str, Any] = {"vector": vector, "mode": mode, "namespace": ("few",), "k": 3}
            assert sorted(self.found(store, Query(**ask))) == ["few0", "few1", "few2"]
            assert sorted(self.found(store, Query(**ask, level=0))) == ["few0", "few2"]
            assert self.found(store, Query(**ask, filter={"level": 1})) == ["few1"]
            assert self.found(store, Query(**ask, text="zebra", filter={"id": "few2"})) == ["few2"]
        words = Query(text="zebra", mode="keyword", namespace=("few",), k=10)
        assert sorted(self.found(store, words)) == ["few0", "few1", "few2"]

    def test_a_filter_finds_the_few_that_meet_it_among_many(self, store: MemoryStore) -> None:
        store.add([self.draft(f"m{n}", text="zebra", level=int(n % 200 == 7)) for n in range(600)])
        assert sorted(self.found(store, Query(vector=self.vector("m0"), filter={"level": 1}))) == ["m207", "m407", "m7"]
        words = Query(text="zebra", mode="keyword", filter={"level": 1}, k=5)
        assert sorted(self.found(store, words)) == ["m207", "m407", "m7"]

    def test_a_filter_means_the_same_wherever_it_is_given(self, store: MemoryStore) -> None:
        added: list[Memory] = []

        @settings(max_examples=30, deadline=None)
        @given(st.lists(fields(), min_size=1, max_size=8), conditions())
        def agree(drafts: list[dict[str, Any]], condition: Filter) -> None:
            first = len(added)
            batch = [Draft(**d, id=f"m{first + n}", embedding=self.vector(n)) for n, d in enumerate(drafts)]
            added.extend(store.add(batch))
            expected = [memory.id for memory in added if matches(condition, memory)]
            assert ids_of(everything(store, (), condition)) == expected
            assert store.count(filter=condition) == store.count(filter=condition.to_dict()) == len(expected)
            question = Query(vector=self.vector(0), filter=condition, k=len(added))
            assert sorted(self.found(store, question)) == sorted(expected)

        agree()

    def test_a_question_may_name_a_level(self, store: MemoryStore) -> None:
        store.add([self.draft(f"{n}", level=n % 3, text="zebra") for n in range(9)])
        assert sorted(self.found(store, Query(vector=self.vector("0"), level=1))) == ["1", "4", "7"]
        assert sorted(self.found(store, Query(text="zebra", mode="keyword", level=2))) == ["2", "5", "8"]
        assert self.found(store, Query(vector=self.vector("0"), level=1, filter={"id": "0"})) == []

    @pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
    def test_what_has_expired_is_never_a_hit(self, store: MemoryStore, mode: str) -> None:
        text = UNRELATED[0]
        expired = [Draft(id=f"gone{n}", text=text, expires_at=LONG_PAST) for n in range(20)]
        lasting = [Draft(id=f"here{n}", text=f"{text} {n}", expires_at=FAR_AHEAD) for n in range(3)]
        store.add([*expired, *lasting, Draft(id="always", text=f"{text} and on")])
        ask: dict[str, Any] = {"text": text, "mode": mode}
        assert sorted(self.found(store, Query(**ask, k=4))) == ["always", "here0", "here1", "here2"]
        assert sorted(self.found(store, Query(**ask, k=100))) == ["always", "here0", "here1", "here2"]
        store.update([Patch(id="always", changes={"expires_at": LONG_PAST + timedelta(days=1)})])
        store.update([Patch(id="gone0", changes={"expires_at": None})])
        assert sorted(self.found(store, Query(**ask, k=4))) == ["gone0", "here0", "here1", "here2"]

    def test_hits_are_best_first_and_similar_as_the_vectors_are(self, store: MemoryStore) -> None:
        store.add([self.draft(f"{n}") for n in range(40)])
        hits = store.search(self.near("q", 40))
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        expected = sorted((cosine(self.vector("q"), self.vector(n)) for n in range(40)), reverse=True)
        assert [hit.similarity for hit in hits] == pytest.approx(expected, abs=1e-5)

    def test_a_hybrid_search_knows_meaning_and_words(self, store: MemoryStore) -> None:
        store.add([Draft(id="far", text="the code is xyzzy42", embedding=self.vector("elsewhere")), self.draft("q")])
        store.add([self.draft(f"noise{n}", text="nothing of note") for n in range(5)])
        assert set(self.found(store, Query(text="xyzzy42", vector=self.vector("q"), k=2))) == {"far", "q"}
        assert self.found(store, Query(text="xyzzy42", vector=self.vector("q"), k=1, weights={"lexical": 1})) == ["far"]
        assert self.found(store, Query(text="xyzzy42", vector=self.vector("q"), k=1, weights={"dense": 1})) == ["q"]

    def test_a_text_of_search_syntax_is_only_words(self, store: MemoryStore) -> None:
        store.add([Draft(id="a", text="zebra"), Draft(id="b", text="quartz")])
        for text in (
            'zebra"',
            "zebra* OR (",
            "NEAR(zebra",
            "-zebra",
            "body:zebra",
            "'; DROP TABLE memories",
            "zebra\0",
        ):
            assert "b" not in self.found(store, Query(text=text, mode="keyword", k=5))
        assert self.found(store, Query(text="!?", mode="keyword")) == []
        assert len(self.found(store, Query(text="!?", mode="hybrid"))) == 2

    @pytest.mark.parametrize("k", [6, 10_000, 2**31, 2**63 - 1, 2**64])
    def test_more_than_there_are_is_all_there_are(self, store: MemoryStore, k: int) -> None:
        store.add([self.draft(f"{n}", text="zebra") for n in range(5)])
        for question in (
            self.near("0", k),
            Query(text="zebra", mode="keyword", k=k),
            Query(text="zebra", vector=self.vector("0"), k=k, filter={"text": "zebra"}),
        ):
            assert sorted(self.found(store, question)) == ["0", "1", "2", "3", "4"]
        assert ids_of(store.scan(limit=k).memories) == ["0", "1", "2", "3", "4"]

    def test_equals_come_in_one_order_every_time(self, make_store: MakeStore) -> None:
        with make_store() as store:
            store.add([Draft(id=f"{n}", text="zebra", embedding=self.vector("same")) for n in range(30)])
            questions = [
                self.near("same", 7),
                Query(text="zebra", mode="keyword", k=7),
                Query(text="zebra", vector=self.vector("same"), k=7),
            ]
            answers = [self.found(store, question) for question in questions]
            assert [self.found(store, question) for question in questions] == answers
            # More of them begins with the same.
            assert self.found(store, self.near("same", 20))[:7] == answers[0]
        with make_store() as store:
            assert [self.found(store, question) for question in questions] == answers

    def test_an_empty_store_finds_nothing(self, store: MemoryStore) -> None:
        for question in (self.near("a"), Query(text="zebra"), Query(text="zebra", mode="keyword")):
            assert store.search(question) == []
        assert (everything(store), store.count(), store.namespaces()) == ([], 0, [])

    @pytest.mark.parametrize("page", [1, 2, 7, 20, 100])
    def test_pages_add_up_to_all_in_the_order_of_first_storing(self, store: MemoryStore, page: int) -> None:
        store.add([self.draft(f"{n:02}", namespace=("n", str(n % 2))) for n in range(20)])
        expected = [f"{n:02}" for n in range(20)]
        assert ids_of(everything(store, page=page)) == expected
        assert ids_of(everything(store, ("n", "1"), page=page)) == expected[1::2]
        assert ids_of(everything(store, (), Filter.where("id", "lt", "05"), page=page)) == expected[:5]

    def test_a_page_that_ends_with_the_last_memory_is_the_last_page(self, store: MemoryStore) -> None:
        store.add([self.draft(f"{n}") for n in range(4)])
        first = store.scan(limit=2)
        assert first.cursor is not None
        assert store.scan(limit=2, cursor=first.cursor).cursor is None
        assert store.scan(limit=4).cursor is None

    def test_writes_between_pages_move_nothing(self, store: MemoryStore) -> None:
        store.add([self.draft(f"{n}") for n in range(8)])
        first = store.scan(limit=3)
        store.update([Patch(id="0", changes={"level": 1}), Patch(id="4", changes={"level": 1})])
        store.delete(["2", "5"])
        store.add([self.draft("6"), self.draft("new")])
        second = store.scan(limit=3, cursor=first.cursor)
        third = store.scan(limit=3, cursor=second.cursor)
        assert [ids_of(page.memories) for page in (first, second, third)] == [
            ["0", "1", "2"],
            ["3", "4", "6"],
            ["7", "new"],
        ]
        assert second.memories[1].level == 1

    def test_a_scan_goes_backwards_page_by_page(self, store: MemoryStore) -> None:
        store.add([self.draft(str(number), namespace=("a",)) for number in range(9)])
        store.add([self.draft("other", namespace=("b",)), self.draft("4", namespace=("a",), level=1)])
        first = store.scan(namespace=("a",), limit=4, descending=True)
        second = store.scan(namespace=("a",), limit=4, cursor=first.cursor, descending=True)
        third = store.scan(namespace=("a",), limit=4, cursor=second.cursor, descending=True)
        assert [ids_of(page.memories) for page in (first, second, third)] == [
            ["8", "7", "6", "5"],
            ["4", "3", "2", "1"],
            ["0"],
        ]
        assert third.cursor is None
        assert ids_of(store.scan(namespace=("a",), limit=1, descending=True, filter={"level": 1}).memories) == ["4"]

    def test_a_namespace_goes_with_its_last_memory(self, store: MemoryStore) -> None:
        store.add([self.draft("1", namespace=("b",)), self.draft("2", namespace=("a", "x")), self.draft("3")])
        assert store.namespaces() == [(), ("a", "x"), ("b",)]
        store.delete(["1"], namespace=("b",))
        assert store.namespaces() == [(), ("a", "x")]
        assert store.namespaces(prefix=("b",)) == []
        store.add([self.draft("1", namespace=("b",))])
        assert store.namespaces(prefix=("b",)) == [("b",)]

    def test_namespaces_are_those_of_the_memories_that_meet_a_filter(self, store: MemoryStore) -> None:
        places = {"1": ("a",), "2": ("a", "b"), "3": ("c",)}
        store.add([self.draft(id_, namespace=place, level=int(id_)) for id_, place in places.items()])
        assert store.namespaces(filter={"level": {"$gte": 2}}) == [("a", "b"), ("c",)]
        assert store.namespaces(prefix=("a",), filter={"level": {"$gte": 2}}) == [("a", "b")]
        assert store.namespaces(filter={"role": "nobody"}) == []

    def found(self, store: MemoryStore, query: Query) -> list[str]:
        """The ids of the hits."""
        return [hit.memory.id for hit in store.search(query)]
