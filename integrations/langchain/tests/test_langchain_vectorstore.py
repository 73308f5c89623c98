"""The vector store by LangChain's suite, and what the suite leaves out."""

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from langchain_kinds import Stores
from langchain_tests import integration_tests
from langchain_ums import UMSVectorStore
from langchain_ums.testing import Words

from ums_core import EnhancedMemoryStore, Filter, LocalStore, MemoryStore, UMSError, UnifiedSettings, open_store

Call = Callable[..., Any]
TEXTS = ["green tea from Japan", "black tea from India", "a car with four wheels", "a bike with two wheels"]
METADATAS = [{"kind": "tea", "n": 1}, {"kind": "tea", "n": 2}, {"kind": "car", "role": "x"}, {"kind": "bike"}]
IDS = ["green", "black", "car", "bike"]


class TestUMSVectorStore(integration_tests.VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, store_of: Stores) -> UMSVectorStore:  # type: ignore[override]  # empty, of each kind
        return UMSVectorStore(store_of(vector_dim=6), embedding=self.get_embeddings())


class TestUMSVectorStoreByItsOwnEmbedder(integration_tests.VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, store: LocalStore) -> UMSVectorStore:  # type: ignore[override]  # as above
        return UMSVectorStore(store)


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Call:
    """Call a method by its blocking name, in either colour."""

    def in_colour(target: object, name: str, *args: object, **options: object) -> Any:  # noqa: ANN401  # as it has it
        if request.param == "sync":
            return getattr(target, name)(*args, **options)
        # Of the hook of relevance scores, the underscore comes first.
        return asyncio.run(getattr(target, f"a{name}")(*args, **options))

    return in_colour


@pytest.fixture(params=["caller's", "store's"])
def vectors(store: LocalStore, request: pytest.FixtureRequest) -> UMSVectorStore:
    embedding = Words() if request.param == "caller's" else None
    made = UMSVectorStore(store, embedding=embedding)
    made.add_texts(TEXTS, METADATAS, ids=IDS)
    return made


def ids_of(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"kind": "tea"}, {"green", "black"}),
        ({"kind": "tea", "n": {"$gt": 1}}, {"black"}),
        ({"$or": [{"n": 1}, {"kind": {"$in": ["bike"]}}]}, {"green", "bike"}),
        ({"role": "x"}, {"car"}),
        ({"text": "x"}, set()),
        (Filter.where("text", "text_match", "wheels"), {"car", "bike"}),
        ({}, set(IDS)),
        (None, set(IDS)),
    ],
)
def test_a_filter_is_about_the_documents_metadata(
    vectors: UMSVectorStore,
    call: Call,
    condition: Filter | dict[str, Any] | None,
    expected: set[str],
) -> None:
    assert set(ids_of(call(vectors, "similarity_search", "wheels and tea", k=9, filter=condition))) == expected
    near = [1.0] * 384
    assert set(ids_of(call(vectors, "similarity_search_by_vector", near, k=9, filter=condition))) == expected
    assert set(ids_of(call(vectors, "max_marginal_relevance_search", "tea", k=9, filter=condition))) == expected


def test_an_unusable_filter_or_option_is_refused(vectors: UMSVectorStore, call: Call) -> None:
    with pytest.raises(UMSError, match="operator"):
        call(vectors, "similarity_search", "tea", filter={"n": {"$like": 1}})
    with pytest.raises(TypeError, match="no option top_k"):
        call(vectors, "similarity_search", "tea", top_k=3)


def test_scores_are_cosines_and_relevance_scores_lie_between_0_and_1(vectors: UMSVectorStore, call: Call) -> None:
    scored = call(vectors, "similarity_search_with_score", TEXTS[0], k=4)
    assert scored[0][0] == Document(id="green", page_content=TEXTS[0], metadata=METADATAS[0])
    assert scored[0][1] == pytest.approx(1.0, abs=1e-5)
    assert [score for _, score in scored] == sorted((score for _, score in scored), reverse=True)
    relevant = call(vectors, "similarity_search_with_relevance_scores", TEXTS[0], k=4)
    for (document, score), (same, relevance) in zip(scored, relevant, strict=True):
        assert document == same
        assert relevance == pytest.approx((score + 1) / 2)
        assert 0 <= relevance <= 1
    best = relevant[1][1]
    assert len(call(vectors, "similarity_search_with_relevance_scores", TEXTS[0], score_threshold=best)) == 2
    assert call(vectors, "similarity_search_with_relevance_scores", "tea", k=1, score_threshold=1.1) == []


