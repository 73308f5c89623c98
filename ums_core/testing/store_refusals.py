"""What a store refuses, by which error, and that nothing was written then."""

# ruff: noqa: D102  # a test's name is the behaviour

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ums_core import errors
from ums_core.errors import (
    DimensionMismatch,
    EmbedderMismatch,
    IdempotencyConflict,
    InvalidField,
    InvalidFilter,
    InvalidInput,
    InvalidMetadata,
    InvalidNamespace,
    InvalidQuery,
    InvalidText,
    InvalidVector,
    MemoryNotFound,
    SettingsError,
    StoreClosed,
    UMSError,
)
from ums_core.ports import MemoryStore
from ums_core.records import Draft, Passage, Patch, Query
from ums_core.testing.samples import UNRELATED
from ums_core.testing.store_case import MakeStore, StoreCase, everything

__all__ = ["StoreRefusals"]

# What the caller of one store cannot bring about by what it says.
NOT_BY_INPUT = {
    "ModelNotExportable",  # of a model, not of a store
    *("UMSError", "InvalidInput", "StorageError", "TryLater"),  # roots, never raised themselves
    *("Unauthenticated", "Forbidden", "TooLarge", "RateLimited", "Overloaded", "RemoteError"),  # of a service's state
    *("IndexRecovering", "MaintenanceRunning", "MissingExtra"),  # of the machine's state
    "ServiceUnreachable",  # of the network
    *("StaysOnDevice", "PrivacyModeStrict", "ConsentRequired"),  # of the dual channel
    "NotOnThisChannel",  # of the awaitable door, for verbs beyond the protocol
    *("DirectoryNotWritable", "DiskFull", "NotADatabase", "DatabaseTooNew", "DatabaseBusy"),  # of the disk's
    *("DatabaseEncrypted", "DatabaseNotEncrypted", "WrongKey"),  # of the key that opens it
    *(
        "KeyFailure",
        "KeyUnavailable",
        "KeyDenied",
        "KeyMissing",
        "KeyCorrupt",
        "KeyFileUnsafe",
        "InvalidKey",
    ),  # likewise
    *("SealBroken", "TamperSuspected"),  # of what others did to the files
}
BAD_TEXTS = ("a lone \ud800 surrogate", 5, None, b"bytes")
BAD_LABELS = ("", "\0", "\udfff", 5, None)
BAD_PREFIXES = ("users", 5, {"a"}, ("",), ("a", ""), ("a", 5), ("\ud800",), ("a\0",))
BAD_NAMESPACES = (*BAD_PREFIXES, None)
BAD_METADATA: tuple[Any, ...] = (
    *(None, [], "text", {1: "a"}, {"a": {1: 2}}, {"a": object()}, {"a": {1, 2}}, {"a": float("nan")}),
    *({"a": [float("inf")]}, {"a": 2**63}, {"a": b"bytes"}, {"a\0": 1}, {"a": "\ud800"}, {1: "a", "b": 2}),
)
BAD_FILTERS: tuple[Any, ...] = (
    *(5, "role", [], {"role": {"$near": 1}}, {"$xor": []}, {"$and": {}}, {"a": {"$in": "text"}}, {"": 1}),
    *({"a": {"$between": [1]}}, {"created_at": 5}, {"a": float("nan")}, {"a": "\ud800"}, {"a": object()}),
    *({"text": {"$text_match": 5}}, {1: 2}, {"metadata": 1}, {"a": {"$exists": "yes"}}),
)
BAD_WEIGHTS: tuple[Any, ...] = (
    *({}, {"dense": -1}, {"dense": float("nan")}, {"lexical": float("inf")}, {"dense": 0}, {"dense": "1"}),
    *({"sparse": 1}, {"dense": True}, [1, 2], "dense"),
)


@dataclass(frozen=True)
class Refusal:
    """Something that a store must refuse.

    Attributes:
        what: is unusable.
        value: that it has.
        error: the exact class.
        act: what to do with a store whose vectors have ``dim`` components.
    """

    what: str
    value: str
    error: type[UMSError]
    act: Callable[[MemoryStore, int], object]


Made = Draft | Patch | Query


def _give(store: MemoryStore, made: Made) -> object:
    if isinstance(made, Query):
        return store.search(made)
    return store.update([made]) if isinstance(made, Patch) else store.add([made])


