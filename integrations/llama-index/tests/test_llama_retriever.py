import asyncio
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import llama_index
import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode
from llama_index.retrievers.ums import UMSRetriever

from ums_core import (
    Draft,
    Filter,
    LocalStore,
    UMSError,
)

ADA, BOB = ("users", "ada@example.org"), ("users", "bob")
SAID = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def texts(nodes: list[NodeWithScore]) -> set[str]:
    return {node.text for node in nodes}


def test_it_is_a_retriever_beside_the_framework_in_one_namespace_package() -> None:
    assert issubclass(UMSRetriever, BaseRetriever)
    assert getattr(llama_index, "__file__", None) is None
    spec = find_spec("llama_index.retrievers")
    assert spec is not None
    assert spec.origin is None
    leaf = find_spec("llama_index.retrievers.ums")
    assert leaf is not None
    assert leaf.origin is not None
    assert Path(leaf.origin).with_name("py.typed").exists()


def test_a_node_says_what_it_is_and_where_it_comes_from(filled: LocalStore) -> None:
    (found,) = UMSRetriever(store=filled, k=1, namespace=ADA).retrieve("who moved to Lisbon?")
    assert isinstance(found.node, TextNode)
    assert isinstance(found.score, float)
    assert found.text == "I moved to Lisbon."
    origin = found.metadata.pop("ums")
    assert found.metadata == {"source": {"page": 3}}
    assert datetime.fromisoformat(origin.pop("created_at")).tzinfo is not None
    assert origin == {
        "id": "m/1", "namespace": list(ADA), "role": "user", "speaker": "Ada", "caption": None, "session": "s1",
        "occurred_at": SAID.isoformat(), "tags": ["home"],
    }  # fmt: skip


def test_prompts_and_embeddings_do_not_see_where_a_node_comes_from(filled: LocalStore) -> None:
    (found,) = UMSRetriever(store=filled, k=1).retrieve("Lisbon")
    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        content = found.node.get_content(metadata_mode=mode)
        assert "source" in content
        assert "ums" not in content


def test_a_node_id_reads_back_as_namespace_and_id(filled: LocalStore) -> None:
    nodes = UMSRetriever(store=filled).retrieve("moved")
    labels = {tuple(unquote(label) for label in node.node_id.split("/")) for node in nodes}
    assert labels == {(*ADA, "m/1"), (*ADA, "m2"), (*ADA, "m3"), (*BOB, "m/1")}


def test_nodes_come_best_first_and_higher_is_better(filled: LocalStore) -> None:
    scores = [node.score or 0.0 for node in UMSRetriever(store=filled).retrieve("moved to Lisbon")]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1]


def test_ten_nodes_come_unless_said_otherwise(store: LocalStore) -> None:
    store.add([Draft(text=f"I moved box {number}.") for number in range(12)])
    assert len(UMSRetriever(store=store).retrieve("moved")) == 10


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"k": 2, "mode": "vector"}, {"I moved to Lisbon.", "I moved to Oslo."}),
        ({"namespace": BOB}, {"I moved to Oslo."}),
        ({"namespace": ADA, "filter": {"role": "assistant"}}, {"I moved my desk to the window."}),
        ({"filter": Filter.where("tags", "contains", "home")}, {"I moved to Lisbon."}),
        ({"mode": "keyword"}, {"I moved to Lisbon.", "I moved to Oslo."}),
    ],
)
def test_every_option_works_on_both_faces(filled: LocalStore, options: dict[str, object], expected: set[str]) -> None:
    retriever = UMSRetriever(store=filled, **options)
    assert texts(retriever.retrieve("Lisbon Oslo")) == expected
    assert texts(asyncio.run(retriever.aretrieve("Lisbon Oslo"))) == expected


@pytest.mark.parametrize(
    "options",
    [{"k": 0}, {"mode": "psychic"}, {"namespace": "users"}, {"namespace": ("",)}, {"filter": {"$xor": []}}],
)
def test_an_unusable_option_is_refused_early(store: LocalStore, options: dict[str, object]) -> None:
    with pytest.raises(UMSError):
        UMSRetriever(store=store, **options)


@pytest.fixture
def talk(store: LocalStore) -> LocalStore:
    turns = ("Good morning.", "Where is the zebra?", "In the garden, I think.", "And the quilt?")
    store.add(
        [
            Draft(text=text, namespace=ADA, session="s1", position=place, speaker="AB"[place % 2])
            for place, text in enumerate(turns)
        ]
    )
    return store


def test_the_turns_around_a_memory_stand_around_it_in_its_node(talk: LocalStore) -> None:
    retriever = UMSRetriever(talk, k=1, mode="keyword", options={"context": 1})
    for found in (retriever.retrieve("zebra"), asyncio.run(retriever.aretrieve("zebra"))):
        assert [node.text for node in found] == ["Good morning.\nWhere is the zebra?\nIn the garden, I think."]
        assert found[0].metadata["ums"]["session"] == "s1"


def test_further_options_of_a_query_are_taken_by_name(talk: LocalStore) -> None:
    def found(**options: object) -> list[str]:
        return [node.text for node in UMSRetriever(talk, mode="keyword", options=options).retrieve("zebra quilt")]

    everything = found()
    assert len(everything) == 2
    assert found(offset=1) == everything[1:]
    assert found(max_tokens=8) == everything[:1]
    assert found(level=1) == []
    assert found(min_score=1e9) == []
    assert sorted(found(diversity=0.5, weights={"lexical": 1.0}, kind="dialogue", group="session")) == sorted(
        everything
    )


def test_an_option_that_does_not_exist_or_has_its_own_word_is_refused(store: LocalStore) -> None:
    for name in ("contxt", "k", "use_cross_encoder", "text"):
        with pytest.raises(TypeError, match=f"no option {name}; options are as_of, context, "):
            UMSRetriever(store, options={name: 1})
    with pytest.raises(UMSError, match="context"):
        UMSRetriever(store, options={"context": -1})


def test_something_else_than_a_store_is_refused() -> None:
    with pytest.raises(TypeError, match="got str"):
        UMSRetriever(store="sqlite:///memory.db")