@pytest.mark.parametrize("mode", ["hybrid", "keyword"])
def test_other_modes_rank_by_words_too_and_relevance_stays_in_its_range(
    vectors: UMSVectorStore, call: Call, mode: str
) -> None:
    assert ids_of(call(vectors, "similarity_search", "wheels bike", k=1, mode=mode)) == ["bike"]
    relevant = call(vectors, "similarity_search_with_relevance_scores", "wheels bike", mode=mode)
    assert relevant
    assert all(0 <= relevance <= 1 for _, relevance in relevant)


def test_opposite_vectors_have_relevance_0(store: LocalStore) -> None:
    made = UMSVectorStore(store)
    assert made._select_relevance_score_fn()(-1.0) == 0.0  # noqa: SLF001  # LangChain's hook
    assert made._select_relevance_score_fn()(1.0) == 1.0  # noqa: SLF001  # as above


@pytest.mark.parametrize("lambda_mult", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_diversity_is_that_of_langchains_own_formula(store: LocalStore, call: Call, lambda_mult: float) -> None:
    embedding, question = DeterministicFakeEmbedding(size=384), "w1 w7 w9"
    texts = [f"w{a} w{b} w{c}" for a, b, c in itertools.islice(itertools.combinations(range(12), 3), 40)]
    made = UMSVectorStore(store, embedding=embedding)
    made.add_texts(texts, ids=texts)
    nearest = ids_of(made.similarity_search(question, k=15))
    rows = [np.array(embedding.embed_query(str(text))) for text in nearest]
    places = maximal_marginal_relevance(np.array(embedding.embed_query(question)), rows, lambda_mult, k=6)
    expected = [nearest[place] for place in places]
    found = call(made, "max_marginal_relevance_search", question, k=6, fetch_k=15, lambda_mult=lambda_mult)
    assert ids_of(found) == expected
    by_vector = call(
        made, "max_marginal_relevance_search_by_vector", embedding.embed_query(question), 6, 15, lambda_mult=lambda_mult
    )
    assert ids_of(by_vector) == expected


def test_the_filter_comes_before_the_candidates_of_diversity(store: LocalStore) -> None:
    made = UMSVectorStore(store, embedding=Words())
    made.add_texts([f"tea tea tea {n}" for n in range(30)], [{"kind": "common"}] * 30)
    made.add_texts(["tea and a wheel", "tea and a car"], [{"kind": "rare"}] * 2)
    assert len(made.max_marginal_relevance_search("tea", k=4, fetch_k=5, filter={"kind": "rare"})) == 2


def test_diversity_of_words_alone_is_refused_and_not_nothing(store: LocalStore, call: Call) -> None:
    made = UMSVectorStore(store, mode="keyword")
    made.add_texts(["tea and a wheel"])
    with pytest.raises(ValueError, match="keyword"):
        call(made, "max_marginal_relevance_search", "tea")
    assert len(call(made, "max_marginal_relevance_search", "tea", mode="hybrid")) == 1


def test_nothing_is_written_where_texts_ids_and_metadatas_are_not_as_many(vectors: UMSVectorStore, call: Call) -> None:
    for options in ({"ids": ["x"]}, {"metadatas": [{}]}, {"ids": ["x", "y", "z"]}):
        with pytest.raises(ValueError, match="2 texts and"):
            call(vectors, "add_texts", ["one", "two"], **options)
    assert vectors.get_by_ids(["x"]) == []
    assert len(vectors.similarity_search("tea", k=99)) == 4
    assert call(vectors, "add_texts", []) == []


def test_a_document_that_cannot_be_kept_keeps_its_batch_out(vectors: UMSVectorStore, call: Call) -> None:
    documents = [Document("fine", id="fine"), Document("broken", metadata={"x": object()})]
    with pytest.raises(UMSError):
        call(vectors, "add_documents", documents)
    assert vectors.get_by_ids(["fine"]) == []


def test_deleting_says_what_and_never_everything_by_leaving_out(vectors: UMSVectorStore, call: Call) -> None:
    for options in ({}, {"ids": ["green"], "filter": {}}):
        with pytest.raises(ValueError, match="say what to delete"):
            call(vectors, "delete", **options)
    assert call(vectors, "delete", []) is True
    assert len(vectors.similarity_search("tea", k=99)) == 4
    assert call(vectors, "delete", ["green", "never"]) is True
    assert call(vectors, "delete", filter={"kind": "bike"}) is True
    assert set(ids_of(vectors.similarity_search("tea", k=99))) == {"black", "car"}
    vectors.add_texts(["stays"], ids=["stays"], namespace=("documents", "below"))
    assert call(vectors, "delete", filter={}) is True
    assert ids_of(vectors.similarity_search("tea", k=99)) == ["stays"]


def test_texts_and_documents_make_a_store(store: LocalStore) -> None:
    one = UMSVectorStore.from_texts(TEXTS, Words(), METADATAS, ids=IDS, store=store, namespace=("one",))
    two = UMSVectorStore.from_documents([Document("tea", id="t", metadata={"a": 1})], Words(), store=store)
    three = asyncio.run(UMSVectorStore.afrom_texts(TEXTS, Words(), ids=IDS, store=store, namespace=("three",)))
    assert (
        ids_of(one.similarity_search("car wheels", k=1))
        == ids_of(three.similarity_search("car wheels", k=1))
        == ["car"]
    )
    assert two.get_by_ids(["t"]) == [Document("tea", id="t", metadata={"a": 1})]
    assert isinstance(one.embeddings, Words)
    assert UMSVectorStore(store).embeddings is None
    with pytest.raises(TypeError, match="store"):
        UMSVectorStore.from_texts(TEXTS, Words())


def test_every_kind_of_retriever_works(vectors: UMSVectorStore) -> None:
    async def ask(retriever: Any) -> list[Document]:  # noqa: ANN401  # of several kinds
        found: list[Document] = await retriever.ainvoke("tea from Japan")
        assert found == retriever.invoke("tea from Japan")
        return found

    assert ids_of(asyncio.run(ask(vectors.as_retriever(search_kwargs={"k": 1})))) == ["green"]
    mmr = vectors.as_retriever(search_type="mmr", search_kwargs={"k": 2, "fetch_k": 4, "lambda_mult": 0.1})
    assert len(asyncio.run(ask(mmr))) == 2
    near = vectors.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.8})
    assert ids_of(asyncio.run(ask(near)))[0] == "green"
    plain = vectors.as_retriever()
    assert ids_of(plain.invoke("tea", k=1, filter={"kind": "car"})) == ["car"]


