"""The store by its own suite, and what the suite cannot know: labels, other memories, dimensions, modes."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langchain_kinds import KINDS, Services, Stores
from langchain_ums import UMSChatMessageHistory, UMSRetriever, UMSStore, decode_label, encode_label
from langchain_ums.testing import DEFECTS, DIMS, BrokenStore, Clock, Face, Make, MakeStore, StoreSuite, Words
from langgraph.store.base import IndexConfig, InvalidNamespaceError, TTLConfig

from ums_core import Draft, EnhancedMemoryStore, LocalStore, UnifiedSettings, open_store
from ums_core.testing.serving import roomy, serving


class TestUMSStore(StoreSuite):
    @pytest.fixture
    def make_store(self) -> Iterator[MakeStore]:
        with ExitStack() as opened:

            def make(*, index: IndexConfig | None, ttl: TTLConfig | None, clock: Clock) -> UMSStore:
                store = opened.enter_context(open_store(UnifiedSettings.for_testing(), clock=clock))
                return UMSStore(store, index=index, ttl=ttl, clock=clock)

            yield make


class TestUMSStoreOfEveryKind(StoreSuite):
    """Blocking, as awaited it is the same work; without ``UMS_THOROUGH=1`` only behind a service."""

    @pytest.fixture(params=KINDS[1:] if os.environ.get("UMS_THOROUGH") == "1" else ["remote"])
    def make_store(self, request: pytest.FixtureRequest, services: Services) -> Iterator[MakeStore]:
        with closing(Stores(request.param, services)) as stores:

            def make(*, index: IndexConfig | None, ttl: TTLConfig | None, clock: Clock) -> UMSStore:
                return UMSStore(stores(clock=clock), index=index, ttl=ttl, clock=clock)

            yield make

    @pytest.fixture
    def colour(self) -> str:
        return "sync"


SUITE = StoreSuite()
NOTICED: dict[str, Callable[[Make], None]] = {
    "a batch writes before it reads": SUITE.test_reads_of_a_batch_see_what_was_there_before_its_writes,
    "the first of several writes counts": SUITE.test_of_several_writes_to_one_key_in_a_batch_the_last_counts,
    "one text twice in a batch is an error": SUITE.test_one_text_twice_in_a_batch_is_two_items,
    "values are aliased": SUITE.test_a_value_is_copied_on_the_way_in_and_out,
    "a namespace is listed for ever": SUITE.test_a_namespace_goes_with_its_last_item_and_comes_by_a_put_alone,
    "a prefix is matched as a string": SUITE.test_a_prefix_is_matched_label_by_label,
    "pages of a question end early": SUITE.test_the_pages_of_a_question_add_up_to_the_whole_answer,
    "created_at is that of the update": SUITE.test_created_at_survives_an_update_and_updated_at_moves,
    "a comparison takes numbers only": lambda make: SUITE.test_a_filter_finds_what_it_says_and_never_stumbles_over_data(
        make, {"s": {"$lt": "b"}}, {"two"}
    ),
    "an unknown operator is passed over": lambda make: (
        SUITE.test_an_unknown_operator_is_refused_also_where_nothing_is_stored(make, {"n": {"$in": [1]}})
    ),
    "a filter is passed over": lambda make: SUITE.test_a_filter_finds_what_it_says_and_never_stumbles_over_data(
        make, {"n": 1}, {"one"}
    ),
    "an offset is passed over": SUITE.test_the_pages_of_a_listing_add_up_in_the_order_of_first_storing,
    "index=False is passed over": lambda make: SUITE.test_a_question_no_longer_finds_what_a_put_has_taken_away(
        make, "no index"
    ),
    "fields are passed over": SUITE.test_an_item_scores_as_its_best_field,
    "ttl is passed over": SUITE.test_an_item_lives_for_its_minutes_and_goes_with_the_sweep,
    "reads do not refresh": lambda make: SUITE.test_a_read_prolongs_the_life_of_an_item_unless_told_not_to(make, "get"),
    "reads always refresh": SUITE.test_the_configuration_can_leave_reads_without_effect,
    "dots become another label": lambda make: SUITE.test_a_label_that_langgraph_forbids_is_refused_in_raw_batches_too(
        make, "a.b"
    ),
    "max_depth is passed over": lambda make: SUITE.test_namespaces_are_listed_by_prefix_suffix_wildcard_and_depth(
        make, {"max_depth": 1}, [("a",), ("ab",), ("z",)]
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_suite_notices(defect: str) -> None:
    with ExitStack() as opened:

        def make(fields: list[str] | None = None, ttl: TTLConfig | None = None, clock: Clock | None = None) -> Face:
            clock = clock or Clock()
            store = opened.enter_context(open_store(UnifiedSettings.for_testing(), clock=clock))
            index: IndexConfig = {"embed": Words(), "dims": DIMS, "fields": fields}
            good = UMSStore(store, index=index, ttl=ttl, clock=clock)
            return Face(BrokenStore(good, defect), awaited=False)

        with pytest.raises((AssertionError, ValueError, TypeError, pytest.fail.Exception)):
            NOTICED[defect](make)


@given(st.text(st.characters(exclude_characters=".\0", exclude_categories=["Cs"]), min_size=1))
def test_every_label_of_langgraph_names_one_of_ums_and_back(label: str) -> None:
    assert encode_label(decode_label(label)) == label


@given(st.text(st.sampled_from("%25E.2a"), min_size=1) | st.text(min_size=1))
def test_every_label_of_ums_names_one_of_langgraph_and_back(label: str) -> None:
    encoded = encode_label(label)
    assert "." not in encoded
    assert decode_label(encoded) == label


def test_only_text_is_a_label() -> None:
    with pytest.raises(TypeError, match=r"write str\(7\)"):
        encode_label(7)  # type: ignore[arg-type]  # wrong on purpose


def test_an_address_is_one_place_for_langgraph_and_for_the_rest_of_ums(store: LocalStore) -> None:
    items, user = UMSStore(store), "first.last@example.org"
    with pytest.raises(InvalidNamespaceError):
        items.put(("users", user), "home", {"text": "Lisbon is home."})
    place = ("users", encode_label(user))
    items.put(place, "home", {"text": "Lisbon is home."})
    assert items.list_namespaces() == [place]
    assert store.namespaces() == [("users", user)]
    (document,) = UMSRetriever(store=store, namespace=("users", user)).invoke("Lisbon")
    assert document.id == "home"


def test_memories_that_are_no_items_are_neither_shown_nor_swept(store: LocalStore) -> None:
    items, long_ago = UMSStore(store, ttl={"omit_expired": True}), datetime(2001, 1, 1, tzinfo=UTC)
    UMSChatMessageHistory(store, "s1", namespace=("users", "ada")).add_messages([HumanMessage("I like tea.")])
    store.add([Draft(id="old", text="tea", namespace=("users",), expires_at=long_ago, metadata={"langgraph": "mine"})])
    assert items.search((), limit=99) == items.search((), query="tea") == items.list_namespaces() == []
    assert items.get(("users",), "old") is None
    assert items.sweep_ttl() == asyncio.run(items.asweep_ttl()) == 0
    assert store.count() == 2


def test_a_dimension_that_is_not_the_stores_is_refused(store: LocalStore) -> None:
    assert UMSStore(store, index={"dims": 384}).search(()) == []
    with pytest.raises(ValueError, match=r"'dims'\] is 1536, the vectors of this store have 384"):
        UMSStore(store, index={"dims": 1536})


def test_something_else_than_a_store_is_refused() -> None:
    with pytest.raises(TypeError, match="open_store"):
        UMSStore("sqlite:///memory.db")  # type: ignore[arg-type]  # wrong on purpose


def test_the_stores_own_embedder_serves_unless_another_is_given(store: LocalStore) -> None:
    items = UMSStore(store, index={"fields": ["text"]})
    items.put(("a",), "tea", {"text": "green tea from Japan"})
    items.put(("a",), "car", {"text": "a car with four wheels"})
    assert [item.key for item in items.search(("a",), query="tea from Japan")] == ["tea", "car"]
    words = UMSStore(store, index={"fields": ["text"]}, mode="keyword")
    assert [item.key for item in words.search(("a",), query="wheels")] == ["car"]
    both = UMSStore(store, index={"fields": ["text"]}, mode="hybrid")
    assert [item.key for item in both.search(("a",), query="four wheels")] == ["car", "tea"]


def test_items_are_there_after_a_restart(tmp_path: Path) -> None:
    settings = UnifiedSettings(database={"url": f"sqlite:///{tmp_path}/m.db"}, model={"embedder": "hashing"})
    with open_store(settings) as first:
        UMSStore(first).put(("a",), "k", {"text": "still here"})
    with open_store(settings) as second:
        (item,) = UMSStore(second).search((), query="still here")
        assert item.value == {"text": "still here"}


def test_nothing_is_opened_before_the_first_call_and_the_door_serves_both_colours() -> None:
    door = EnhancedMemoryStore(UnifiedSettings.for_testing())
    items = UMSStore(door)

    async def use() -> None:
        await items.aput(("a",), "k", {"v": 1})
        assert (await items.aget(("a",), "k")) == items.get(("a",), "k")
        await door.close()

    asyncio.run(use())


def test_a_refresh_of_what_is_gone_leaves_the_read_and_the_other_refreshes_alone(store: LocalStore) -> None:
    clock = Clock()
    items = UMSStore(store, clock=clock)
    for key in ("a", "b"):
        items.put(("n",), key, {"v": key}, ttl=10)
    read = store.get(["a", "b"], namespace=("n",))
    clock.pass_by(5)
    store.delete(["a"], namespace=("n",))
    items._work._refresh(store, read)  # noqa: SLF001  # what a read does, when another came between
    assert store.get(["b"], namespace=("n",))[0].expires_at == clock.now + timedelta(minutes=10)
    assert store.get(["a"], namespace=("n",)) == [None]


def test_pages_of_an_answer_add_up_where_a_service_gives_few_hits_at_once() -> None:
    with serving(roomy(service={"max_k": 4, "rate_limit": "1000000/second"})) as served, served.store() as store:
        items = UMSStore(store)
        for number in range(10):
            items.put(("a",), str(number), {"text": f"tea number {number}"})
        pages = [items.search(("a",), query="tea", limit=4, offset=offset) for offset in (0, 4, 8)]
    assert [len(page) for page in pages] == [4, 4, 2]
    assert {item.key for page in pages for item in page} == {str(number) for number in range(10)}
