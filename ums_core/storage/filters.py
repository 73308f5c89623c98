"""Filters as SQL over ``memories m``: the common ones at the speed of SQLite, the rest by the evaluator itself.

Whatever SQLite might read in another way than ``ums_core.records.match`` is left to two Python functions that call it:
keys that need quoting, floats inside JSON, integers beyond 64 bits, JSON strings with NUL, deep equality, case folding.
Names in the SQL are constants, and every value and path is bound.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol, TypeAlias

from ums_core.ranking.words import cues
from ums_core.records import Filter
from ums_core.records.filter import FIELDS, GROUPS, TIME_FIELDS
from ums_core.records.match import MISSING, dig, evaluate, holds, micros

__all__ = ["compile_filter", "register"]

# One SQL expression that is 0 or 1, never NULL, and what is bound to it.
_Sql: TypeAlias = tuple[str, list[object]]

# Below what SQLite's parser stack (100) and expression depth (1000) leave to the statement around it.
_MAX_SQL_DEPTH = 12
_MAX_SQL_SIZE = 500

_INT64 = 2**63
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_OPPOSITE = {"ne": "eq", "nin": "in"}
_EQUALITIES = frozenset({"eq", "in"})
_COMPARISONS = {"eq": "= ?", "gt": "> ?", "gte": ">= ?", "lt": "< ?", "lte": "<= ?", "between": "BETWEEN ? AND ?"}
_WORD_TESTS = {
    "contains": "instr(CAST({} AS BLOB), ?) > 0",
    "text_match": "instr(CAST({} AS BLOB), ?) > 0",
    "starts_with": "substr(CAST({} AS BLOB), 1, ?) IS ?",
    "ends_with": "substr(CAST({} AS BLOB), ?) IS ?",
}
_FAST = frozenset({*_COMPARISONS, *_WORD_TESTS, "in"})
_ATOMS: dict[object, str] = {None: "null", True: "true", False: "false"}

_LABELS = frozenset({"tags", "source_ids"})
_WORDS = frozenset({"id", "text", "role", "modality", "speaker", "session", "caption"})
_NULLABLE = frozenset({"role", "speaker", "session", "position", "expires_at", "occurred_at", "valid_from", "caption"})
_FLAGS = frozenset({"final", "pinned"})
_METADATA = "metadata"
_COLUMNS = (*sorted(FIELDS), _METADATA)


class FunctionHost(Protocol):
    """A DB-API connection of ``sqlite3`` or ``sqlcipher3``."""

    def create_function(self, name: str, narg: int, func: Callable[..., int], /, *, deterministic: bool = ...) -> None:
        """Make a Python function callable from SQL."""
        ...


def compile_filter(filter: Filter) -> tuple[str, list[object]]:  # noqa: A002  # the field's standard term
    """An SQL expression that is 1 where the memory in row ``m`` meets the filter and else 0, and its bound values.

    The connection that runs it needs ``register`` once.
    """
    return _row(filter) if filter.size > _MAX_SQL_SIZE else _compile(filter, 0)


def register(connection: FunctionHost) -> None:
    """Add the functions that compiled filters and migrations call."""
    connection.create_function("ums_leaf", 2, _leaf_holds, deterministic=True)
    connection.create_function("ums_row", 1 + len(_COLUMNS), _row_holds, deterministic=True)
    connection.create_function("ums_cues", 1, cues, deterministic=True)


def _compile(node: Filter, depth: int) -> _Sql:
    if node.op not in GROUPS:
        return _leaf(node)
    if depth == _MAX_SQL_DEPTH:
        return _row(node)
    parts = [_compile(part, depth + 1) for part in node.parts]
    # Python last, where a short circuit may spare it.
    parts.sort(key=lambda part: "ums_" in part[0])
    conjunction = node.op in ("and", "nand")
    joined = (" AND " if conjunction else " OR ").join(sql for sql, _ in parts) or str(int(conjunction))
    values = [value for _, bound in parts for value in bound]
    return (f"({joined})" if node.op in ("and", "or") else f"(NOT ({joined}))"), values


def _leaf(leaf: Filter) -> _Sql:
    positive = leaf
    if leaf.op in _OPPOSITE:
        positive = Filter.where(leaf.field, _OPPOSITE[leaf.op], leaf.value)
    elif leaf.value is False and leaf.op in ("exists", "is_empty"):
        positive = Filter.where(leaf.field, leaf.op)
    if positive.path:
        sql, values = _metadata(positive)
    else:
        sql, values = _labels(positive) if leaf.field in _LABELS else _column(positive)
    return (sql if positive is leaf else f"(NOT {sql})"), values


def _column(leaf: Filter) -> _Sql:
    name = f"m.{leaf.field}"
    nullable = leaf.field in _NULLABLE
    if leaf.op == "exists":
        return (f"({name} IS NOT NULL)" if nullable else "1"), []
    if leaf.op == "is_empty":
        return (f"({name} IS '')" if leaf.field in _WORDS else "0"), []
    operands = leaf.value if isinstance(leaf.value, tuple) else (leaf.value,)
    bound = [_bindable(leaf.field, operand) for operand in operands]
    if not _is_fast(leaf, bound):
        return _python(leaf)
    sql, values = _test(leaf.op, (name, []), bound)
    return (f"({name} IS NOT NULL AND {sql})" if nullable else f"({sql})"), values


def _is_fast(leaf: Filter, bound: Sequence[object]) -> bool:
    """Whether SQLite reads the comparison of a column as the evaluator does."""
    if None in bound or leaf.op not in _FAST:
        return False
    if leaf.field in _FLAGS:
        return leaf.op in _EQUALITIES
    if leaf.op == "in":
        return all(_word(value) or _whole(value) for value in bound)
    return leaf.op not in _WORD_TESTS or leaf.field in _WORDS


def _bindable(field: str, value: object) -> object:
    """The value as the column holds it, or None where it is of another type."""
    if field in TIME_FIELDS:
        return micros(value)  # type: ignore[arg-type]  # a leaf on a moment holds nothing else
    if field in _WORDS:
        return value if isinstance(value, str) else None
    if field in _FLAGS:
        return int(value) if isinstance(value, bool) else None
    return value if _whole(value) or isinstance(value, float) else None


def _test(op: str, operand: _Sql, values: Sequence[object]) -> _Sql:
    """The operand, present and of the type of the values, compared with them."""
    sql, bound = operand
    if op == "in":
        return f"{sql} IN (SELECT e.value FROM json_each(?) AS e)", [*bound, _dumps(values)]
    if op not in _WORD_TESTS:
        return f"{sql} {_COMPARISONS[op]}", [*bound, *values]
    # Bytes, as SQLite's functions on text may end at NUL; in UTF-8 they find the same.
    needle = str(values[0]).encode()
    if not needle:
        return "1", []
    length: dict[str, list[object]] = {"starts_with": [len(needle)], "ends_with": [-len(needle)]}
    return _WORD_TESTS[op].format(sql), [*bound, *length.get(op, ()), needle]


def _labels(leaf: Filter) -> _Sql:
    name = f"m.{leaf.field}"
    if leaf.op in ("exists", "is_empty"):
        return ("1" if leaf.op == "exists" else f"({name} IS NULL)"), []
    wanted = leaf.value if isinstance(leaf.value, tuple) else (leaf.value,)
    if leaf.op not in ("contains", "any", "all") or not all(map(_word, wanted)):
        return _python(leaf)
    held = f"SELECT e.value FROM json_each({name}) AS e"
    if leaf.op == "all":
        sql = f"(NOT EXISTS (SELECT 1 FROM json_each(?) AS w WHERE w.value NOT IN ({held})))"
    else:
        sql = f"(EXISTS ({held} WHERE e.value IN (SELECT w.value FROM json_each(?) AS w)))"
    return sql, [_dumps(wanted)]


def _metadata(leaf: Filter) -> _Sql:
    if not all(map(_PLAIN_KEY.fullmatch, leaf.path)):
        return _python(leaf)
    path = "$" + "".join(f'."{key}"' for key in leaf.path)
    if leaf.op == "exists":
        return "(json_type(m.metadata, ?) IS NOT NULL)", [path]
    if leaf.op == "is_empty":
        return """coalesce((m.metadata -> ?) IN ('null', '""', '[]', '{}'), 0)""", [path]
    values = leaf.value if isinstance(leaf.value, tuple) else (leaf.value,)
    kinds: dict[str, list[object]] = {}
    for value in values:
        kinds.setdefault(_kind(value), []).append(value)
    if not _is_direct(leaf.op, set(kinds)):
        sql, bound = _python(leaf)
        return f"CASE WHEN json_type(m.metadata, ?) IS NULL THEN 0 ELSE {sql} END", [path, *bound]
    cases = _cases(leaf, path, kinds)
    sql = " ".join(f"WHEN '{name}' THEN {case}" for name, (case, _) in cases)
    return f"CASE json_type(m.metadata, ?) {sql} ELSE 0 END", [path, *(v for _, (_, bound) in cases for v in bound)]


def _is_direct(op: str, kinds: set[str]) -> bool:
    """Whether SQLite reads the comparison of a JSON value with values of these kinds as the evaluator does."""
    if op in _EQUALITIES:
        return bool(kinds) and "other" not in kinds
    if op in _WORD_TESTS:
        return kinds == {"word"}
    return op in _COMPARISONS and kinds in ({"word"}, {"whole"})


def _cases(leaf: Filter, path: str, kinds: Mapping[str, Sequence[object]]) -> list[tuple[str, _Sql]]:
    """What to test for each JSON type of the value that can meet the leaf."""
    operand: _Sql = ("json_extract(m.metadata, ?)", [path])
    fallback = _python(leaf)
    cases: list[tuple[str, _Sql]] = [(_ATOMS[atom], ("1", [])) for atom in kinds.get("atom", ())]
    if "word" in kinds:
        sql, values = _test(leaf.op, operand, kinds["word"])
        # SQLite 3.40 ends a JSON string at an escaped NUL; later ones do not.
        guarded = f"CASE WHEN instr(m.metadata, '\\u0000') THEN {fallback[0]} ELSE {sql} END"
        cases.append(("text", (guarded, fallback[1] + values)))
    if "whole" in kinds:
        cases += [("integer", _test(leaf.op, operand, kinds["whole"])), ("real", fallback)]
    if leaf.op == "contains":
        cases.append(("array", fallback))
    return cases


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "atom"
    return "word" if _word(value) else "whole" if _whole(value) else "other"


def _word(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64


def _python(leaf: Filter) -> _Sql:
    column = _METADATA if leaf.path else leaf.field
    return f"ums_leaf(?, {_raw(column)})", [_dumps(leaf.to_dict())]


def _row(node: Filter) -> _Sql:
    return f"ums_row(?, {', '.join(map(_raw, _COLUMNS))})", [_dumps(node.to_dict())]


def _raw(column: str) -> str:
    # Only this one may hold NUL, at which a driver may end a string.
    return "CAST(m.text AS BLOB)" if column == "text" else f"m.{column}"


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=256)
def _parsed(text: str) -> Filter:
    return Filter.parse(json.loads(text))


def _leaf_holds(text: str, raw: object) -> int:
    leaf = _parsed(text)
    value = dig(_read(_METADATA, raw), leaf.path) if leaf.path else _read(leaf.field, raw)
    return int(holds(leaf, value))


def _row_holds(text: str, *raws: object) -> int:
    row = {column: _read(column, raw) for column, raw in zip(_COLUMNS, raws, strict=True)}

    def lookup(leaf: Filter) -> object:
        return dig(row[_METADATA], leaf.path) if leaf.path else row[leaf.field]

    return int(evaluate(_parsed(text), lookup))


def _read(column: str, raw: object) -> object:
    """What the evaluator sees of a column."""
    if column in _LABELS or column == _METADATA:
        return json.loads(raw) if isinstance(raw, str) else [] if column in _LABELS else {}
    if raw is None:
        return MISSING
    if isinstance(raw, bytes):
        return raw.decode()
    return bool(raw) if column in _FLAGS else raw
