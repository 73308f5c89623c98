import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ums_core import Draft, Filter, Health, Hit, Memory, MemoryStore, Page, Passage, Patch, Query, errors
from ums_core.errors import (
    DatabaseBusy,
    IndexRecovering,
    InvalidField,
    InvalidFilter,
    InvalidInput,
    InvalidMetadata,
    InvalidNamespace,
    InvalidQuery,
    InvalidText,
    InvalidVector,
    MemoryNotFound,
    RateLimited,
    RemoteError,
    UMSError,
)
from ums_core.ports.lifecycle import Lifecycle
from ums_core.ports.tending import Tending
from ums_core.records.memory import WHOLE
from ums_core.wire import calls
from ums_core.wire.codec import form_of
from ums_core.wire.problem import dump_problem, load_problem, problem_of, retry_after_s, status_of
from ums_core.wire.schema import VERBS

NOT_VERBS = {"close"}
MOMENT = datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=UTC)
VECTOR = np.array([1, -2.5, 3e-8], np.float32)
# What every memory says, and no more.
BARE = {
    **dict.fromkeys(("role", "expires_at", "speaker", "session", "position", "occurred_at")),
    **dict.fromkeys(("importance", "emotional_intensity", "valence"), 0.5),
    **dict.fromkeys(("created_at", "updated_at", "last_accessed_at"), MOMENT.isoformat()),
    "id": "1",
    "namespace": ["a"],
    "text": "tea",
    "tags": [],
    "metadata": {},
    "level": 0,
    "modality": "text",
    "source_ids": [],
    "final": False,
    "passages": [{}],
}


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
LABEL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
TIME = st.datetimes(timezones=st.just(UTC))
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
JSON = st.recursive(PLAIN, lambda part: st.lists(part, max_size=3) | st.dictionaries(LABEL, part, max_size=3))
UNIT = st.floats(0, 1)


def drafts() -> st.SearchStrategy[Draft]:
    optional = {
        "namespace": st.lists(LABEL, max_size=3).map(tuple),
        "id": LABEL,
        "role": LABEL,
        "speaker": LABEL,
        "caption": TEXT,
        "session": LABEL,
        "tags": st.lists(LABEL, max_size=3).map(tuple),
        "metadata": st.dictionaries(LABEL, JSON, max_size=3),
        "level": st.integers(0, 2**63 - 1),
        "position": st.integers(0, 9),
        "importance": UNIT,
        "emotional_intensity": UNIT,
        "valence": st.floats(-1, 1),
        "created_at": TIME,
        "expires_at": TIME,
        "occurred_at": TIME,
        "final": st.booleans(),
        "pinned": st.booleans(),
        "ttl_s": st.floats(1, 1e6),
        "valid_from": TIME,
        "source_ids": st.lists(LABEL, max_size=3).map(tuple),
        "modality": LABEL,
        "passages": st.lists(st.builds(Passage, modality=LABEL, start=st.integers(0, 3), text=TEXT), max_size=2).map(
            tuple
        ),
    }
    return st.fixed_dictionaries({"text": TEXT.map("a".__add__)}, optional=optional).map(lambda given: Draft(**given))


def arguments_of(call: calls.Call[Any]) -> dict[str, Any]:
    return VERBS[call.verb].load_request(call.body)


def protocol() -> set[str]:
    return {
        name for part in (MemoryStore, Lifecycle, Tending) for name in vars(part) if not name.startswith("_")
    } - NOT_VERBS


def test_every_verb_of_the_protocol_crosses() -> None:
    assert set(VERBS) == protocol()
    assert all(callable(getattr(calls, name)) for name in VERBS)


def test_every_field_of_a_record_crosses() -> None:
    for kind in (Draft, Patch, Query, Memory, Hit, Health, Page, Passage):
        assert set(form_of(kind).annotation.model_fields) == {entry.name for entry in fields(kind)}