def _on(
    what: str, error: type[UMSError], values: Sequence[Any], act: Callable[[MemoryStore, Any], object]
) -> list[Refusal]:
    """One refusal a value."""
    return [Refusal(what, f"{value!a:.60}", error, lambda s, _, value=value: act(s, value)) for value in values]  # type: ignore[misc]  # the default binds the value of this round


def _each(what: str, error: type[UMSError], values: Sequence[Any], make: Callable[[Any], Made]) -> list[Refusal]:
    """One refusal a value; what ``make`` returns is added, updated or searched."""
    return _on(what, error, values, lambda store, value: _give(store, make(value)))


def _bad_vectors(dim: int) -> list[tuple[type[UMSError], Any]]:
    ones = np.ones(dim, np.float32)
    spoilt = [np.where(np.arange(dim) == 1, x, ones) for x in (np.nan, np.inf, -np.inf)]
    of_length = [(DimensionMismatch, [1.0] * length) for length in (0, 1, dim - 1, dim + 1, 2 * dim)]
    nonsense = ["text", [["a"] * dim], [None] * dim, np.ones((1, dim)), np.ones((dim, 1)), np.float32(1), [object()]]
    return [*of_length, *((InvalidVector, v) for v in (*spoilt, [1e300] * dim, np.zeros(dim), 1e-20 * ones, *nonsense))]


def _with_vector(what: str, make: Callable[[Any], Made]) -> list[Refusal]:
    return [
        Refusal(what, f"{value!a:.60}", error, lambda s, dim, place=place: _give(s, make(_bad_vectors(dim)[place][1])))  # type: ignore[misc]  # as above
        for place, (error, value) in enumerate(_bad_vectors(8))
    ]


def _patch(**changes: object) -> Patch:
    return Patch(id="a", changes=changes)


