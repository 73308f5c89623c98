"""What may leave the device: each rule of the policy, for anything that hypothesis makes up."""

from dataclasses import MISSING, Field, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ums_core import Draft, Filter, Memory, Passage, Query, UnifiedSettings, open_store
from ums_core.errors import ConsentRequired, InvalidText, PrivacyModeStrict, StaysOnDevice
from ums_core.policy import (
    DRAFT_LEAVES,
    LINKING_VERBS,
    MODES,
    PROMOTED_LEAVES,
    QUERY_LEAVES,
    PrivacyMode,
    blinded,
    check_consent,
    check_verb,
    condition_on_device,
    draft_to_send,
    promoted,
    query_to_send,
)
from ums_core.records.query import Channel
from ums_core.testing.strategies import conditions
from ums_core.testing.strategies import fields as draft_fields

pytestmark = pytest.mark.property

SECRET = "marta-4711"  # noqa: S105  # a label to look for, not a password
labels = st.sampled_from((SECRET, f"users/{SECRET}", f"{SECRET}@example.org"))
modes = st.sampled_from(MODES)
leaving = st.sampled_from(("global", "both"))
shapes: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "k": st.integers(1, 50),
        "mode": st.sampled_from(("hybrid", "vector")),
        "level": st.integers(0, 3),
        "kind": st.sampled_from(("dialogue", "notes")),
        "offset": st.integers(0, 9),
        "min_score": st.floats(0, 1),
        "diversity": st.floats(0, 1),
        "recency": st.floats(0, 1),
        "explain": st.booleans(),
        "context": st.integers(0, 3),
        "group": st.just("session"),
        "weights": st.just({"dense": 0.5, "lexical": 0.5}),
    },
)
personal_fields: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"speaker": labels, "session": labels, "source_ids": st.tuples(labels), "position": st.integers(0, 9)},
    optional={"id": labels, "namespace": st.tuples(labels, labels)},
)


def default_of(field: "Field[Any]") -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()


def assert_only(sent: object, given: object, leaves: frozenset[str]) -> None:
    for field in fields(sent):  # type: ignore[arg-type]  # a record
        value = getattr(sent, field.name)
        expected = getattr(given, field.name) if field.name in leaves else default_of(field)
        assert value == expected, field.name


@given(shapes, modes)
def test_a_personal_question_is_never_sent(shape: dict[str, Any], mode: PrivacyMode) -> None:
    with pytest.raises(StaysOnDevice):
        query_to_send(Query(text="a", **shape), mode)


@given(shapes, labels, st.none() | conditions(), leaving)
def test_strict_sends_what_a_question_is_about_and_not_whose_it_is(
    shape: dict[str, Any], label: str, condition: Filter | None, channel: Channel
) -> None:
    query = Query(text="who knows?", namespace=("users", label), filter=condition, channel=channel, **shape)
    sent = query_to_send(query, "strict")
    assert_only(sent, query, QUERY_LEAVES)
    assert SECRET not in repr(sent)
    assert condition_on_device(query, "strict") == condition


@given(shapes, labels, st.none() | conditions(), leaving)
def test_standard_sends_a_question_as_it_was_made(
    shape: dict[str, Any], label: str, condition: Filter | None, channel: Channel
) -> None:
    query = Query(text="who knows?", namespace=("users", label), filter=condition, channel=channel, **shape)
    sent = query_to_send(query, "standard")
    assert_only(sent, query, frozenset(field.name for field in fields(Query)) - {"channel"})
    assert condition_on_device(query, "standard") is None


def test_what_is_personal_stays_and_what_is_global_goes_as_it_is_or_bare() -> None:
    for mode in MODES:
        with pytest.raises(StaysOnDevice, match="a personal question"):
            query_to_send(Query(text="a"), mode)
        with pytest.raises(StaysOnDevice, match="a personal memory"):
            draft_to_send(Draft(text="a"), mode)
    query, draft = Query(text="a", namespace=("n",), channel="both"), Draft(text="a", id="i", channel="global")
    assert query_to_send(query, "standard").namespace == ("n",)
    assert query_to_send(query, "strict").namespace == ()
    assert draft_to_send(draft, "standard").id == "i"
    assert draft_to_send(draft, "strict").id is None


def test_a_vector_goes_along_because_the_question_does() -> None:
    query = Query(vector=[1.0, 2.0], channel="both")
    assert query_to_send(query, "strict").vector is query.vector


