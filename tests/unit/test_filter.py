"""What each operator means, how a filter is written as a dict, and what is refused."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import reduce
from typing import Any

import pytest
from nowhere import Nowhere

from ums_core.errors import InvalidFilter
from ums_core.records import Filter, Memory, Query
from ums_core.records.filter import FIELDS, OPERATORS, TIME_FIELDS
from ums_core.records.match import matches

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
MEMORY = Memory(
    id="m1",
    namespace=("users", "u1"),
    text="Straße nach Bern",
    role="user",
    tags=("work", "travel"),
    metadata={
        "null": None,
        "yes": True,
        "one": 1,
        "half": 0.5,
        "big": 2**53 + 1,
        "word": "Zürich",
        "blank": "",
        "list": ["a", 1, None, {"x": 1}],
        "hollow": [],
        "nest": {"x": {"y": "deep"}, "void": {}},
        "role": "in metadata",
        "metadata": {"role": "twice"},
        "$in": "dollar",
        "a.b": "dotted",
        "back\\": {"slash": 1},
    },
    level=0,
    modality="text",
    importance=0.5,
    emotional_intensity=0.0,
    valence=-1.0,
    created_at=NOON,
    updated_at=NOON,
    last_accessed_at=NOON + timedelta(microseconds=1),
    expires_at=None,
    source_ids=(),
    final=False,
    speaker=None,
    session="s1",
    position=3,
    occurred_at=NOON.astimezone(timezone(timedelta(hours=5))),
    passages=(),
)


def holds(field: str, op: str, value: object = None) -> bool:
    return matches(Filter.where(field, op, value), MEMORY)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "m1"),
        ("role", "user"),
        ("tags", ["work", "travel"]),
        ("source_ids", []),
        ("level", 0),
        ("level", 0.0),
        ("valence", -1),
        ("final", False),
        ("created_at", NOON),
        ("created_at", "2025-06-01T14:00:00+02:00"),
        ("occurred_at", NOON),
        ("null", None),
        ("yes", True),
        ("one", 1),
        ("one", 1.0),
        ("big", 2**53 + 1),
        ("word", "Zürich"),
        ("list", ["a", 1.0, None, {"x": 1}]),
        ("list", ("a", 1, None, {"x": 1.0})),
        ("nest.x", {"y": "deep"}),
        ("nest.x.y", "deep"),
        ("metadata.role", "in metadata"),
        ("metadata.metadata.role", "twice"),
        ("$in", "dollar"),
        (r"a\.b", "dotted"),
        (r"back\\.slash", 1),
    ],
)
def test_eq_meets_the_equal_value_of_its_kind(field: str, value: object) -> None:
    assert holds(field, "eq", value)
    assert not holds(field, "ne", value)
    assert holds(field, "in", ["other", value] if field not in TIME_FIELDS else [value])
    assert not holds(field, "nin", [value])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("role", "User"),
        ("role", None),
        ("expires_at", NOON),
        ("absent", None),
        ("absent", "x"),
        ("null", ""),
        ("null", False),
        ("yes", 1),
        ("yes", "true"),
        ("one", True),
        ("one", "1"),
        ("final", 0),
        ("level", False),
        ("big", float(2**53)),
        ("list", ["a", True, None, {"x": 1}]),
        ("list", ["a", 1, None]),
        ("list", ["a", 1, None, {"x": 1, "y": 2}]),
        ("nest.x", {"y": "deep", "z": None}),
        ("nest.x", {"z": "deep"}),
        ("nest.x", "deep"),
        ("list.x", 1),
        ("word.x", "Zürich"),
        ("a.b", "dotted"),
        ("last_accessed_at", NOON),
    ],
)
def test_eq_fails_on_another_value_kind_or_a_missing_key(field: str, value: object) -> None:
    assert not holds(field, "eq", value)
    assert holds(field, "ne", value)
    assert not holds(field, "in", [value])
    assert holds(field, "nin", [value])


@pytest.mark.parametrize("op", sorted(set(OPERATORS) - TIME_FIELDS))
def test_a_missing_key_meets_only_the_negative_operators(op: str) -> None:
    for field in ("absent", "nest.absent", "speaker"):
        for value in (
            (True, False)
            if op in ("exists", "is_empty")
            else ([], ["", None])
            if op in ("in", "nin", "any", "all")
            else (["", "z"],)
            if op == "between"
            else ("",)
        ):
            assert holds(field, op, value) is (op in ("ne", "nin") or value is False)


@pytest.mark.parametrize(
    ("field", "low", "value", "high"),
    [
        ("importance", 0.25, 0.5, 1),
        ("position", 2, 3, 3.5),
        ("big", 2**53, 2**53 + 1, 2**200),
        ("half", -1, 0.5, 1),
        ("word", "Z", "Zürich", "a"),
        ("role", "", "user", "user\0"),
        ("created_at", NOON - timedelta(microseconds=1), NOON, "2025-06-01T12:00:00.000001Z"),
        ("occurred_at", "2025-01-01T00:00:00Z", NOON, "2026-01-01T00:00:00Z"),
    ],
)
def test_values_of_one_kind_are_ordered(field: str, low: object, value: object, high: object) -> None:
    table = {"gt": (True, False, False), "gte": (True, True, False), "lt": (False, False, True)}
    for op, expected in {**table, "lte": (False, True, True)}.items():
        assert (holds(field, op, low), holds(field, op, value), holds(field, op, high)) == expected, op
    assert holds(field, "between", [low, high])
    assert holds(field, "between", (value, value))
    assert not holds(field, "between", [high, low])
    assert not holds(field, "between", [low, low])


@pytest.mark.parametrize("op", ["gt", "gte", "lt", "lte"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("yes", 0),
        ("yes", False),
        ("one", False),
        ("one", "0"),
        ("word", 0),
        ("null", None),
        ("hollow", []),
        ("nest", {}),
        ("final", False),
        ("tags", []),
        ("role", None),
        ("absent", 0),
    ],
)
def test_values_of_two_kinds_are_never_ordered_and_never_an_error(op: str, field: str, value: object) -> None:
    assert not holds(field, op, value)
    assert not holds(field, "between", [value, value])


@pytest.mark.parametrize(
    ("field", "op", "value", "expected"),
    [
        ("tags", "contains", "work", True),
        ("tags", "contains", "wor", False),
        ("list", "contains", 1.0, True),
        ("list", "contains", True, False),
        ("list", "contains", None, True),
        ("list", "contains", {"x": 1}, True),
        ("text", "contains", "nach", True),
        ("text", "contains", "", True),
        ("text", "contains", "NACH", False),
        ("text", "contains", 1, False),
        ("one", "contains", 1, False),
        ("nest", "contains", "x", False),
        ("tags", "any", ["x", "work"], True),
        ("tags", "any", ["x"], False),
        ("tags", "any", [], False),
        ("text", "any", ["nach"], False),
        ("tags", "all", ["travel", "work"], True),
        ("tags", "all", ["travel", "x"], False),
        ("tags", "all", [], True),
        ("source_ids", "all", [], True),
        ("text", "all", [], False),
        ("text", "text_match", "nach B", True),
        ("text", "text_match", "NACH", False),
        ("text", "text_imatch", "STRASSE", True),
        ("text", "text_imatch", "Basel", False),
        ("word", "text_imatch", "zÜRICH", True),
        ("tags", "text_match", "work", False),
        ("one", "text_imatch", "1", False),
        ("text", "starts_with", "Straße", True),
        ("text", "starts_with", "straße", False),
        ("text", "starts_with", "", True),
        ("blank", "starts_with", "", True),
        ("blank", "starts_with", "x", False),
        ("text", "ends_with", "Bern", True),
        ("text", "ends_with", "bern", False),
        ("word", "ends_with", "Zürich and more", False),
        ("list", "ends_with", "a", False),
    ],
)
def test_lists_and_strings_are_searched(field: str, op: str, value: object, *, expected: bool) -> None:
    assert holds(field, op, value) is expected


@pytest.mark.parametrize("field", ["null", "blank", "hollow", "nest.void", "source_ids"])
def test_null_and_empty_values_are_present_and_empty(field: str) -> None:
    assert holds(field, "is_empty")
    assert not holds(field, "is_empty", value=False)
    assert holds(field, "exists")
    assert not holds(field, "exists", value=False)


@pytest.mark.parametrize(
    "field", ["yes", "one", "word", "list", "nest", "tags", "level", "final", "created_at", "text"]
)
def test_other_values_are_present_and_not_empty(field: str) -> None:
    assert not holds(field, "is_empty")
    assert holds(field, "is_empty", value=False)
    assert holds(field, "exists", value=True)


def test_an_empty_text_is_present() -> None:
    silent = replace(MEMORY, text="")
    assert matches(Filter.parse({"text": {"$exists": True, "$is_empty": True, "$eq": ""}}), silent)


def test_every_field_of_a_memory_can_be_named() -> None:
    assert {field for field in FIELDS if holds(field, "exists")} == FIELDS - {
        "expires_at",
        "speaker",
        "valid_from",
        "caption",
    }


YES, NO = Filter.where("id", "eq", "m1"), Filter.where("id", "ne", "m1")


@pytest.mark.parametrize(
    ("make", "empty", "yes", "both", "no"),
    [
        (Filter.every, True, True, False, False),
        (Filter.some, False, True, True, False),
        (Filter.none, True, False, False, True),
        (Filter.not_every, False, False, True, True),
    ],
)
def test_groups(make: Callable[..., Filter], *, empty: bool, yes: bool, both: bool, no: bool) -> None:
    groups = (make(), make(YES, YES), make(YES, NO), make(NO, NO))
    assert tuple(matches(group, MEMORY) for group in groups) == (empty, yes, both, no)


def test_operators_join_and_a_chain_stays_one_group() -> None:
    assert Filter.every(YES, NO, YES) == (YES & NO & YES)
    assert Filter.some(YES, NO, YES) == (YES | NO | YES)
    assert Filter.none(YES) == ~YES
    assert Filter.some(Filter.none(Filter.every(YES, NO)), YES) == ~(YES & NO) | YES
    assert reduce(lambda one, other: one | other, [NO] * 1000).depth == 1


@pytest.mark.parametrize("join", [lambda: YES & {"role": "user"}, lambda: YES | None])  # type: ignore[operator]  # the point
def test_operators_refuse_what_is_not_a_filter(join: Callable[[], Filter]) -> None:
    with pytest.raises(TypeError):
        join()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({}, Filter.every()),
        ({"role": "user"}, Filter.where("role", "eq", "user")),
        ({"role": None}, Filter.where("role", "eq")),
        ({"tags": ["a"]}, Filter.where("tags", "eq", ["a"])),
        ({"a": 1, "b": 2}, Filter.where("a", "eq", 1) & Filter.where("b", "eq", 2)),
        ({"a": {"$gte": 0.5, "$lt": 1}}, Filter.where("a", "gte", 0.5) & Filter.where("a", "lt", 1)),
        ({"a": {"$in": [1, 2]}}, Filter.where("a", "in", (1, 2))),
        ({"a": {}}, Filter.where("a", "eq", {})),
        ({"a": {"b": 1}}, Filter.where("a", "eq", {"b": 1})),
        ({"a": {"$gte": 1, "b": 2}}, Filter.where("a", "eq", {"$gte": 1, "b": 2})),
        ({"a": {"$eq": {"$gte": 1}}}, Filter.where("a", "eq", {"$gte": 1})),
        ({"metadata.a": 1}, Filter.where("a", "eq", 1)),
        ({"metadata.$and": 1}, Filter.where("$and", "eq", 1)),
        ({"a": {"$exists": None}}, Filter.where("a", "exists", value=True)),
        ({"$and": []}, Filter.every()),
        ({"$or": [{"a": 1}, YES]}, Filter.some(Filter.where("a", "eq", 1), YES)),
        ({"$nor": ({"a": 1},)}, ~Filter.where("a", "eq", 1)),
        ({"$nand": [{"a": 1, "b": 2}]}, Filter.not_every(Filter.parse({"a": 1, "b": 2}))),
        ({"$or": [YES], "a": 1}, Filter.every(Filter.some(YES), Filter.where("a", "eq", 1))),
        (YES, YES),
    ],
)
def test_a_dict_form_is_parsed(source: object, expected: Filter) -> None:
    assert Filter.parse(source) == expected
    assert Filter.parse(expected.to_dict()) == expected


def test_a_query_parses_its_filter() -> None:
    assert Query(text="x", filter={"role": "user"}).filter == Filter.where("role", "eq", "user")


def test_the_dict_form_is_json_and_a_copy() -> None:
    inner = ["a"]
    made = Filter.where("x", "in", [inner, {"k": inner}])
    inner.append("b")
    form: Any = made.to_dict()
    assert form == {"x": {"$in": [["a"], {"k": ["a"]}]}}
    form["x"]["$in"][0].append("c")
    assert made.value == (["a"], {"k": ["a"]})
    east = NOON.astimezone(timezone(timedelta(hours=9)))
    assert Filter.where("created_at", "in", {east}).to_dict() == {"created_at": {"$in": ["2025-06-01T12:00:00+00:00"]}}


def test_a_set_of_values_has_one_order() -> None:
    assert Filter.where("x", "in", {"c", "a", "b"}).value == ("a", "b", "c")
    assert Filter.where("x", "any", frozenset({2, 1})).value == (1, 2)


def test_equality_and_hash_follow_the_dict_form() -> None:
    assert Filter.where("x", "eq", value=True) != Filter.where("x", "eq", 1)
    assert Filter.where("x", "eq", 1) != Filter.where("x", "eq", 1.0)
    assert Filter.where("x", "eq", {"a": 1, "b": 2}) == Filter.where("x", "eq", {"b": 2, "a": 1})
    assert Filter.where("x", "eq", 1) != {"x": {"$eq": 1}}
    assert len({YES, Filter.parse({"id": "m1"}), NO}) == 2
    assert pickle.loads(pickle.dumps(YES & NO)) == copy.deepcopy(YES & NO)  # noqa: S301  # our own bytes


def test_a_field_has_one_spelling() -> None:
    assert Filter.where("metadata.colour", "eq", 1).field == "colour"
    assert Filter.where("metadata.role", "eq", 1).field == "metadata.role"
    assert Filter.where("metadata.metadata", "eq", 1).path == ("metadata",)
    assert Filter.where(r"a\.b.c\d", "eq", 1).path == ("a.b", r"c\d")
    assert Filter.where("a\nb.c", "eq", 1).path == ("a\nb", "c")
    assert Filter.where("role.x", "eq", 1).path == ("role", "x")
    assert Filter.where("role", "eq", 1).path == ()


def nested(depth: int) -> dict[str, object]:
    source: dict[str, object] = {"a": 1}
    for _ in range(depth):
        source = {"$and": [source]}
    return source


def test_a_filter_nests_up_to_the_limit() -> None:
    deepest = Filter.parse(nested(64))
    assert (deepest.depth, deepest.size) == (64, 65)
    with pytest.raises(InvalidFilter, match="deeper than 64"):
        Filter.parse(nested(65))
    with pytest.raises(InvalidFilter, match="deeper than 64"):
        Filter.parse(nested(5000))
    with pytest.raises(InvalidFilter, match="deeper than 64"):
        Filter.every(deepest)


def deep_list(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("field", "op", "value", "message"),
    [
        ("a", "gtee", 1, "did you mean 'gt"),
        ("a", "$gte", 1, "did you mean 'gte'"),
        ("a", "near", 1, "unknown operator near"),
        ("a", "qqq", 1, "known are eq, ne"),
        ("a", "and", 1, "Filter.every"),
        ("", "eq", 1, "empty key"),
        ("a.", "eq", 1, "empty key"),
        (".a", "eq", 1, "empty key"),
        ("a..b", "eq", 1, "empty key"),
        ("metadata", "eq", 1, "metadata.key"),
        ("metadata.", "eq", 1, "empty key"),
        ("a\ud800", "eq", 1, "UTF-8"),
        ("a", "exists", 1, "True or False"),
        ("a", "is_empty", "yes", "True or False"),
        ("a", "in", "abc", "takes a list"),
        ("a", "nin", {"a": 1}, "takes a list"),
        ("a", "any", None, "takes a list"),
        ("a", "between", {1, 2}, "takes a list"),
        ("a", "between", [1], r"\[low, high\], got 1"),
        ("a", "between", [1, 2, 3], "got 3"),
        ("a", "text_match", 1, "takes a string"),
        ("a", "starts_with", None, "takes a string"),
        ("a", "eq", float("nan"), "nan"),
        ("a", "in", [1, float("inf")], "inf"),
        ("a", "eq", {"x": [float("-inf")]}, "inf"),
        ("a", "eq", [10**5000], "1024 bits"),
        ("a", "eq", "\udfff", "lone surrogate"),
        ("a", "eq", {"\udfff": 1}, "lone surrogate"),
        ("a", "eq", {1: 1}, "holds a int"),
        ("a", "eq", b"x", "holds a bytes"),
        ("a", "eq", {1}, "holds a set"),
        ("a", "eq", NOON, "holds a datetime"),
        ("a", "eq", YES, "holds a Filter"),
        ("a", "eq", deep_list(65), "deeper than 64"),
        ("created_at", "gt", 5, "datetime or an ISO 8601"),
        ("created_at", "eq", None, "use exists"),
        ("created_at", "gt", "yesterday", "not ISO 8601"),
        ("created_at", "gt", "2025-01-01", "no time zone"),
        ("created_at", "gt", NOON.replace(tzinfo=None), "no time zone"),
        ("created_at", "gt", NOON.replace(tzinfo=Nowhere()), "no time zone"),
        ("created_at", "in", "2025-01-01T00:00:00Z", "takes a list"),
        ("created_at", "lt", "0001-01-01T00:00:00+14:00", "years 1 to 9999"),
        ("expires_at", "contains", "2025", "gte, lt or between"),
        ("occurred_at", "text_match", "2025", "gte, lt or between"),
    ],
)
def test_an_unusable_leaf_is_refused(field: str, op: str, value: object, message: str) -> None:
    with pytest.raises(InvalidFilter, match=message) as caught:
        Filter.where(field, op, value)
    assert caught.value.code == "invalid_filter"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "got NoneType"),
        ("role = user", "got str"),
        ([{"a": 1}], "got list"),
        ({1: 2}, "key of a filter is a int"),
        ({"$xor": []}, r"did you mean '\$(n?or)'"),
        ({"$eq": 1}, r"unknown operator \$eq"),
        ({"$and": {"a": 1}}, "takes a list of filters, got dict"),
        ({"$or": [1]}, "got int"),
        ({"a": {"$gtt": 1}}, r"did you mean '\$gt'"),
        ({"a": {"$gte": 1, "$not": 2}}, r"unknown operator \$not"),
        ({"a": {"$and": []}}, r"unknown operator \$and"),
    ],
)
def test_an_unusable_dict_form_is_refused(source: object, message: str) -> None:
    with pytest.raises(InvalidFilter, match=message):
        Filter.parse(source)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Filter("and", "role"), "not a field"),
        (lambda: Filter("or", value=1), "not a field"),
        (lambda: Filter.every({"a": 1}), "make it a Filter"),  # type: ignore[arg-type]  # the point
        (lambda: Filter("eq", "a", 1, (YES,)), "takes a field and a value"),
        (lambda: Filter(1, "a"), "an operator is a string"),  # type: ignore[arg-type]  # the point
        (lambda: Filter("eq", 1), "a field is a string"),  # type: ignore[arg-type]  # the point
    ],
)
def test_a_malformed_node_is_refused(make: Callable[[], Filter], message: str) -> None:
    with pytest.raises(InvalidFilter, match=message):
        make()
