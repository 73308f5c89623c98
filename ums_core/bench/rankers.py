"""Who ranks the turns of a conversation for a question: UMS, the usual baselines, and chance."""

import contextlib
import tempfile
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from ums_core import Draft, Hit, MemoryStore, Query, UnifiedSettings, open_store
from ums_core.bench.locomo_data import Conversation, Turn
from ums_core.errors import MissingExtra
from ums_core.ranking.rrf import rrf

__all__ = ["DEPTH", "DRAWS", "Bm25Ranker", "RandomRanker", "Ranker", "RrfRanker", "UmsRanker", "UmsView"]

DEPTH = 200
DRAWS = 10
# A benchmark of quality waits for a cross-encoder.
_PATIENCE_S = 600.0


class Ranker(Protocol):
    """Ranks the turns of one conversation at a time."""

    def prepare(self, conversation: Conversation) -> None:
        """Take up a conversation in place of the last one."""
        ...

    def rank(self, question: str) -> list[str]:
        """Distinct dia_ids of the conversation, best first; at most ``DEPTH`` of them count."""
        ...

    def close(self) -> None:
        """Let go of everything; ``prepare`` is not called again."""
        ...


class UmsRanker:
    """UMS in its default configuration, one fresh database a conversation.

    Args:
        embedder: name of another embedder than the default one.
        cross_encoder: name or folder of the cross-encoder for views that ask for one.
    """

    def __init__(self, embedder: str | None = None, *, cross_encoder: str | None = None) -> None:
        self._embedder = embedder
        self._cross_encoder = cross_encoder
        self._held: Conversation | None = None
        self._namespace: tuple[str, ...] = ()
        self._open = contextlib.ExitStack()
        self._store: MemoryStore | None = None

    def prepare(self, conversation: Conversation) -> None:
        """Store every turn as one memory of a new database, unless it is the one that was taken up last."""
        if conversation is self._held:
            return
        self.close()
        directory = self._open.enter_context(tempfile.TemporaryDirectory(prefix="ums-bench-"))
        model = {} if self._embedder is None else {"embedder": self._embedder}
        ranking: dict[str, object] = {"cross_encoder_budget_s": _PATIENCE_S}
        if self._cross_encoder is not None:
            ranking["cross_encoder"] = self._cross_encoder
        settings = UnifiedSettings(database={"url": f"sqlite:///{directory}/memory.db"}, model=model, ranking=ranking)
        self._store = self._open.enter_context(open_store(settings))
        self._namespace = ("bench", conversation.sample_id)
        self._held = conversation
        self._store.add(
            [
                Draft(
                    text=turn.text.strip(),
                    caption=turn.caption or None,
                    id=turn.dia_id,
                    namespace=self._namespace,
                    role=turn.role,
                    speaker=turn.speaker or None,
                    session=turn.session or None,
                    position=turn.position,
                    occurred_at=turn.occurred_at,
                )
                for turn in conversation.turns
                if turn.text.strip() or turn.caption
            ]
        )

    def rank(self, question: str) -> list[str]:
        """The ids of the hits."""
        return self.asked(question)

    def asked(self, question: str, **options: object) -> list[str]:
        """The ids of the hits of a query with options of its own."""
        return [hit.memory.id for hit in self.hits(question, **options)]

    def hits(self, question: str, **options: object) -> list[Hit]:
        """The hits of a query with options of its own."""
        assert self._store is not None, "prepare() comes before the questions"
        return self._store.search(Query(text=question, namespace=self._namespace, **{"k": DEPTH, **options}))  # type: ignore[arg-type]  # checked by Query

    def view(self, **options: object) -> "UmsView":
        """The same store asked in another way."""
        return UmsView(self, options)

    def close(self) -> None:
        """Close the store and delete its directory."""
        self._held = None
        self._open.close()


