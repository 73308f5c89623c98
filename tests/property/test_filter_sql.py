"""The SQL of a filter and its evaluator give the same answer, on every driver."""

import importlib
import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import count

from ums_core.records import Filter, Memory
from ums_core.records.filter import FIELDS, GROUPS, OPERATORS, TIME_FIELDS
from ums_core.records.match import matches
from ums_core.storage.filters import compile_filter, register

pytestmark = pytest.mark.property

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
COLUMNS = (
    "id TEXT, text TEXT, role TEXT, tags TEXT, metadata TEXT, level INT, modality TEXT, importance REAL, "
    "emotional_intensity REAL, valence REAL, created_at INT, updated_at INT, last_accessed_at INT, expires_at INT, "
    "source_ids TEXT, final INT, speaker TEXT, caption TEXT, session TEXT, position INT, occurred_at INT, "
    "pinned INT, accesses INT, valid_from INT"
)
NAMES = [column.split()[0] for column in COLUMNS.split(", ")]

# Each is easily taken for another one of them.
ATOMS: list[Any] = [
    *(None, True, False, 0, 1, -1, 1.0, 0.0, -0.0, 0.5, 0.1, 0.1 + 0.2, 0.3, 1e16, 5e-324, math.pi * 1e300),
    *(2**53, 2**53 + 1, 2.0**53, 2**63 - 1, -(2**63), 2.0**63, -(2.0**63), 9007199254740993, 9223372036854775000),
    *("", "a", "A", "ab", "b", "a\0", "a\0b", "\0", "\\u0000", "ß", "SS", "ss", "İ", "i", "é", "e\u0301", "\uffff"),
    *(
        "\U00010000",
        "😀",
        "0",
        "1",
        "1.0",
        "true",
        "null",
        "[]",
        "{}",
        '""',
        '"a"',
        "a'b",
        'a"b',
        "a\\b",
        "%",
        "_",
        "\n",
    ),
    *([], {}, [1], ["a"], ["a", "b"], [True], [[]], {"a": 1}, {"a": 1.0}, {"a": True}, {"b": {"a": None}}),
]
FILTER_ONLY: list[Any] = [2**63, -(2**63) - 1, 10**300, "x' OR 1=1 --"]
KEYS = [
    "a",
    "b",
    "a-b",
    "A_1",
    "a.b",
    'a"b',
    "a\\",
    "[0]",
    "#",
    "$",
    "$in",
    "é",
    "",
    "role",
    "metadata",
    "'",
    "0",
    "a b",
]

words = st.text(st.sampled_from('aAbßé😀\uffff\0"\\.') | st.characters(exclude_categories=["Cs"]), max_size=4)
# One draw each: a memory has many fields, and what is hard to compare lies in its metadata.
labels = st.sampled_from(["a", "b", "ab", "A", "ß", "ss", "é", "😀", "\uffff", 'a"b', "a\\", "1"])
label_lists = st.sampled_from([(), ("a",), ("a", "b"), ("b", "a", "a"), ('a"b', "😀"), ("1", "\\u0000")])
keys = st.sampled_from(KEYS[:6]) | st.sampled_from(KEYS) | words.map(lambda word: word.replace("\0", ""))
scalars = (
    st.sampled_from(ATOMS)
    | words
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-10, 10)
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=5
)
MOMENTS = [
    *(NOON + timedelta(microseconds=step) for step in (-1, 0, 1)),
    NOON.astimezone(timezone(timedelta(hours=5, minutes=30))),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]
moments = st.sampled_from(MOMENTS)
units = st.sampled_from([0.0, 0.1, 0.1 + 0.2, 0.3, 0.5, 1.0, 5e-324, 1 / 3])
memories = st.builds(
    Memory,
    id=labels,
    namespace=st.just(()),
    text=words,
    role=st.sampled_from(["user", "a", None]),
    tags=label_lists,
    metadata=st.dictionaries(keys, trees, max_size=4),
    level=st.sampled_from([0, 1, 2, 2**53 + 1, 2**63 - 1]),
    modality=st.sampled_from(["text", "image"]),
    importance=units,
    emotional_intensity=units,
    valence=units.map(lambda unit: -unit),
    created_at=moments,
    updated_at=moments,
    last_accessed_at=moments,
    expires_at=st.sampled_from([None, *MOMENTS]),
    source_ids=label_lists,
    final=st.booleans(),
    speaker=st.none() | labels,
    caption=st.none() | words,
    session=st.none() | labels,
    position=st.sampled_from([None, 0, 1, 2**53 + 1, 2**63 - 1]),
    occurred_at=st.sampled_from([None, *MOMENTS]),
    passages=st.just(()),
    pinned=st.booleans(),
    accesses=st.sampled_from([0, 1, 2**53 + 1]),
    valid_from=st.sampled_from([None, *MOMENTS]),
)


