"""The contestants of ``python -m ums_core.bench search``, and their times."""

import importlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ums_core import LocalStore, Query, UnifiedSettings, open_store
from ums_core.bench.store_data import EVERYTHING, SCOPES, Corpus, make_corpus
from ums_core.bench.store_timing import Track, interleave
from ums_core.bench.untrained import MINILM_L6, Shape, make_cross_encoder
from ums_core.errors import MissingExtra

__all__ = ["Plan", "Row", "measured"]

K = 10
DIVERSITY = 0.3
_FEW = SCOPES[0]
_WORDS_ASKED = 5
_TURNS = 25
_BATCH = 10_000
_NONE = "none"
_RERANKED = "ums hybrid, cross-encoder"
_LANGGRAPH = "LangGraph InMemoryStore"
_WAYS: dict[str, dict[str, object]] = {
    "ums vector": {"mode": "vector"},
    "ums vector, MMR": {"mode": "vector", "diversity": DIVERSITY},
    "ums words": {"mode": "keyword"},
    "ums hybrid": {},
    "ums hybrid, explained": {"explain": True},
    "ums hybrid, MMR": {"diversity": DIVERSITY},
    "ums vector, 1 %": {"mode": "vector", "namespace": _FEW.namespace},
    "ums words, 1 %": {"mode": "keyword", "namespace": _FEW.namespace},
    "ums hybrid, 1 %": {"namespace": _FEW.namespace},
    _RERANKED: {"use_cross_encoder": True},
}

Ask = Callable[[int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        sizes: numbers of memories.
        others_max: largest size at which Chroma and LangGraph's store take part.
        cross_encoder: name or folder; None stands for an untrained one, ``none`` for no such row.
        shape: of the untrained one.
        slow: queries a round of what takes tens of milliseconds.
        in_a_row: queries of one before the next one's turn.
    """

    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    others_max: int = 10_000
    cross_encoder: str | None = None
    shape: Shape = MINILM_L6
    dim: int = 384
    queries: int = 100
    slow: int = 10
    in_a_row: int = 1
    rounds: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a search costs one contestant: microseconds, and searches a second of one thread and of all."""

    name: str
    n: int
    first_us: float
    p50_us: float
    p95_us: float
    qps: float
    qps_all: float


def measured(plan: Plan, say: Callable[[str], object] = lambda _: None) -> Iterator[Row]:
    """The rows of each size, in the order of the sizes.

    Raises:
        MissingExtra: a package of the extra ``bench`` is not installed.
    """
    for n in plan.sizes:
        say(f"{n}: make and ingest")
        corpus = _talking(make_corpus(n, extra=0, queries=plan.queries, dim=plan.dim, seed=plan.seed))
        with ExitStack() as open_:
            folder = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="ums-bench-")))
            asks = _ours(corpus, plan, folder, open_)
            try:
                asks |= _others(corpus, folder, open_, small=n <= plan.others_max)
            except ImportError as e:
                raise MissingExtra(f"{e.name} is not installed; pip install 'ums-core[bench]'") from e
            say(f"{n}: search")
            yield from _timed(asks, n, plan)


def _talking(corpus: Corpus) -> Corpus:
    """The memories of each namespace as turns of two people, in sessions of 25."""
    said: Counter[tuple[str, ...]] = Counter()
    drafts = []
    for draft in corpus.drafts:
        number = said[draft.namespace]
        said[draft.namespace] += 1
        session, position = divmod(number, _TURNS)
        drafts.append(replace(draft, session=f"s{session}", position=position, speaker=("Ana", "Ben")[number % 2]))
    return replace(corpus, drafts=drafts)


def _ours(corpus: Corpus, plan: Plan, folder: Path, open_: ExitStack) -> dict[str, Ask]:
    ranking: dict[str, object] = {"cross_encoder_budget_s": 600.0}
    ways = dict(_WAYS)
    if plan.cross_encoder == _NONE:
        del ways[_RERANKED]
    elif plan.cross_encoder is None:
        words = (word for draft in corpus.drafts[:1000] for word in draft.text.split())
        ranking["cross_encoder"] = str(make_cross_encoder(folder / "cross-encoder", words, plan.shape))
    else:
        ranking["cross_encoder"] = plan.cross_encoder
    settings = UnifiedSettings(
        database={"url": f"sqlite:///{folder}/memory.db"},
        model={"embedder": _NONE, "vector_dim": plan.dim},
        ranking=ranking,
    )
    store = open_.enter_context(open_store(settings))
    for start in range(0, len(corpus.drafts), _BATCH):
        store.add(corpus.drafts[start : start + _BATCH])
    store.settle()
    texts = _questions(corpus, plan)
    return {name: partial(_ask, store, corpus, texts, way) for name, way in ways.items()}