class UmsView:
    """A store asked with other options of the query; it is the store's owner who closes it.

    Args:
        owner: holds the store.
        options: fields of the query.
    """

    def __init__(self, owner: UmsRanker, options: Mapping[str, object]) -> None:
        self._owner = owner
        self._options = dict(options)

    def prepare(self, conversation: Conversation) -> None:
        """Let the owner take it up."""
        self._owner.prepare(conversation)

    def rank(self, question: str) -> list[str]:
        """The ids of the hits."""
        return self._owner.asked(question, **self._options)

    def close(self) -> None:
        """Nothing to let go of."""


class RrfRanker:
    """Two rankings fused by their ranks alone, the usual default elsewhere.

    Source: Cormack, Clarke, Buettcher, SIGIR 2009, k 60.
    """

    def __init__(self, *rankers: Ranker) -> None:
        self._rankers = rankers

    def prepare(self, conversation: Conversation) -> None:
        """Let each take it up."""
        for ranker in self._rankers:
            ranker.prepare(conversation)

    def rank(self, question: str) -> list[str]:
        """The ids of both, best first."""
        return [id_ for id_, _ in rrf([ranker.rank(question) for ranker in self._rankers])]

    def close(self) -> None:
        """Close each."""
        for ranker in self._rankers:
            ranker.close()


class Bm25Ranker:
    """Okapi BM25 (k1 1.5, b 0.75) over ``[date] Speaker: text caption``, English stop words dropped, stems compared.

    A turn that shares no term with the question is not ranked; ties keep the order of the conversation.

    Raises:
        MissingExtra: bm25s or its stemmer is not installed.

    Source: Robertson, Zaragoza, FnTIR 3(4), 2009; the variant is bm25s' default, that of Lucene.
    """

    def __init__(self) -> None:
        try:
            import bm25s  # type: ignore[import-untyped]  # noqa: PLC0415  # of the extra "bench"; it ships no types
            import Stemmer  # type: ignore[import-not-found]  # noqa: PLC0415  # as above; a C module without stubs
        except ImportError as e:
            raise MissingExtra(f"{e.name} is not installed; pip install 'ums-core[bench]'") from e
        self._bm25s = bm25s
        self._stemmer = Stemmer.Stemmer("english")
        self._ids: list[str] = []

    def prepare(self, conversation: Conversation) -> None:
        """Index the turns."""
        self._ids = [turn.dia_id for turn in conversation.turns]
        self._index = self._bm25s.BM25(k1=1.5, b=0.75)
        self._index.index(self._terms([_dated(turn) for turn in conversation.turns]), show_progress=False)

    def rank(self, question: str) -> list[str]:
        """The turns of positive score."""
        (terms,) = self._terms([question])
        if not terms:
            return []
        scores = self._index.get_scores(terms)
        best = np.argsort(-scores, kind="stable")[:DEPTH]
        return [self._ids[place] for place in best if scores[place] > 0]

    def close(self) -> None:
        """Nothing to let go of."""

    def _terms(self, texts: list[str]) -> list[list[str]]:
        return list(
            self._bm25s.tokenize(
                texts, stopwords="en_plus", stemmer=self._stemmer, return_ids=False, show_progress=False
            )
        )


class RandomRanker:
    """A fresh permutation a question; the mean over several seeds estimates what chance finds."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._ids: list[str] = []

    def prepare(self, conversation: Conversation) -> None:
        """Note the ids."""
        self._ids = [turn.dia_id for turn in conversation.turns]

    def rank(self, question: str) -> list[str]:  # noqa: ARG002  # chance does not read the question
        """Turns in random order."""
        return [self._ids[place] for place in self._random.permutation(len(self._ids))[:DEPTH]]

    def close(self) -> None:
        """Nothing to let go of."""


def _dated(turn: Turn) -> str:
    date = "" if turn.occurred_at is None else f"[{turn.occurred_at.day} {turn.occurred_at:%B %Y}] "
    return f"{date}{turn.speaker}: {turn.text} {turn.caption}"