def paths(value: object, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All paths into the metadata that a field can name."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key:
            yield (*prefix, key)
            yield from paths(inner, (*prefix, key))


def spelled(path: Sequence[str]) -> str:
    return ".".join(["metadata", *(key.replace("\\", "\\\\").replace(".", "\\.") for key in path)])


def near(value: object) -> Iterator[object]:
    """The value, what it holds, and what is easily taken for it."""
    yield value
    if isinstance(value, str):
        yield from (value[:1], value[1:], value[-1:], value.swapcase(), value.casefold(), [value])
    elif isinstance(value, bool):
        yield from (int(value), not value)
    elif isinstance(value, int):
        yield from (float(value), value + 1, value - 1, str(value), bool(value))
    elif isinstance(value, float):
        sides = (math.nextafter(value, -math.inf), math.nextafter(value, math.inf), float(f"{value:.15g}"))
        yield from (int(value), str(value), *(side for side in sides if math.isfinite(side)))
    elif isinstance(value, (list, tuple)):
        yield from (list(value[:-1]), *value)
    elif isinstance(value, dict):
        yield from value.values()


def at(memory: Memory, field: str) -> object:
    value: object = memory.metadata
    for key in Filter.where(field, "exists").path or ():
        value = value.get(key) if isinstance(value, dict) else None
    return value if field not in FIELDS else getattr(memory, field)


@st.composite
def leaves(draw: st.DrawFn, held: Sequence[Memory]) -> Filter:
    """A leaf that often looks at what one of the memories holds, and compares it with something near."""
    memory = draw(st.sampled_from(held))
    named = sorted(set(paths(memory.metadata)))
    field = draw(
        st.sampled_from(sorted(FIELDS))
        | (st.sampled_from(named) if named else st.just(("a",))).map(spelled)
        | st.lists(keys.filter(bool), min_size=1, max_size=3).map(spelled)
    )
    op = draw(st.sampled_from(OPERATORS))
    if field in TIME_FIELDS:
        op = op if op in ("exists", "is_empty", *OPERATORS[:9]) else "eq"
        values: st.SearchStrategy[Any] = moments
    else:
        values = st.sampled_from(list(near(at(memory, field)))) | st.sampled_from([*ATOMS, *FILTER_ONLY]) | trees
    if op in ("exists", "is_empty"):
        return Filter.where(field, op, draw(st.booleans()))
    if op in ("in", "nin", "any", "all", "between"):
        pair = (2, 2) if op == "between" else (0, 3)
        return Filter.where(field, op, draw(st.lists(values, min_size=pair[0], max_size=pair[1])))
    value = draw(values)
    return Filter.where(field, op, str(value) if op in OPERATORS[-4:] and not isinstance(value, str) else value)


@st.composite
def filters(draw: st.DrawFn, held: Sequence[Memory], depth: int = 3) -> Filter:
    op = draw(st.sampled_from(["leaf", "leaf", *GROUPS])) if depth else "leaf"
    if op == "leaf":
        return draw(leaves(held))
    return Filter(op, parts=tuple(draw(st.lists(filters(held, depth - 1), max_size=3))))


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Memory], list[Filter]]:
    held = draw(st.lists(memories, min_size=1, max_size=3))
    return held, draw(st.lists(filters(held), min_size=2, max_size=4))