def test_langchains_indexing_keeps_the_store_in_step_with_its_sources(store: LocalStore) -> None:
    made, records = UMSVectorStore(store), InMemoryRecordManager("docs")
    records.create_schema()
    pages = [Document(f"page {n}", metadata={"source": f"{n}.txt"}) for n in range(5)]

    def counts(result: dict[str, int]) -> tuple[int, int, int]:
        return result["num_added"], result["num_skipped"], result["num_deleted"]

    def run(documents: list[Document]) -> dict[str, int]:
        return dict(index(documents, records, made, cleanup="full", source_id_key="source", key_encoder="sha256"))

    assert counts(run(pages)) == (5, 0, 0)
    assert counts(run(pages)) == (0, 5, 0)
    assert counts(run(pages[1:])) == (0, 4, 1)
    changed = [Document("new page", metadata={"source": "1.txt"}), *pages[2:]]
    again = asyncio.run(aindex(changed, records, made, cleanup="full", source_id_key="source", key_encoder="sha256"))
    assert counts(dict(again)) == (1, 3, 1)
    assert {document.page_content for document in made.similarity_search("page", k=99)} == {
        "new page", "page 2", "page 3", "page 4",
    }  # fmt: skip


def test_one_object_serves_two_users_and_neither_sees_the_other(store: LocalStore, call: Call) -> None:
    made, ada, bob = UMSVectorStore(store), ("users", "ada"), ("users", "bob")
    call(made, "add_texts", ["ada's secret"], ids=["s"], namespace=ada)
    call(made, "add_texts", ["bob's secret"], ids=["s"], namespace=bob)
    for user, name in ((ada, "ada"), (bob, "bob")):
        assert [d.page_content for d in call(made, "similarity_search", "secret", namespace=user)] == [
            f"{name}'s secret"
        ]
        assert [d.page_content for d in call(made, "get_by_ids", ["s"], namespace=user)] == [f"{name}'s secret"]
    call(made, "delete", ["s"], namespace=ada)
    assert call(made, "similarity_search", "secret", namespace=ada) == []
    assert len(call(made, "similarity_search", "secret", namespace=bob)) == 1
    assert call(made, "similarity_search", "secret") == []


