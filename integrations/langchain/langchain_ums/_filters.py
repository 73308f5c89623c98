"""Conditions of the frameworks as conditions of UMS."""

from collections.abc import Iterator, Mapping

from ums_core import Filter

__all__ = ["document_filter", "item_filter"]

_ITEM_OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")


def item_filter(condition: Mapping[str, object], at: str) -> list[Filter]:
    r"""The parts of a LangGraph filter on the value that lies at a path of the metadata.

    A key is a dotted path, ``\.`` a dot in a key; a mapping without operators is matched key by key, an empty one is a
    value. A key that is missing meets only ``$ne``. Types are told apart: ``True`` is not ``1``, and values of two
    types are never in order.

    Raises:
        ValueError: an unknown operator.
    """
    return [part for key, wanted in condition.items() for part in _parts(f"{at}.{key}", wanted)]


def document_filter(condition: Filter | Mapping[str, object] | None) -> Filter | None:
    """A condition on a document's metadata: in a dict every name is a key there, a ``Filter`` is taken as it is."""
    return condition if condition is None or isinstance(condition, Filter) else Filter.parse(_below(condition))


def _parts(field: str, wanted: object) -> Iterator[Filter]:
    if not isinstance(wanted, Mapping) or not wanted:
        yield Filter.where(field, "eq", wanted)
    elif any(str(key).startswith("$") for key in wanted):
        for operator, value in wanted.items():
            if operator not in _ITEM_OPERATORS:
                raise ValueError(f"unknown operator {operator!r}; known are {', '.join(_ITEM_OPERATORS)}")
            yield Filter.where(field, operator[1:], value)
    else:
        for key, value in wanted.items():
            yield from _parts(f"{field}.{str(key).replace(chr(92), chr(92) * 2).replace('.', chr(92) + '.')}", value)


def _below(condition: Mapping[str, object]) -> dict[str, object]:
    out: dict[str, object] = {}
    for key, value in condition.items():
        if not str(key).startswith("$"):
            out[f"metadata.{key}"] = value
        elif isinstance(value, list | tuple):
            out[key] = [_below(part) if isinstance(part, Mapping) else part for part in value]
        else:
            out[key] = value
    return out