OF_VECTORS = [
    *_with_vector("an embedding", lambda v: Draft(embedding=v)),
    *_with_vector("a passage's vector", lambda v: Draft(text="a", passages=(Passage(vector=v),))),
    *_with_vector("a patched embedding", lambda v: _patch(embedding=v)),
    *_with_vector("a vector to search", lambda v: Query(vector=v)),
    *_each("a passage", InvalidVector, ("text", "image"), lambda v: Draft(passages=(Passage(modality=v),))),
]
OF_DRAFTS = [
    *_each("a text", InvalidText, BAD_TEXTS, lambda v: Draft(text=v)),
    *_each("an empty text", InvalidText, ("", " \n"), lambda v: Draft(text=v)),
    *_each("a passage's text", InvalidText, BAD_TEXTS[:2], lambda v: Draft(passages=(Passage(text=v),))),
    *_each("a namespace", InvalidNamespace, BAD_NAMESPACES, lambda v: Draft(text="a", namespace=v)),
    *_each("metadata", InvalidMetadata, BAD_METADATA, lambda v: Draft(text="a", metadata=v)),
    *_each("an id", InvalidField, BAD_LABELS[:-1], lambda v: Draft(text="a", id=v)),
    *_each("tags", InvalidField, ("red", 5, [""], [5]), lambda v: Draft(text="a", tags=v)),
    *_each("a level", InvalidField, (-1, 1.5, True, 2**63), lambda v: Draft(text="a", level=v)),
    *_each("importance", InvalidField, (-0.1, 1.1, float("nan"), "1"), lambda v: Draft(text="a", importance=v)),
    *_each("a moment", InvalidField, ("2025-01-01", 5), lambda v: Draft(text="a", expires_at=v)),
    *_each("passages", InvalidField, ((5,), ("a",)), lambda v: Draft(text="a", passages=v)),
    *_each("a modality", SettingsError, ("smell",), lambda v: Draft(embedding=[1.0], modality=v)),
]
OF_PATCHES = [
    *_each("a patched text", InvalidText, ("", *BAD_TEXTS), lambda v: _patch(text=v, metadata={})),
    *_each("patched metadata", InvalidMetadata, BAD_METADATA, lambda v: _patch(metadata=v)),
    *_each("a patched level", InvalidField, (-1, "1"), lambda v: _patch(level=v)),
    *_each("a patched field", InvalidField, ("id", "created_at", "nonsense"), lambda v: _patch(**{v: "x"})),
    *_each("changes", InvalidField, (5, None, ["level"]), lambda v: Patch(id="a", changes=v)),
    *_each("a patch's id", InvalidField, BAD_LABELS, lambda v: Patch(id=v)),
    *_each("a patch's namespace", InvalidNamespace, BAD_NAMESPACES, lambda v: Patch(id="a", namespace=v)),
    *_each("an unknown id", MemoryNotFound, ("unknown",), lambda v: Patch(id=v)),
]
OF_QUERIES = [
    *_each("k", InvalidQuery, (0, -1, 1.5, "3", True, None), lambda v: Query(text="a", k=v)),
    *_each("weights", InvalidQuery, BAD_WEIGHTS, lambda v: Query(text="a", weights=v)),
    *_each("a filter", InvalidFilter, BAD_FILTERS, lambda v: Query(text="a", filter=v)),
    *_each("a mode", InvalidQuery, ("", "fuzzy", None), lambda v: Query(text="a", mode=v)),
    *_each("a level", InvalidQuery, ("1", 1.5, True), lambda v: Query(text="a", level=v)),
    *_each("a question", InvalidQuery, ("", " ", None), lambda v: Query(text=v)),
    *_each("a question", InvalidText, ("\ud800", 5), lambda v: Query(text=v)),
    *_each("words", InvalidQuery, (None, ""), lambda v: Query(text=v, vector=[1.0], mode="keyword")),
    *_each("a prefix", InvalidNamespace, BAD_NAMESPACES, lambda v: Query(text="a", namespace=v)),
    *_each("a modality", SettingsError, ("smell",), lambda v: Query(vector=[1.0], modality=v)),
]
OF_VERBS = [
    *_on("get from", InvalidNamespace, BAD_NAMESPACES, lambda s, v: s.get(["a"], namespace=v)),
    *_on("delete from", InvalidNamespace, BAD_NAMESPACES, lambda s, v: s.delete(["a"], namespace=v)),
    *_on("scan of", InvalidNamespace, BAD_NAMESPACES, lambda s, v: s.scan(namespace=v)),
    *_on("count of", InvalidNamespace, BAD_NAMESPACES, lambda s, v: s.count(namespace=v)),
    *_on("namespaces under", InvalidNamespace, BAD_NAMESPACES, lambda s, v: s.namespaces(prefix=v)),
    *_on("scan by", InvalidFilter, BAD_FILTERS, lambda s, v: s.scan(filter=v)),
    *_on("count by", InvalidFilter, BAD_FILTERS, lambda s, v: s.count(filter=v)),
    *_on("namespaces by", InvalidFilter, BAD_FILTERS, lambda s, v: s.namespaces(filter=v)),
    *_on("forget by", InvalidFilter, BAD_FILTERS, lambda s, v: s.forget(where=v)),
    *_on("forget in", InvalidNamespace, BAD_PREFIXES, lambda s, v: s.forget(namespace=v)),
    *_on("consolidate in", InvalidNamespace, BAD_PREFIXES, lambda s, v: s.consolidate(namespace=v)),
    *_on("get of", InvalidField, BAD_LABELS, lambda s, v: s.get([v])),
    *_on("delete of", InvalidField, BAD_LABELS, lambda s, v: s.delete(["a", v])),
    *_on("ids", InvalidQuery, ("a",), lambda s, v: s.get(v)),
    *_on("ids to delete", InvalidQuery, ("a",), lambda s, v: s.delete(v)),
    *_on("limit", InvalidQuery, (0, -1, 1.5, "3", True, None), lambda s, v: s.scan(limit=v)),
    *_on("direction", InvalidField, (1, 0, "yes", None), lambda s, v: s.scan(descending=v)),
    *_on("cursor", InvalidQuery, ("1", 1.5, True), lambda s, v: s.scan(cursor=v)),
    *_on("key of add", InvalidField, BAD_LABELS[:-1], lambda s, v: s.add([Draft(text="a")], idempotency_key=v)),
    *_on("key of update", InvalidField, BAD_LABELS[:-1], lambda s, v: s.update([_patch(level=1)], idempotency_key=v)),
    *_on("key of delete", InvalidField, BAD_LABELS[:-1], lambda s, v: s.delete(["a"], idempotency_key=v)),
]
# Their values are looked at only where the write is, so a key must not change what is said of them.
UNDER_A_KEY = [
    *_on(
        "keyed metadata",
        InvalidMetadata,
        BAD_METADATA,
        lambda s, v: s.update([_patch(metadata=v)], idempotency_key="k"),
    ),
    *_on("keyed text", InvalidText, BAD_TEXTS, lambda s, v: s.update([_patch(text=v)], idempotency_key="k")),
    *_on(
        "keyed embedding",
        InvalidVector,
        ("text", [["a"]], [object()]),
        lambda s, v: s.add([Draft(embedding=v)], idempotency_key="k"),
    ),
]
REFUSALS = [*OF_VECTORS, *OF_DRAFTS, *OF_PATCHES, *OF_QUERIES, *OF_VERBS, *UNDER_A_KEY]