def test_the_passage_of_a_whole_text_crosses_as_one_that_has_nothing_to_tell() -> None:
    form = form_of(Passage)
    for whole, told in ((WHOLE, {}), (Passage(), {}), (Passage(end=3), {"end": 3})):
        assert form.dump is not None
        assert form.load is not None
        assert form.dump(whole) == told
        assert form.load(form.annotation.model_validate(told)) == whole


def test_what_a_hit_does_not_say_is_as_in_a_new_one() -> None:
    (hit,) = VERBS["search"].load_reply(json.dumps({"hits": [{"memory": BARE, "score": 0.5}]}).encode())
    assert hit == Hit(memory=hit.memory, score=0.5)
    assert (hit.memory.namespace, hit.memory.passages, hit.memory.pinned) == (("a",), (WHOLE,), False)
    with pytest.raises(FrozenInstanceError):
        hit.score = 1.0


def test_a_type_that_cannot_cross_is_an_error() -> None:
    @dataclass
    class Odd:
        value: complex

    with pytest.raises(TypeError, match="complex"):
        form_of(Odd)
    with pytest.raises(TypeError, match="which of them"):
        form_of(int | str)
    assert form_of(Filter | Mapping[str, object]) == form_of(Filter)


@pytest.mark.property
@given(drafts())
def test_a_draft_arrives_as_it_was_sent(draft: Draft) -> None:
    (arrived,) = arguments_of(calls.add([draft]))["drafts"]
    assert arrived == draft
    assert type(arrived.metadata) is dict


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_a_vector_arrives_to_the_last_bit(components: list[float]) -> None:
    (draft,) = arguments_of(calls.add([Draft(embedding=components)]))["drafts"]
    assert np.asarray(draft.embedding).tobytes() == np.array(components, np.float32).tobytes()


def test_a_vector_may_be_written_as_a_list() -> None:
    body = json.dumps({"query": {"vector": [1, 2.5]}}).encode()
    query = VERBS["search"].load_request(body)["query"]
    assert np.asarray(query.vector).tolist() == [1.0, 2.5]


@pytest.mark.parametrize("text", ["AAAA", "!!!", "AAAAAA="])
def test_a_vector_that_is_no_row_of_float32_is_refused(text: str) -> None:
    with pytest.raises(InvalidVector, match="base64"):
        VERBS["search"].load_request(json.dumps({"query": {"vector": text}}).encode())


def test_a_query_arrives_with_all_that_was_set() -> None:
    query = Query(
        text="a",
        vector=VECTOR,
        namespace=("t", "u"),
        k=3,
        filter={"n": {"$gt": 1}},
        mode="hybrid",
        level=2,
        weights={"dense": 1.0, "lexical": 0.5},
    )
    arrived = arguments_of(calls.search(query))["query"]
    assert arrived == query
    assert np.array_equal(arrived.vector, VECTOR)


def test_a_patch_says_only_what_it_changes() -> None:
    changes = {"text": "", "embedding": VECTOR, "tags": ("a",), "expires_at": MOMENT, "role": None}
    (patch,) = arguments_of(calls.update([Patch(id="a", namespace=("n",), changes=changes)], idempotency_key="k"))[
        "patches"
    ]
    assert (patch.id, patch.namespace, set(patch.changes)) == ("a", ("n",), set(changes))
    assert np.array_equal(patch.changes["embedding"], VECTOR)
    assert {name: patch.changes[name] for name in changes if name != "embedding"} == {
        "text": "",
        "tags": ("a",),
        "expires_at": MOMENT,
        "role": None,
    }


def test_what_a_patch_changes_is_checked_before_it_leaves() -> None:
    for changes, error in (
        ({"text": "\ud800"}, InvalidText),
        ({"importance": 2}, InvalidField),
        ({"metadata": {"a": object()}}, InvalidMetadata),
        ({"embedding": "text"}, InvalidVector),
        ({"embedding": np.ones((1, 2))}, InvalidVector),
    ):
        with pytest.raises(error):
            calls.update([Patch(id="a", changes=changes)])