def _ask(store: LocalStore, corpus: Corpus, texts: Sequence[str], way: Mapping[str, object], number: int) -> object:
    query = Query(text=texts[number], vector=corpus.queries[number], k=K, **way)  # type: ignore[arg-type]  # checked by Query
    hits = store.search(query)
    assert not query.use_cross_encoder or hits[0].reranked, "the cross-encoder did not answer"
    return hits


def _questions(corpus: Corpus, plan: Plan) -> list[str]:
    """Five words of a memory of the small namespace each, leaving out those that stand in every tenth memory."""
    rng = np.random.default_rng([plan.seed, corpus.n, 1])
    sample = [set(draft.text.split()) for draft in corpus.drafts[:2000]]
    held = Counter(word for words in sample for word in words)
    rows = rng.choice(corpus.rows(_FEW), size=plan.queries).tolist()
    questions = []
    for row in rows:
        telling = sorted({word for word in corpus.drafts[row].text.split() if 10 * held[word] < len(sample)})
        questions.append(" ".join(rng.permutation(telling)[:_WORDS_ASKED]))
    return questions


def _others(corpus: Corpus, folder: Path, open_: ExitStack, *, small: bool) -> dict[str, Ask]:
    from ums_core.bench.reference import Reference  # noqa: PLC0415  # of the extra "bench"

    (folder / "reference").mkdir()
    reference = Reference(folder / "reference", corpus.vectors.shape[1], terms=False)
    open_.enter_context(closing(reference))
    reference.ingest([corpus.drafts])
    reference.build_from("graph", corpus.vectors)
    asks: dict[str, Ask] = {"FAISS and SQLite": lambda number: reference.search(corpus.queries[number], EVERYTHING)}
    if not small:
        return asks
    from ums_core.bench.chroma import Chroma  # noqa: PLC0415  # of the extra "bench"

    chroma = open_.enter_context(closing(Chroma(folder / "chroma")))
    chroma.ingest([corpus.drafts])
    return asks | {
        "Chroma": lambda number: chroma.search(corpus.queries[number], EVERYTHING),
        _LANGGRAPH: _langgraph(corpus),
    }


def _langgraph(corpus: Corpus) -> Ask:
    # By name: no part of UMS depends on an agent framework, and this one is only run beside it.
    module = importlib.import_module("langgraph.store.memory")
    vectors = {draft.text: vector.tolist() for draft, vector in zip(corpus.drafts, corpus.vectors, strict=True)}
    vectors |= {f"query {number}": vector.tolist() for number, vector in enumerate(corpus.queries)}
    index = {
        "dims": corpus.vectors.shape[1],
        "embed": lambda texts: [vectors[text] for text in texts],
        "fields": ["text"],
    }
    memory = module.InMemoryStore(index=index)
    for row, draft in enumerate(corpus.drafts):
        memory.put(("bench",), str(row), {"text": draft.text})
    return lambda number: memory.search(("bench",), query=f"query {number}", limit=K)


def _timed(asks: Mapping[str, Ask], n: int, plan: Plan) -> Iterator[Row]:
    counts = {name: min(plan.queries, plan.slow) if name in {_RERANKED, _LANGGRAPH} else plan.queries for name in asks}
    first = {name: [_us(ask, number) for number in range(counts[name])] for name, ask in asks.items()}
    # Each at another query, so that none finds in the caches what the one before it has just looked at.
    tracks = {
        name: Track(ask, partial(_from, place, counts[name]), lambda _, answer: _answered(answer))
        for place, (name, ask) in enumerate(asks.items())
    }
    times = interleave(tracks, plan.rounds, plan.in_a_row)
    threads = os.cpu_count() or 1
    for name, ask in asks.items():
        with ThreadPoolExecutor(threads) as pool:
            start = time.perf_counter()
            list(pool.map(ask, range(counts[name])))
            together_s = time.perf_counter() - start
        yield Row(
            name=name,
            n=n,
            first_us=float(np.median(first[name])),
            p50_us=times[name].us(50),
            p95_us=times[name].us(95),
            qps=1e6 / times[name].mean_us(),
            qps_all=counts[name] / together_s,
        )


def _from(place: int, count: int) -> list[int]:
    """The numbers of all queries, beginning with another one at each place."""
    return [(place + number) % count for number in range(count)]


def _us(ask: Ask, number: int) -> float:
    start = time.perf_counter_ns()
    ask(number)
    return (time.perf_counter_ns() - start) / 1e3


def _answered(answer: object) -> None:
    assert answer, "a search found nothing"