def _by_what(refusals: Sequence[Refusal]) -> dict[str, list[Refusal]]:
    groups: dict[str, list[Refusal]] = {}
    for refusal in refusals:
        groups.setdefault(refusal.what, []).append(refusal)
    return groups


class StoreRefusals(StoreCase):
    """Errors by their class, each with nothing written."""

    @pytest.mark.parametrize("what", _by_what(REFUSALS))
    def test_bad_input_is_named_and_writes_nothing(self, store: MemoryStore, what: str) -> None:
        store.add([Draft(id="a", text=UNRELATED[0], metadata={"n": 1})])
        before = everything(store), store.health().seq
        refused = _by_what(REFUSALS)[what]
        raised: dict[str, type[Exception]] = {}
        for refusal in refused:
            try:
                refusal.act(store, self.dim)
            except Exception as error:  # noqa: BLE001  # compared with what it should be
                raised[refusal.value] = type(error)
        assert raised == {refusal.value: refusal.error for refusal in refused}
        assert (everything(store), store.health().seq) == before
        assert [hit.memory for hit in store.search(Query(text=UNRELATED[0]))] == before[0]

    def test_text_is_refused_where_the_vectors_are_the_callers(self, make_store: MakeStore) -> None:
        with make_store() as store:
            store.add([self.draft("a", text="words")])
            before = everything(store), store.health().seq
            with pytest.raises(EmbedderMismatch):
                store.add([self.draft("b"), Draft(text="words to embed")])
            with pytest.raises(EmbedderMismatch):
                store.update([_patch(text="other words")])
            with pytest.raises(EmbedderMismatch):
                store.search(Query(text="words", mode="vector"))
            assert (everything(store), store.health().seq) == before
            assert [hit.memory.id for hit in store.search(Query(text="words"))] == ["a"]

    def test_every_error_of_the_tree_is_accounted_for(self) -> None:
        tested = {refusal.error.__name__ for refusal in REFUSALS}
        elsewhere = {EmbedderMismatch.__name__, IdempotencyConflict.__name__, StoreClosed.__name__}
        assert tested | elsewhere | NOT_BY_INPUT == set(errors.__all__)

    def test_bad_input_is_a_value_error_that_says_what_to_do(self, store: MemoryStore) -> None:
        with pytest.raises(ValueError, match="components") as caught:
            store.add([Draft(embedding=[1.0])])
        assert isinstance(caught.value, InvalidInput)
        with pytest.raises(KeyError, match="unknown"):
            store.update([Patch(id="unknown")])

    @pytest.mark.parametrize("verb", ["add", "get", "update", "delete", "search", "scan", "count", "namespaces"])
    def test_a_closed_store_answers_nothing(self, make_store: MakeStore, verb: str) -> None:
        store = make_store()
        store.add([self.draft("a", text="zebra")])
        store.close()
        verbs: dict[str, list[Callable[[], object]]] = {
            "add": [
                lambda: store.add([self.draft("b")]),
                lambda: store.add([self.draft("b")], idempotency_key="k"),
                lambda: store.add([Draft(text="zebra")]),
            ],
            "get": [lambda: store.get(["a"])],
            "update": [lambda: store.update([Patch(id="a", changes={"level": 1})])],
            "delete": [lambda: store.delete(["a"])],
            "search": [
                lambda: store.search(self.near("a")),
                lambda: store.search(Query(text="zebra", mode="keyword")),
            ],
            "scan": [store.scan],
            "count": [store.count],
            "namespaces": [store.namespaces, store.health],
        }
        for act in verbs[verb]:
            with pytest.raises(StoreClosed):
                act()
        store.close()
        with make_store() as again:
            assert everything(again) == again.get(["a"])

    def test_closing_twice_is_closing(self, make_store: MakeStore) -> None:
        with make_store() as store:
            store.add([self.draft("a")])
            store.close()
            store.close()
        store.close()