def test_a_value_is_bytes_or_json() -> None:
    items = {"a": b"\0\xff", "b": {"n": [1, None]}, "c": None}
    assert arguments_of(calls.kv_put("c", items)) == {"collection": "c", "items": items}
    assert calls.kv_put("c", items).repeatable
    body = VERBS["kv_get"].dump_reply([b"x", None, [1]])
    assert calls.kv_get("c", ["a", "b", "c"]).result(200, body) == [b"x", None, [1]]
    pairs = [("a", b"x"), ("b", {"n": 1.0})]
    assert calls.kv_scan("c").result(200, VERBS["kv_scan"].dump_reply(pairs)) == pairs
    assert calls.kv_put("c", {}).result(200, VERBS["kv_put"].dump_reply(None)) is None
    assert VERBS["health"].load_request(b"") == {}
    with pytest.raises(InvalidInput, match="base64"):
        VERBS["kv_put"].load_request(b'{"collection": "c", "items": {"a": {"bytes": "?"}}}')
    with pytest.raises(InvalidInput, match="mapping"):
        calls.kv_put("c", [1])  # type: ignore[arg-type]  # the point
    with pytest.raises(InvalidInput, match="keys must be a list"):
        calls.kv_get("c", "a")
    assert not calls.kv_delete("c", ["a"]).repeatable


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda: calls.add("text"), InvalidField),  # type: ignore[arg-type]  # the point, here and below
        (lambda: calls.add([5]), InvalidField),  # type: ignore[list-item]
        (lambda: calls.get("a"), InvalidQuery),
        (lambda: calls.search("a"), InvalidQuery),  # type: ignore[arg-type]
        (lambda: calls.scan(limit=0), InvalidQuery),
        (lambda: calls.scan(cursor=-1), InvalidQuery),
        (lambda: calls.count(filter={"a": {"$near": 1}}), InvalidFilter),
    ],
)
def test_what_no_store_takes_never_leaves(act: Callable[[], object], error: type[InvalidInput]) -> None:
    with pytest.raises(error):
        act()


def test_a_read_may_be_repeated_and_a_write_by_its_key() -> None:
    assert calls.count().repeatable
    assert not calls.delete(["a"]).repeatable
    assert calls.delete(["a"], idempotency_key="k").repeatable
    assert (calls.health().method, calls.health().body) == ("GET", b"")
    assert calls.count(filter={"a": 1}).method == "POST"


MEMORY = Memory(
    id="a",
    namespace=("n", "ü"),
    text="t\0",
    role=None,
    tags=("x",),
    metadata={"n": [1, 1.0, None, {"k": True}]},
    level=1,
    modality="text",
    importance=0.1,
    emotional_intensity=0.2,
    valence=-1.0,
    created_at=MOMENT,
    updated_at=MOMENT,
    last_accessed_at=MOMENT,
    expires_at=MOMENT,
    source_ids=("s",),
    final=True,
    speaker="S",
    session="s",
    position=0,
    occurred_at=None,
    passages=(Passage(start=1, end=2, vector=VECTOR), Passage(modality="image", text="p")),
)


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (calls.add([]), [MEMORY]),
        (calls.get(["a"]), [None, MEMORY]),
        (calls.delete(["a"]), 3),
        (calls.search(Query(text="a")), [Hit(memory=MEMORY, score=0.5, similarity=None, passage=1)]),
        (calls.scan(limit=2), Page([MEMORY], 7)),
        (calls.scan(), Page([], None)),
        (calls.namespaces(), [("a", "b"), ()]),
        (
            calls.health(),
            Health(
                status="ok", memories=1, seq=2, index_seq={"text": 2}, index={}, embedder={}, driver="d", detail=("x",)
            ),
        ),
    ],
    ids=lambda value: value.verb if isinstance(value, calls.Call) else "",
)
def test_an_answer_arrives_as_it_was_given(call: calls.Call[Any], answer: object) -> None:
    assert call.result(200, VERBS[call.verb].dump_reply(answer)) == answer