def test_documents_are_there_after_a_restart(tmp_path: Path) -> None:
    settings = UnifiedSettings(database={"url": f"sqlite:///{tmp_path}/m.db"}, model={"embedder": "hashing"})
    with open_store(settings) as first:
        UMSVectorStore(first).add_texts(TEXTS, METADATAS, ids=IDS)
    with open_store(settings) as second:
        assert ids_of(UMSVectorStore(second).similarity_search("a car with wheels", k=1)) == ["car"]
        assert UMSVectorStore(second).get_by_ids(["car"])[0].metadata == METADATAS[2]


def test_a_document_without_words_is_kept_by_its_metadata(store: LocalStore) -> None:
    made = UMSVectorStore(store)
    made.add_texts([""], [{"kind": "blank"}], ids=["blank"])
    assert made.get_by_ids(["blank"]) == [Document("", id="blank", metadata={"kind": "blank"})]
    assert made.similarity_search("blank") == []


def test_eight_threads_and_eight_tasks_share_one_object(store: LocalStore) -> None:
    made = UMSVectorStore(store)

    def work(worker: int) -> None:
        made.add_texts([f"thread {worker} says {n}" for n in range(4)], ids=[f"t{worker}-{n}" for n in range(4)])
        assert made.similarity_search("says", k=2)
        assert len(made.get_by_ids([f"t{worker}-{n}" for n in range(4)])) == 4

    async def awork(worker: int) -> None:
        await made.aadd_texts([f"task {worker} says {n}" for n in range(4)], ids=[f"a{worker}-{n}" for n in range(4)])
        assert await made.asimilarity_search("says", k=2)

    async def tasks() -> None:
        await asyncio.gather(*(awork(worker) for worker in range(8)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    asyncio.run(tasks())
    asyncio.run(tasks())
    assert len(made.similarity_search("says", k=999)) == 64


def test_a_cancelled_write_leaves_all_of_it_or_nothing(store: LocalStore) -> None:
    made = UMSVectorStore(store)

    async def cancelled() -> None:
        for round_ in range(8):
            writing = asyncio.ensure_future(made.aadd_texts(["a", "b"], ids=[f"{round_}a", f"{round_}b"]))
            for _ in range(round_):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        await made.aadd_texts(["last"], ids=["last"])

    asyncio.run(cancelled())
    for round_ in range(8):
        assert len(made.get_by_ids([f"{round_}a", f"{round_}b"])) in (0, 2)
    assert made.get_by_ids(["last"])


def test_an_awaitable_store_serves_both_colours() -> None:
    door = EnhancedMemoryStore(UnifiedSettings.for_testing())
    made = UMSVectorStore(door)

    async def use() -> None:
        await made.aadd_texts(["tea"], ids=["t"])
        assert ids_of(await made.asimilarity_search("tea")) == ids_of(made.similarity_search("tea")) == ["t"]
        await door.close()

    asyncio.run(use())


def test_a_number_of_another_length_is_refused(store: MemoryStore) -> None:
    with pytest.raises(UMSError, match="components"):
        UMSVectorStore(store).similarity_search_by_vector([1.0, 2.0])
