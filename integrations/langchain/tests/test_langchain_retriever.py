import asyncio
from datetime import UTC, datetime

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField
from langchain_ums import UMSRetriever
from pydantic import ValidationError

from ums_core import (
    Draft,
    Filter,
    LocalStore,
    UMSError,
    UnifiedSettings,
    open_store,
)

ADA, BOB = ("users", "ada@example.org"), ("users", "bob")
SAID = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def texts(documents: list[Document]) -> set[str]:
    return {document.page_content for document in documents}


def test_a_document_says_what_it_is_and_where_it_comes_from(filled: LocalStore) -> None:
    (document,) = UMSRetriever(store=filled, k=1, namespace=ADA).invoke("who moved to Lisbon?")
    origin = document.metadata.pop("ums")
    assert document == Document(id="m1", page_content="I moved to Lisbon.", metadata={"source": {"page": 3}})
    assert -1 <= origin.pop("similarity") <= 1
    assert isinstance(origin.pop("score"), float)
    assert datetime.fromisoformat(origin.pop("created_at")).tzinfo is not None
    assert origin == {
        "namespace": list(ADA), "role": "user", "speaker": "Ada", "caption": None, "session": "s1",
        "occurred_at": SAID.isoformat(), "tags": ["home"], "channel": None,
    }  # fmt: skip


def test_a_keyword_hit_has_no_similarity(filled: LocalStore) -> None:
    (document,) = UMSRetriever(store=filled, mode="keyword").invoke("Lisbon")
    assert document.metadata["ums"]["similarity"] is None


def test_documents_come_best_first(filled: LocalStore) -> None:
    scores = [document.metadata["ums"]["score"] for document in UMSRetriever(store=filled).invoke("moved to Lisbon")]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"k": 2, "mode": "vector"}, {"I moved to Lisbon.", "I moved to Oslo."}),
        ({"namespace": BOB}, {"I moved to Oslo."}),
        ({"namespace": ADA, "filter": {"role": "assistant"}}, {"I moved my desk to the window."}),
        ({"filter": Filter.where("tags", "contains", "home")}, {"I moved to Lisbon."}),
        ({"mode": "keyword", "k": 9}, {"I moved to Lisbon.", "I moved to Oslo."}),
    ],
)
def test_every_option_works_at_construction_and_at_call_time(
    filled: LocalStore, options: dict[str, object], expected: set[str]
) -> None:
    question = "Lisbon Oslo"
    built = UMSRetriever(store=filled, **options)
    plain = UMSRetriever(store=filled)
    assert texts(built.invoke(question)) == expected
    assert texts(plain.invoke(question, **options)) == expected
    assert texts(asyncio.run(built.ainvoke(question))) == expected
    assert texts(asyncio.run(plain.ainvoke(question, **options))) == expected


def test_an_option_of_a_call_replaces_that_of_the_constructor(filled: LocalStore) -> None:
    retriever = UMSRetriever(store=filled, k=1, namespace=ADA, filter={"role": "assistant"})
    assert texts(retriever.invoke("moved", k=9, filter=None, namespace=BOB)) == {"I moved to Oslo."}
    assert len(retriever.invoke("moved", k=9, filter=None, namespace=())) == 4
    assert texts(retriever.invoke("moved")) == {"I moved my desk to the window."}


def test_an_unknown_option_is_refused_by_name(filled: LocalStore) -> None:
    retriever = UMSRetriever(store=filled)
    with pytest.raises(TypeError, match=r"no option top_k; a call takes k, namespace, filter, mode"):
        retriever.invoke("moved", top_k=1)
    with pytest.raises(TypeError, match="no option top_k"):
        asyncio.run(retriever.ainvoke("moved", top_k=1))


def test_verbose_is_langchains_own_and_passes(filled: LocalStore) -> None:
    assert len(UMSRetriever(store=filled).invoke("moved", verbose=False)) == 4


@pytest.mark.parametrize(
    "options",
    [{"k": 0}, {"mode": "psychic"}, {"namespace": "users"}, {"namespace": ("",)}, {"filter": {"$xor": []}}],
)
def test_an_unusable_option_is_refused_early(filled: LocalStore, options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        UMSRetriever(store=filled, **options)
    with pytest.raises(UMSError):
        UMSRetriever(store=filled).invoke("moved", **options)


def test_something_else_than_a_store_is_refused() -> None:
    with pytest.raises(ValidationError, match="store"):
        UMSRetriever(store="sqlite:///memory.db")


def test_a_retriever_composes_like_any_runnable(filled: LocalStore) -> None:
    retriever = UMSRetriever(store=filled, k=1)
    chain = retriever | (lambda documents: documents[0].page_content)
    assert chain.batch(["Lisbon", "Oslo"]) == ["I moved to Lisbon.", "I moved to Oslo."]
    tuned = retriever.configurable_fields(k=ConfigurableField(id="k"))
    assert len(tuned.invoke("moved", {"configurable": {"k": 3}})) == 3


def test_a_copy_with_another_store_asks_that_store(filled: LocalStore) -> None:
    retriever = UMSRetriever(store=filled)
    assert retriever.invoke("Lisbon")
    with open_store(UnifiedSettings.for_testing()) as empty:
        assert retriever.model_copy(update={"store": empty}).invoke("Lisbon") == []


def test_a_threshold_leaves_out_what_is_farther_and_what_has_no_distance(filled: LocalStore) -> None:
    retriever = UMSRetriever(store=filled, mode="vector")
    near = [(d.metadata["ums"]["similarity"] + 1) / 2 for d in retriever.invoke("I moved to Lisbon.")]
    assert len(UMSRetriever(store=filled, mode="vector", score_threshold=near[1]).invoke("I moved to Lisbon.")) == 2
    assert len(asyncio.run(retriever.ainvoke("I moved to Lisbon.", score_threshold=near[0] - 1e-6))) == 1
    assert UMSRetriever(store=filled, mode="keyword").invoke("Lisbon", score_threshold=0.1) == []
    with pytest.raises(ValidationError, match=r"\[0, 1\]"):
        UMSRetriever(store=filled, score_threshold=2)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        retriever.invoke("moved", score_threshold=-1)


def test_every_option_of_a_query_is_one_of_the_retriever(store: LocalStore) -> None:
    turns = ["Where do you live?", "I live in Lisbon.", "And your sister?", "She lives in Porto."]
    store.add([Draft(text=text, namespace=ADA, session="s", position=n, role="user") for n, text in enumerate(turns)])
    built = UMSRetriever(store=store, k=1, channel="both", options={"context": 1, "mode": "keyword"})
    (document,) = built.invoke("Porto")
    assert document.page_content == "And your sister?\nShe lives in Porto."
    assert [d.page_content for d in built.invoke("Porto", context=0)] == ["She lives in Porto."]
    assert len(asyncio.run(built.ainvoke("live in Lisbon Porto", k=4, offset=1, context=0, mode="hybrid"))) == 3
    shaped = {"weights": {"lexical": 1.0}, "kind": "dialogue", "max_tokens": 8, "use_cross_encoder": False}
    assert len(built.invoke("Porto Lisbon", k=4, mode="hybrid", context=0, **shaped)) == 1
    with pytest.raises(ValidationError, match="no option top_k"):
        UMSRetriever(store=store, options={"top_k": 1})