@given(draft_fields(), modes)
def test_a_personal_memory_is_never_sent(given_fields: dict[str, Any], mode: PrivacyMode) -> None:
    with pytest.raises(StaysOnDevice):
        draft_to_send(Draft(**({"text": "a"} | given_fields), embedding=[1.0]), mode)


@given(draft_fields(), personal_fields)
def test_strict_cuts_a_global_memory_off_from_the_device(given_fields: dict[str, Any], ties: dict[str, Any]) -> None:
    draft = Draft(**(given_fields | ties), embedding=[1.0, 2.0], channel="global")
    sent = draft_to_send(draft, "strict")
    assert_only(sent, draft, DRAFT_LEAVES)
    assert sent.embedding is draft.embedding
    assert SECRET not in repr(sent)


@given(draft_fields(), personal_fields)
def test_standard_sends_a_global_memory_as_it_was_made(given_fields: dict[str, Any], ties: dict[str, Any]) -> None:
    draft = Draft(**(given_fields | ties), embedding=[1.0, 2.0], channel="global")
    sent = draft_to_send(draft, "standard")
    assert_only(sent, draft, frozenset(field.name for field in fields(Draft)) - {"channel"})


def stored(draft: Draft) -> Memory:
    with open_store(UnifiedSettings.for_testing(model={"vector_dim": 2, "embedder": "hashing:2"})) as store:
        (memory,) = store.add([draft])
        (memory,) = (found for found in store.get([memory.id], namespace=memory.namespace, vectors=True) if found)
        return memory


def test_a_promoted_memory_says_what_it_says_and_no_more() -> None:
    ties: dict[str, Any] = {"namespace": ("users", SECRET), "id": SECRET, "tags": (SECRET,), "metadata": {"by": SECRET}}
    ties |= {"speaker": SECRET, "session": SECRET, "source_ids": (SECRET,), "position": 4, "caption": SECRET}
    memory = stored(Draft(text="water boils at 100 degrees", importance=0.9, role="user", **ties))
    draft = promoted(memory, "strict")
    assert_only(draft, memory_like(memory), PROMOTED_LEAVES | {"channel"})
    assert SECRET not in repr(draft)
    assert (draft.text, draft.importance, draft.role) == (memory.text, 0.9, "user")
    whole = promoted(memory, "standard")
    assert {name: getattr(whole, name) for name in ties if name != "id"} == {n: v for n, v in ties.items() if n != "id"}
    assert (whole.id, whole.passages, whole.embedding) == (None, (), None)


def memory_like(memory: Memory) -> Draft:
    names = PROMOTED_LEAVES & {field.name for field in fields(Memory)}
    return Draft(**{name: getattr(memory, name) for name in names}, channel="global")


def test_a_memory_without_words_is_promoted_by_its_vectors() -> None:
    memory = stored(Draft(passages=(Passage(vector=[3.0, 4.0]),)))
    for mode in MODES:
        (passage,) = promoted(memory, mode).passages
        assert passage.vector is not None
        assert [round(float(x), 3) for x in passage.vector] == [0.6, 0.8]
    with pytest.raises(InvalidText):
        promoted(stored(Draft(metadata={"a": 1})), "strict")


def test_what_leaves_is_made_of_fields_that_exist() -> None:
    assert {field.name for field in fields(Query)} >= QUERY_LEAVES
    assert {field.name for field in fields(Draft)} >= DRAFT_LEAVES
    assert {field.name for field in fields(Memory)} >= PROMOTED_LEAVES


@given(st.text(max_size=9))
def test_a_verb_that_links_people_to_memories_is_refused_in_strict_mode_only(verb: str) -> None:
    for linking in LINKING_VERBS:
        with pytest.raises(PrivacyModeStrict, match=linking):
            check_verb(linking, "strict")
        check_verb(linking, "standard")
    if verb not in LINKING_VERBS:
        check_verb(verb, "strict")


@given(st.none() | st.booleans() | st.text() | st.integers())
def test_consent_is_somebody_to_ask(consent: object) -> None:
    with pytest.raises(ConsentRequired):
        check_consent(consent)
    check_consent(lambda _: True)


parts = st.lists(st.text(st.characters(categories=["L", "N", "P", "Cs"]), max_size=5), min_size=1, max_size=3)


@given(parts, parts, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_blinded_name_follows_from_parts_and_secret_alone(
    first: list[str], second: list[str], secret: bytes, other: bytes
) -> None:
    assert blinded(secret, *first) == blinded(secret, *first)
    assert (blinded(secret, *first) == blinded(secret, *second)) is (first == second)
    assert (blinded(secret, *first) == blinded(other, *first)) is (secret == other)
    assert len(blinded(secret, *first)) == 32