def test_vectors_of_passages_arrive() -> None:
    (memory,) = calls.get(["a"]).result(200, VERBS["get"].dump_reply([MEMORY]))
    assert memory is not None
    assert np.array_equal(np.asarray(memory.passages[0].vector), VECTOR)
    assert memory.passages[1].vector is None


def test_an_answer_may_say_more_than_this_version_knows() -> None:
    assert calls.count().result(200, b'{"count": 3, "more": [1]}') == 3


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"count": "3"}', b"{}"])
def test_an_answer_that_is_none_is_an_error_of_the_service(body: bytes) -> None:
    with pytest.raises(RemoteError, match="/v1/memories/count"):
        calls.count().result(200, body)


@pytest.mark.parametrize("name", errors.__all__)
def test_an_error_is_raised_as_the_same_class_on_the_far_side(name: str) -> None:
    kind: type[UMSError] = getattr(errors, name)
    error = kind("secret words")
    problem = json.loads(dump_problem(error))
    assert "secret" not in str(problem)
    assert (problem["code"], problem["status"]) == (kind.code, status_of(error))
    assert problem["type"] == f"urn:ums:error:{kind.code}"
    with pytest.raises(UMSError) as caught:
        calls.count().result(status_of(error), dump_problem(error))
    assert type(caught.value) is kind
    assert str(caught.value) == problem["detail"]


def test_an_error_says_when_to_come_again() -> None:
    for error in (IndexRecovering("", retry_after_s=2.5), RateLimited("", retry_after_s=7)):
        arrived = load_problem(503, dump_problem(error))
        assert isinstance(arrived, errors.TryLater)
        assert arrived.retry_after_s == retry_after_s(error) == error.retry_after_s
    assert problem_of(DatabaseBusy(""))["retry_after_s"] == 1.0
    assert "retry_after_s" not in problem_of(MemoryNotFound(""))
    assert isinstance(load_problem(503, b'{"code": "rate_limited"}'), RateLimited)
    for odd in ("NaN", "Infinity", "-1", "9" * 400):
        strange = load_problem(503, f'{{"code": "rate_limited", "retry_after_s": {odd}}}'.encode())
        assert isinstance(strange, RateLimited)
        assert strange.retry_after_s == 1.0
    assert isinstance(load_problem(500, b"[" * 100_000), RemoteError)


@pytest.mark.parametrize("body", [b"", b"Bad Gateway", b"[1]", b'{"code": "of the future"}', b'{"code": [1]}'])
def test_an_error_of_somebody_else_is_a_remote_error(body: bytes) -> None:
    with pytest.raises(RemoteError, match="status 502"):
        calls.count().result(502, body)


REFUSED: list[tuple[str, Mapping[str, object], type[InvalidInput], str]] = [
    ("add", {"drafts": [{"text": 5}]}, InvalidText, "drafts.0.text"),
    ("add", {"drafts": [{"namespace": ["a", 5]}]}, InvalidNamespace, "drafts.0.namespace.1"),
    ("add", {"drafts": [{"metadata": []}]}, InvalidMetadata, "drafts.0.metadata"),
    ("add", {"drafts": [{"embedding": [True]}]}, InvalidVector, "drafts.0.embedding"),
    ("add", {"drafts": [{"importance": "0.5"}]}, InvalidField, "drafts.0.importance"),
    ("add", {"drafts": [{"CANARY": 1}]}, InvalidField, "drafts.0"),
    ("add", {"drafts": [{"created_at": "CANARY"}]}, InvalidField, "drafts.0.created_at"),
    ("update", {"patches": [{"id": "a", "changes": {"level": 1.5}}]}, InvalidField, "patches.0.changes.level"),
    ("update", {"patches": [{"id": "a", "changes": {"created_at": "CANARY"}}]}, InvalidField, "patches.0.changes"),
    ("search", {"query": {"k": True}}, InvalidQuery, "query.k"),
    ("search", {"query": {"mode": "CANARY"}}, InvalidQuery, "query.mode"),
    ("search", {"query": {"filter": ["CANARY"]}}, InvalidFilter, "query.filter"),
    ("search", {"query": {"weights": {"CANARY": "x"}}}, InvalidQuery, "query.weights"),
    ("scan", {"limit": "3"}, InvalidQuery, "limit"),
    ("get", {"ids": "CANARY"}, InvalidQuery, "ids"),
    ("namespaces", {"prefix": 5}, InvalidNamespace, "prefix"),
    ("count", {"CANARY": 1}, InvalidInput, ""),
]