def column(value: object) -> object:
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(microseconds=1)
    if isinstance(value, (tuple, dict)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value else None
    return value


@pytest.fixture(
    scope="module",
    params=["sqlite3", pytest.param("sqlcipher3.dbapi2", marks=[pytest.mark.needs_sqlcipher, pytest.mark.no_cover])],
)
def connection(request: pytest.FixtureRequest) -> Iterator[Any]:
    pytest.importorskip(request.param)
    opened = importlib.import_module(request.param).connect(":memory:")
    opened.execute(f"CREATE TABLE memories ({COLUMNS})")
    register(opened)
    yield opened
    opened.close()


def store(connection: Any, held: Sequence[Memory]) -> None:  # noqa: ANN401  # two drivers, no common class
    connection.execute("DELETE FROM memories")
    rows = [(number, *(column(getattr(one, name)) for name in NAMES)) for number, one in enumerate(held)]
    places = ", ".join("?" * (1 + len(NAMES)))
    connection.executemany(f"INSERT INTO memories (rowid, {', '.join(NAMES)}) VALUES ({places})", rows)


def assert_same(connection: Any, held: Sequence[Memory], condition: Filter) -> None:  # noqa: ANN401  # as above
    sql, values = compile_filter(condition)
    expected = [matches(condition, memory) for memory in held]
    found = connection.execute(f"SELECT {sql} FROM memories m ORDER BY rowid", values).fetchall()
    assert found == [(int(each),) for each in expected], (condition, sql, values)
    others = f"SELECT rowid FROM memories m WHERE rowid >= ? AND NOT {sql} ORDER BY rowid"
    left = [row[0] for row in connection.execute(others, [0, *values])]
    assert left == [number for number, each in enumerate(expected) if not each], (condition, sql)


@pytest.mark.no_cover
@settings(max_examples=count(50, 350), deadline=None)
@given(case=cases())
def test_sql_and_evaluator_agree(connection: Any, case: tuple[list[Memory], list[Filter]]) -> None:  # noqa: ANN401  # as above
    held, conditions = case
    store(connection, held)
    for condition in conditions:
        assert_same(connection, held, condition)


@settings(max_examples=count(40, 250), deadline=None)
@given(case=cases())
def test_the_dict_form_survives_json(case: tuple[list[Memory], list[Filter]]) -> None:
    for condition in case[1]:
        again = Filter.parse(json.loads(json.dumps(condition.to_dict())))
        assert again == condition
        assert hash(again) == hash(condition)
        assert [matches(again, memory) for memory in case[0]] == [matches(condition, memory) for memory in case[0]]


@settings(max_examples=count(40, 250), deadline=None)
@given(case=cases())
def test_filters_obey_the_laws_of_de_morgan(case: tuple[list[Memory], list[Filter]]) -> None:
    held, (one, other, *_) = case
    for memory in held:
        first, second = matches(one, memory), matches(other, memory)
        assert matches(~one, memory) is not first
        assert matches(one & other, memory) is (first and second)
        assert matches(one | other, memory) is (first or second)
        assert matches(~(one & other), memory) is matches(~one | ~other, memory)
        assert matches(~(one | other), memory) is matches(~one & ~other, memory)
        assert matches(Filter.not_every(one, other), memory) is matches(~(one & other), memory)
        assert matches(Filter.none(one, other), memory) is matches(~(one | other), memory)


def example(number: int, value: object) -> Memory:
    """A memory that holds the value wherever a value of its kind can stand."""
    label = value.replace("\0", "") or None if isinstance(value, str) else None
    whole = value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
    return Memory(
        id=label or f"m{number}",
        namespace=(),
        text=value if isinstance(value, str) else "",
        role=label,
        tags=() if label is None else (label, "b"),
        metadata={"v": value, "n": {"v-1": value}, "l": [value, 1], 'q"': value} if number else {},
        level=whole or 0,
        modality="text",
        importance=value if isinstance(value, float) and 0 <= value <= 1 else 0.5,
        emotional_intensity=0.0,
        valence=-0.0,
        created_at=NOON,
        updated_at=NOON,
        last_accessed_at=NOON + timedelta(microseconds=number),
        expires_at=NOON if number % 2 else None,
        source_ids=(),
        final=value is True,
        speaker=label,
        session=None,
        position=whole,
        occurred_at=None,
        passages=(),
        pinned=value is False,
        accesses=whole or 0,
    )


def operands(op: str) -> list[object]:
    values = [*ATOMS, *FILTER_ONLY]
    if op in ("exists", "is_empty"):
        return [True, False]
    if op in ("in", "nin", "any", "all"):
        return [[], *([value] for value in values), [1, "a", None, True], [0.1, "b"], ["a", "b"], ["b", "\0"], values]
    if op == "between":
        return [*([value, value] for value in values), [0, 1], [0, 0.5], ["a", "b"], [0, "b"], [-(2**63), 2**63]]
    return [value for value in values if isinstance(value, str) or op not in OPERATORS[-4:]]


@pytest.mark.no_cover
@pytest.mark.parametrize("op", OPERATORS)
def test_every_operator_agrees_on_every_pair_of_atoms(connection: Any, op: str) -> None:  # noqa: ANN401  # as above
    held = [example(number, value) for number, value in enumerate(ATOMS)]
    store(connection, held)
    fields = ("v", "n.v-1", "l", 'q"', "n", "id", "text", "role", "tags", "source_ids")
    fields += ("level", "importance", "valence", "position", "final", "pinned", "accesses", "session")
    every = [Filter.where(field, op, operand) for field in fields for operand in operands(op)]
    # Two drivers of one SQLite: each takes half of them in every run, all of them thoroughly.
    step = count(2, 1)
    for condition in every[step // 2 * (isinstance(connection, sqlite3.Connection)) :: step]:
        assert_same(connection, held, condition)


@pytest.mark.parametrize("op", [*OPERATORS[:9], "exists", "is_empty"])
@pytest.mark.parametrize("field", sorted(TIME_FIELDS))
def test_moments_agree_to_the_microsecond(connection: Any, field: str, op: str) -> None:  # noqa: ANN401  # as above
    held = [example(number, None) for number in range(4)]
    store(connection, held)
    near_noon = [NOON + timedelta(microseconds=step) for step in (-1, 0, 1, 2)]
    for low in near_noon:
        if op in ("exists", "is_empty"):
            assert_same(connection, held, Filter.where(field, op, low == NOON))
        elif op in ("in", "nin", "between"):
            assert_same(connection, held, Filter.where(field, op, [low, near_noon[-1]]))
        else:
            assert_same(connection, held, Filter.where(field, op, low))


def test_what_is_too_deep_or_too_wide_for_sqlite_means_the_same(connection: Any) -> None:  # noqa: ANN401  # as above
    held = [example(number, value) for number, value in enumerate((None, "a", 1, "499"))]
    store(connection, held)
    deep = Filter.where("v", "eq", "a")
    for _ in range(40):
        deep = Filter("nor", parts=(deep, Filter.where("level", "gt", 1)))
    assert_same(connection, held, deep)
    assert_same(connection, held, Filter("or", parts=tuple(Filter.where("v", "eq", str(n)) for n in range(1000))))


@pytest.mark.parametrize(
    ("field", "op", "value"),
    [
        ("level", "eq", "1"),
        ("text", "text_imatch", "A"),
        ("tags", "eq", ["a", "b"]),
        ("v", "eq", [1]),
        ("v", "gt", 0.1),
    ],
)
def test_what_sqlite_reads_otherwise_is_compared_in_python(
    connection: Any,  # noqa: ANN401  # as above
    field: str,
    op: str,
    value: object,
) -> None:
    held = [example(number, value) for number, value in enumerate((None, "a", 1, 0.5, [1]))]
    store(connection, held)
    condition = Filter.where(field, op, value)
    assert "ums_leaf" in compile_filter(condition)[0]
    assert_same(connection, held, condition)


@pytest.mark.no_cover
def test_deep_and_wide_filters_stay_within_the_limits_of_sqlite(connection: Any) -> None:  # noqa: ANN401  # as above
    held = [example(number, value) for number, value in enumerate((None, "a", 1, 0.5, "499"))]
    store(connection, held)
    deep = Filter.where("v", "eq", "a")
    for level in range(64):
        pair = (deep, Filter.where("role", "exists", level % 3 == 0))
        deep = Filter(GROUPS[level % 4], parts=pair if level % 2 else pair[::-1])
        assert_same(connection, held, deep)
    for size in (499, 500, 2000):
        parts = tuple(Filter.where("v", "text_imatch", str(number)) for number in range(size))
        for op in ("or", "nand"):
            assert_same(connection, held, Filter(op, parts=parts))
    for many in ([*range(50_000)], [*map(str, range(50_000)), "ab", 1]):
        assert_same(connection, held, Filter.where("v", "in", many) & Filter.where("position", "nin", many[:2]))


@pytest.mark.parametrize("hostile", ["a\"') OR 1=1 --", "x' OR '1'='1", '$."v"', "a;DROP TABLE memories"])
def test_keys_and_values_never_become_sql(connection: Any, hostile: str) -> None:  # noqa: ANN401  # as above
    held = [example(0, None), example(1, hostile)]
    store(connection, held)
    for op in ("eq", "contains", "text_match", "starts_with", "gt"):
        for field in (hostile, "v", "role", "text"):
            condition = Filter.where(field, op, hostile)
            assert hostile not in compile_filter(condition)[0]
            assert_same(connection, held, condition)


@pytest.mark.parametrize(
    "source",
    [
        {"role": "user", "session": {"$ne": "s"}, "level": {"$gte": 1}, "importance": {"$between": [0.25, 0.75]}},
        {"tags": {"$contains": "a", "$any": ["a", "b"], "$all": ["a"], "$is_empty": False}},
        {"created_at": {"$gt": "2025-01-01T00:00:00Z"}, "expires_at": {"$exists": False}, "position": {"$in": [1, 2]}},
        {"text": {"$text_match": "b", "$starts_with": "a", "$ends_with": ""}, "final": False},
        {"v": {"$in": [1, "a", None, True]}, "n.v-1": {"$ne": 1}, "x": {"$exists": True, "$is_empty": False}},
    ],
)
def test_common_filters_run_without_python(source: dict[str, object]) -> None:
    held = [example(number, value) for number, value in enumerate(ATOMS) if not isinstance(value, float)]
    plain = [memory for memory in held if "\0" not in memory.text and "\\" not in memory.text]
    bare = sqlite3.connect(":memory:")
    bare.execute(f"CREATE TABLE memories ({COLUMNS})")
    bare.create_function("ums_leaf", 2, lambda *_: pytest.fail("called"))
    store(bare, plain)
    assert_same(bare, plain, Filter.parse(source))
    bare.close()
