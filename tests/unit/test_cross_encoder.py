"""Reranking by a cross-encoder with real weights, which this module trains on other sentences than it asks about."""

import math
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tiny_models import ASKED, SYNONYMS, UNSEEN, train_cross_encoder

from ums_core import Draft, LocalStore, Query, Reranker, UnifiedSettings, open_store
from ums_core.bench.metrics import ndcg_at_k
from ums_core.encoders.cross_encoder import SentenceTransformerReranker
from ums_core.errors import InvalidQuery, MissingExtra, SettingsError

if TYPE_CHECKING:
    import numpy.typing as npt

pytestmark = pytest.mark.needs_torch
LONG_S = 600.0
NAMES = sorted(SYNONYMS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model") / "tiny"
    train_cross_encoder(place)
    return place


@pytest.fixture(scope="module")
def reranker(folder: Path) -> SentenceTransformerReranker:
    return SentenceTransformerReranker(str(folder))


@pytest.fixture
def open_with(folder: Path) -> Iterator[Callable[..., LocalStore]]:
    opened: list[LocalStore] = []

    def open_one(reranker: Reranker | None = None, **ranking: object) -> LocalStore:
        settings = UnifiedSettings.for_testing(
            ranking={"cross_encoder": str(folder), "cross_encoder_budget_s": LONG_S, **ranking}
        )
        opened.append(open_store(settings, reranker=reranker))
        opened[-1].add(
            [
                Draft(id=f"{name} {place}", text=frame.format(SYNONYMS[name]), namespace=("told",))
                for name in NAMES
                for place, frame in enumerate(UNSEEN)
            ]
        )
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


def ids(store: LocalStore, **query: object) -> list[str]:
    return [hit.memory.id for hit in store.search(Query(**query))]  # type: ignore[arg-type]  # checked by Query


def test_it_is_a_reranker(reranker: SentenceTransformerReranker) -> None:
    assert isinstance(reranker, Reranker)


@pytest.mark.no_cover
def test_what_answers_the_question_scores_highest_among_sentences_never_seen(
    reranker: SentenceTransformerReranker,
) -> None:
    first = 0
    for name in NAMES:
        texts = [UNSEEN[0].format(word) for word in SYNONYMS.values()]
        scores = reranker.scores(ASKED[0].format(name), texts, budget_s=LONG_S)
        assert scores is not None
        assert scores.shape == (len(texts),)
        first += texts[int(np.argmax(scores))] == UNSEEN[0].format(SYNONYMS[name])
    assert first >= len(NAMES) // 2  # by chance 1


@pytest.mark.no_cover
def test_scores_do_not_depend_on_the_company_or_the_order(reranker: SentenceTransformerReranker) -> None:
    texts = [frame.format(word) for word in SYNONYMS.values() for frame in UNSEEN]
    together = reranker.scores("tell me of the film", texts, budget_s=LONG_S)
    backwards = reranker.scores("tell me of the film", texts[::-1], budget_s=LONG_S)
    alone = [reranker.scores("tell me of the film", [text], budget_s=LONG_S) for text in texts]
    assert together is not None
    assert backwards is not None
    assert np.allclose(together, backwards[::-1], atol=1e-4)
    assert np.allclose(together, np.concatenate(alone), atol=1e-4)  # type: ignore[arg-type]  # none ran out of time


def test_nothing_to_score_is_no_score(reranker: SentenceTransformerReranker) -> None:
    scores = reranker.scores("tea", [], budget_s=LONG_S)
    assert scores is not None
    assert scores.shape == (0,)


def test_without_time_there_is_no_answer(reranker: SentenceTransformerReranker) -> None:
    assert reranker.scores("tea", ["coffee"], budget_s=0.0) is None


def test_a_batch_that_would_end_too_late_is_not_begun(reranker: SentenceTransformerReranker) -> None:
    many = [" ".join(SYNONYMS.values())] * 20_000
    start = time.monotonic()
    assert reranker.scores("tea", many, budget_s=0.05) is None
    assert time.monotonic() - start < LONG_S / 10  # all of them take a minute and more


def test_waiting_for_another_call_counts(reranker: SentenceTransformerReranker) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with reranker._lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        assert reranker.scores("tea", ["coffee"], budget_s=0.01) is None
    finally:
        done.set()
        thread.join()


def test_close_frees_the_weights_and_the_next_use_loads_them_again(folder: Path) -> None:
    own = SentenceTransformerReranker(str(folder))
    own.close()
    before = own.scores("tell me of the film", ["they sold the movie"], budget_s=LONG_S)
    assert own._model is not None
    weights = weakref.ref(next(own._model.parameters()))
    own.close()
    assert weights() is None
    after = own.scores("tell me of the film", ["they sold the movie"], budget_s=LONG_S)
    assert before is not None
    assert after is not None
    assert np.allclose(before, after)


def test_a_model_that_is_nowhere_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no cross-encoder .*download it while online, or name the folder"):
        SentenceTransformerReranker(str(tmp_path)).scores("tea", ["coffee"], budget_s=LONG_S)


def test_a_model_with_several_scores_a_pair_is_refused(tmp_path: Path) -> None:
    train_cross_encoder(tmp_path, steps=4, labels=3)
    with pytest.raises(SettingsError, match="gives 3 scores a pair"):
        SentenceTransformerReranker(str(tmp_path)).scores("tea", ["coffee"], budget_s=LONG_S)


@pytest.mark.no_cover
def test_a_search_finds_more_with_it_on_data_kept_aside(open_with: Callable[..., LocalStore]) -> None:
    store = open_with()

    def ndcg(*, reranked: bool) -> float:
        gains = [
            ndcg_at_k(
                ids(store, text=question.format(name), k=10, use_cross_encoder=reranked),
                [f"{name} {place}" for place in range(len(UNSEEN))],
            )
            for name in NAMES[::3]
            for question in ASKED
        ]
        return float(np.mean(gains))

    fused, reranked = ndcg(reranked=False), ndcg(reranked=True)
    assert reranked > fused + 0.2, (fused, reranked)


def test_only_the_first_are_reordered_and_scores_descend(open_with: Callable[..., LocalStore]) -> None:
    store = open_with(cross_encoder_top_n=5)
    asked = Query(text="tell me of the film", k=12)
    fused = [hit.memory.id for hit in store.search(asked)]
    hits = store.search(Query(text=asked.text, k=12, use_cross_encoder=True))
    assert sorted(hit.memory.id for hit in hits[:5]) == sorted(fused[:5])
    assert [hit.memory.id for hit in hits[5:]] == fused[5:]
    assert [hit.reranked for hit in hits] == [True] * 5 + [None] * 7
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
def test_pages_and_fewer_hits_are_parts_of_the_same_order(open_with: Callable[..., LocalStore], mode: str) -> None:
    store = open_with(cross_encoder_top_n=8, use_cross_encoder=True)
    text = "what about the film near the river"
    whole = ids(store, text=text, k=12, mode=mode)
    assert ids(store, text=text, k=3, mode=mode) == whole[:3]
    assert ids(store, text=text, k=6, offset=3, mode=mode) == whole[3:9]


def test_signals_add_up_to_the_score(open_with: Callable[..., LocalStore]) -> None:
    for hit in open_with().search(Query(text="tell me of the film", k=24, explain=True, use_cross_encoder=True)):
        assert hit.signals is not None
        assert math.isclose(sum(hit.signals.values()), hit.score, abs_tol=1e-9)
        assert "reranked" in hit.signals


def test_when_time_runs_out_the_order_stands_and_the_hits_say_so(open_with: Callable[..., LocalStore]) -> None:
    store = open_with(cross_encoder_budget_s=1e-9, cross_encoder_top_n=4)
    fused = store.search(Query(text="tell me of the film", k=6, use_cross_encoder=False))
    late = store.search(Query(text="tell me of the film", k=6, use_cross_encoder=True))
    assert [(hit.memory.id, hit.score) for hit in late] == [(hit.memory.id, hit.score) for hit in fused]
    assert [hit.reranked for hit in late] == [False] * 4 + [None] * 2
    assert all(hit.reranked is None for hit in fused)


def test_the_setting_counts_where_the_query_says_nothing(open_with: Callable[..., LocalStore]) -> None:
    store = open_with(use_cross_encoder=True)
    assert store.search(Query(text="tell me of the film"))[0].reranked
    assert store.search(Query(text="tell me of the film", use_cross_encoder=False))[0].reranked is None
    vector = np.ones(store.health().dim["text"])
    assert store.search(Query(vector=vector))[0].reranked is None


def test_nothing_found_is_nothing_to_read(open_with: Callable[..., LocalStore]) -> None:
    assert open_with().search(Query(text="film", namespace=("nobody",), use_cross_encoder=True)) == []


def test_speaker_and_best_passage_are_what_is_read(open_with: Callable[..., LocalStore]) -> None:
    read: list[str] = []

    class Longest:
        """Prefers long texts; a reranker of one's own."""

        def scores(self, question: str, texts: Sequence[str], *, budget_s: float) -> "npt.NDArray[np.float64]":
            assert (question, budget_s) == ("gym", pytest.approx(LONG_S, abs=60))
            read.extend(texts)
            return np.array([len(text) for text in texts], np.float64)

        def close(self) -> None:
            read.append("closed")

    store = open_with(Longest())
    spoken = "The gym opens at seven. " * 80
    store.add(
        [
            Draft(id="ana", text="The gym is shut.", speaker="Ana", namespace=("gym",)),
            Draft(id="long", text=f"Ducks swim. {spoken}", namespace=("gym",)),
            Draft(id="bare", embedding=np.ones(384), namespace=("gym",)),
        ]
    )
    found = ids(store, text="gym", namespace=("gym",), use_cross_encoder=True)
    assert found[-1] == "bare"
    assert "Ana: The gym is shut." in read
    assert "" in read
    (long,) = [text for text in read if text.count("seven") > 1]
    assert len(long) < len(spoken)
    store.close_models()
    assert read[-1] == "closed"


def test_what_expires_while_it_is_read_is_not_found_and_the_rest_not_read_again(tmp_path: Path) -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    read: list[str] = []

    class Slow:
        """Takes a day to read."""

        def scores(self, question: str, texts: Sequence[str], *, budget_s: float) -> "npt.NDArray[np.float64]":  # noqa: ARG002  # the port's
            now[0] += timedelta(days=1)
            read.extend(texts)
            return np.arange(len(texts), dtype=np.float64)

        def close(self) -> None:
            """Hold nothing."""

    settings = UnifiedSettings.for_testing(
        database={"url": f"sqlite:///{tmp_path}/memory.db"}, ranking={"use_cross_encoder": True}
    )
    with open_store(settings, reranker=Slow(), clock=lambda: now[0]) as store:
        soon = now[0] + timedelta(hours=1)
        store.add([Draft(id="milk", text="buy milk", expires_at=soon), Draft(id="tea", text="buy tea")])
        assert ids(store, text="buy") == ["tea"]
    assert sorted(read) == ["buy milk", "buy tea"]


@pytest.mark.parametrize("wrong", [1, "yes", 0])
def test_whether_is_yes_no_or_none(wrong: object) -> None:
    with pytest.raises(InvalidQuery, match="use_cross_encoder must be True, False or None"):
        Query(text="tea", use_cross_encoder=wrong)  # type: ignore[arg-type]  # what the test is about


def test_a_question_without_words_cannot_be_read() -> None:
    with pytest.raises(InvalidQuery, match="reads the question"):
        Query(vector=[1.0], use_cross_encoder=True)


def test_a_missing_package_names_the_extra(
    open_with: Callable[..., LocalStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_with()
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtra, match=r"cross-encoder .* pip install 'ums-core\[sentence-transformers\]'"):
        store.search(Query(text="tea", use_cross_encoder=True))
    assert store.search(Query(text="movie"))