@pytest.mark.parametrize(("verb", "body", "error", "at"), REFUSED)
def test_a_body_that_does_not_fit_is_refused_by_its_place_and_not_repeated(
    verb: str, body: Mapping[str, object], error: type[InvalidInput], at: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        VERBS[verb].load_request(json.dumps(body).encode())
    assert type(caught.value) is error
    assert at in [place["at"] for place in caught.value.places]
    assert b"CANARY" not in dump_problem(caught.value)
    arrived = load_problem(422, dump_problem(caught.value))
    assert isinstance(arrived, error)
    assert arrived.places == caught.value.places


NOT_JSON = [
    b"",
    b"{",
    b'{"drafts": [{"text": "\\ud800"}]}',
    b"[" * 100_000,
    b'{"drafts": ' + b"9" * 5000 + b"}",
    b"\xff",
    b'{"drafts": [{"metadata": {"a": Nan}}]}',
]


@pytest.mark.parametrize("body", NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="JSON"):
        VERBS["add"].load_request(body)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: {"drafts": [{"text": "a", "created_at": "0001-01-01T00:00:00+14:00"}]}, InvalidField),
        (lambda: {"drafts": [{"text": "a", "created_at": "2026-01-01T00:00:00"}]}, InvalidField),
        (lambda: {"drafts": [{"text": "a", "importance": 1e300}]}, InvalidField),
        (lambda: {"drafts": [{"text": ""}]}, InvalidText),
        (lambda: {"drafts": [{"text": "a", "embedding": [1e308]}]}, None),
    ],
)
def test_what_fits_the_schema_is_checked_by_the_record(
    make: Callable[[], Mapping[str, object]], error: type[InvalidInput] | None
) -> None:
    body = json.dumps(make()).encode()
    if error is None:
        (draft,) = VERBS["add"].load_request(body)["drafts"]
        assert np.isinf(draft.embedding).all()
        return
    with pytest.raises(error):
        VERBS["add"].load_request(body)


def test_a_schema_describes_its_fields_in_the_words_of_the_record() -> None:
    request = VERBS["add"].request
    assert request is not None
    schema = request.model_json_schema()
    assert schema["$defs"]["Draft"]["properties"]["valence"]["description"] == "from -1, unpleasant, to 1, pleasant."
    assert VERBS["add"].summary.startswith("Store the drafts durably")


def test_a_filter_arrives_equal() -> None:
    condition = Filter.where("a", "in", ["x", 1]) & ~Filter.where("created_at", "gt", MOMENT)
    assert arguments_of(calls.count(filter=condition)) == {"namespace": (), "filter": condition}


def test_ids_of_any_sequence_cross() -> None:
    given_: Sequence[str] = ("a", "\u00fc")
    assert arguments_of(calls.get(given_, vectors=True))["ids"] == list(given_)
    assert base64.b64decode(json.loads(calls.search(Query(vector=[1.0])).body)["query"]["vector"]) == b"\0\0\x80?"
