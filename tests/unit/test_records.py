"""Records are checked once, when they are made."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from nowhere import Nowhere

from ums_core import Draft, Filter, Passage, Patch, Query
from ums_core.errors import (
    InvalidField,
    InvalidFilter,
    InvalidInput,
    InvalidMetadata,
    InvalidNamespace,
    InvalidQuery,
    InvalidText,
    UMSError,
)


def nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"text": 3}, InvalidText),
        ({"text": ""}, InvalidText),
        ({"text": " \n"}, InvalidText),
        ({"text": "lone \ud800 surrogate"}, InvalidText),
        ({"namespace": "users"}, InvalidNamespace),
        ({"namespace": 7}, InvalidNamespace),
        ({"namespace": ("",)}, InvalidNamespace),
        ({"namespace": ("a", 1)}, InvalidNamespace),
        ({"namespace": ("a\0b",)}, InvalidNamespace),
        ({"namespace": ("\udfff",)}, InvalidNamespace),
        ({"id": ""}, InvalidField),
        ({"id": 5}, InvalidField),
        ({"role": "\0"}, InvalidField),
        ({"modality": ""}, InvalidField),
        ({"tags": "one"}, InvalidField),
        ({"tags": {"a": 1}}, InvalidField),
        ({"tags": ("",)}, InvalidField),
        ({"source_ids": (1,)}, InvalidField),
        ({"metadata": [1]}, InvalidMetadata),
        ({"metadata": {1: 2}}, InvalidMetadata),
        ({"metadata": {"a\0": 2}}, InvalidMetadata),
        ({"metadata": {"a": object()}}, InvalidMetadata),
        ({"metadata": {"a": {"b": {1, 2}}}}, InvalidMetadata),
        ({"metadata": {"a": [float("nan")]}}, InvalidMetadata),
        ({"metadata": {"a": float("inf")}}, InvalidMetadata),
        ({"metadata": {"a": 2**63}}, InvalidMetadata),
        ({"metadata": {"a": "\ud800"}}, InvalidMetadata),
        ({"metadata": nested(80)}, InvalidMetadata),
        ({"level": -1}, InvalidField),
        ({"level": True}, InvalidField),
        ({"level": 2**63}, InvalidField),
        ({"position": "1"}, InvalidField),
        ({"importance": 1.1}, InvalidField),
        ({"importance": float("nan")}, InvalidField),
        ({"importance": "high"}, InvalidField),
        ({"importance": True}, InvalidField),
        ({"emotional_intensity": -0.1}, InvalidField),
        ({"valence": -2}, InvalidField),
        ({"final": 1}, InvalidField),
        ({"created_at": "yesterday"}, InvalidField),
        ({"expires_at": datetime(2026, 1, 1)}, InvalidField),  # noqa: DTZ001  # naive on purpose
        ({"created_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}, InvalidField),
        ({"valid_from": datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))}, InvalidField),
        ({"occurred_at": datetime(2026, 1, 1, tzinfo=Nowhere())}, InvalidField),
        ({"passages": 5}, InvalidField),
        ({"channel": "elsewhere"}, InvalidField),
        ({"passages": ("a",)}, InvalidField),
        ({"passages": (Passage(),), "embedding": [1.0]}, InvalidField),
    ],
)
def test_a_draft_that_cannot_be_stored_is_refused_by_a_typed_error(
    fields: dict[str, object], error: type[UMSError]
) -> None:
    with pytest.raises(error) as raised:
        Draft(**{"text": "fine", **fields})  # type: ignore[arg-type]  # wrong on purpose
    assert raised.type is error
    assert isinstance(raised.value, ValueError)
    assert len(str(raised.value)) > 15


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, InvalidQuery),
        ({"text": "  "}, InvalidQuery),
        ({"text": "\ud800"}, InvalidText),
        ({"text": "a", "k": 0}, InvalidQuery),
        ({"text": "a", "k": -3}, InvalidQuery),
        ({"text": "a", "k": True}, InvalidQuery),
        ({"text": "a", "k": 1.5}, InvalidQuery),
        ({"text": "a", "mode": "fuzzy"}, InvalidQuery),
        ({"vector": [1.0], "mode": "keyword"}, InvalidQuery),
        ({"text": "a", "level": "0"}, InvalidQuery),
        ({"text": "a", "namespace": ["a", ""]}, InvalidNamespace),
        ({"text": "a", "weights": {}}, InvalidQuery),
        ({"text": "a", "weights": 1}, InvalidQuery),
        ({"text": "a", "weights": {"dense": -1}}, InvalidQuery),
        ({"text": "a", "weights": {"dense": float("nan")}}, InvalidQuery),
        ({"text": "a", "weights": {"dense": float("inf")}}, InvalidQuery),
        ({"text": "a", "weights": {"dense": "1"}}, InvalidQuery),
        ({"text": "a", "weights": {"dense": True}}, InvalidQuery),
        ({"text": "a", "weights": {"colour": 1}}, InvalidQuery),
        ({"text": "a", "weights": {"dense": 0, "lexical": 0}}, InvalidQuery),
        ({"text": "a", "kind": "poem"}, InvalidQuery),
        ({"text": "a", "offset": -1}, InvalidQuery),
        ({"text": "a", "offset": False}, InvalidQuery),
        ({"text": "a", "min_score": float("nan")}, InvalidQuery),
        ({"text": "a", "min_score": "0"}, InvalidQuery),
        ({"text": "a", "diversity": 1.1}, InvalidQuery),
        ({"text": "a", "diversity": True}, InvalidQuery),
        ({"text": "a", "recency": -0.1}, InvalidQuery),
        ({"text": "a", "recency": True}, InvalidQuery),
        ({"text": "a", "explain": 1}, InvalidQuery),
        ({"text": "a", "context": -1}, InvalidQuery),
        ({"text": "a", "context": False}, InvalidQuery),
        ({"text": "a", "context": 51}, InvalidQuery),
        ({"text": "a", "group": "speaker"}, InvalidQuery),
        ({"text": "a", "max_tokens": 0}, InvalidQuery),
        ({"text": "a", "max_tokens": 5, "offset": 1}, InvalidQuery),
        ({"text": "a", "filter": "role=user"}, InvalidFilter),
        ({"text": "a", "filter": {"level": {"$near": 1}}}, InvalidFilter),
    ],
)
def test_a_query_that_cannot_be_answered_is_refused(fields: dict[str, object], error: type[UMSError]) -> None:
    with pytest.raises(error) as raised:
        Query(**fields)  # type: ignore[arg-type]  # wrong on purpose
    assert raised.type is error


def test_a_query_brings_its_filter_and_namespace_into_one_form() -> None:
    query = Query(text="a", namespace=["a", "b"], filter={"role": "user"}, weights={"dense": 1})  # type: ignore[arg-type]
    assert query.namespace == ("a", "b")
    assert query.filter == Filter.where("role", "eq", "user")
    assert query.weights == {"dense": 1}


def test_what_was_given_is_copied_not_aliased() -> None:
    metadata: dict[str, object] = {"list": [1, (2, 3)], "deep": {"a": None, "b": True, "c": 1.5, "d": "é"}}
    draft = Draft(text="a", namespace=["x"], tags=["t"], metadata=metadata)  # type: ignore[arg-type]  # lists are taken
    metadata["list"].append(9)  # type: ignore[attr-defined]  # a list
    assert draft.metadata == {"list": [1, [2, 3]], "deep": {"a": None, "b": True, "c": 1.5, "d": "é"}}
    assert draft.namespace == ("x",)
    assert draft.tags == ("t",)


def test_a_draft_takes_every_field_in_its_range() -> None:
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    draft = Draft(
        text="a", id="x", role="user", level=2, modality="image", importance=1, valence=-1.0, final=True, speaker="Ana",
        session="s", position=3, created_at=moment, expires_at=moment, occurred_at=moment, source_ids=("y",),
    )  # fmt: skip
    assert draft.importance == 1.0
    assert draft.occurred_at == moment


@pytest.mark.parametrize(
    "fields",
    [{"modality": ""}, {"start": -1}, {"start": 3, "end": 2}, {"start": True}, {"end": 1.0}],
)
def test_a_passage_outside_its_range_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidField):
        Passage(**fields)  # type: ignore[arg-type]  # wrong on purpose


def test_a_passage_has_its_own_words_or_a_slice_of_the_text() -> None:
    assert Passage(start=2, end=4).of("abcdef") == "cd"
    assert Passage().of("abcdef") == "abcdef"
    assert Passage(text="own").of("abcdef") == "own"
    with pytest.raises(InvalidText):
        Passage(text="\ud800")


@pytest.mark.parametrize("changes", [{"id": "y"}, {"namespace": ("a",)}, {"created_at": None}, {"colour": "red"}])
def test_a_patch_cannot_change_identity_or_what_does_not_exist(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidField, match="cannot change"):
        Patch(id="x", changes=changes)


def test_a_patch_takes_only_a_mapping() -> None:
    with pytest.raises(InvalidField):
        Patch(id="x", changes=["text"])  # type: ignore[arg-type]  # wrong on purpose


def test_an_error_reads_as_it_was_written_and_has_a_code_without_a_message() -> None:
    assert str(InvalidInput()) == "invalid_input"
    assert str(InvalidField("level must be …")) == "level must be …"
