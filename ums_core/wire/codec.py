"""How each kind of value crosses: its JSON form, derived from the type hints of the records.

A field that a record gains is carried without a line here; a type that cannot cross is an error at import.
"""

import base64
import binascii
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from dataclasses import Field as DataclassField
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from ums_core.errors import InvalidField, InvalidInput, InvalidVector
from ums_core.records import Draft, Filter, Passage, Patch
from ums_core.records.check import check_json, check_label, check_text
from ums_core.records.memory import WHOLE

__all__ = ["KV_ITEMS", "KV_PAIRS", "KV_VALUES", "Form", "Wire", "form_of", "hints_of"]


class Wire(BaseModel):
    """What crosses: nothing unknown in a request, no coercion, no NaN, and no input in a message."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Form:
    """How a value crosses.

    Attributes:
        annotation: what pydantic validates.
        dump: from the value to what JSON holds; None where it is the same.
        load: from what was validated to the value; None where it is the same.
    """

    annotation: Any
    dump: Callable[[Any], Any] | None = None
    load: Callable[[Any], Any] | None = None


def hints_of(source: object) -> dict[str, Any]:
    """The resolved type hints of a record or a verb; a vector is told apart from other lists."""
    return get_type_hints(source, localns={"Vector": _Vector})


@cache
def form_of(hint: Any) -> Form:  # noqa: ANN401  # any type hint
    """The form of a type hint.

    Raises:
        TypeError: the type has no form.
    """
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    if isinstance(hint, type) and is_dataclass(hint):
        return _record(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        return _either([part for part in parts if part is not type(None)], optional=type(None) in parts)
    if origin is Literal:
        return Form(hint)
    if origin in {Mapping, dict}:
        return _mapping(form_of(parts[1]))
    if origin in {Sequence, list} or (origin is tuple and parts[1:] == (...,)):
        return _list(form_of(parts[0]), tuple if origin is tuple else list)
    raise TypeError(f"{hint!r} has no form on the wire; add one to ums_core/wire/codec.py")


_LITTLE = np.dtype("<f4")


class _Vector:
    """Stands for ``Vector`` in a hint."""


def dump_vector(vector: object) -> str:
    """Base64 of the components as little-endian float32.

    Raises:
        InvalidVector: not one row of numbers.
    """
    if isinstance(vector, np.ndarray) and vector.dtype == _LITTLE:
        row = vector
    else:
        try:
            # What does not fit float32 becomes infinite, which the store refuses by its name.
            with np.errstate(over="ignore"):
                row = np.array(vector, dtype=_LITTLE)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidVector(f"a vector is not a row of numbers: {error}") from error
    if row.ndim != 1:
        raise InvalidVector(f"a vector must be one row of numbers, got an array of shape {row.shape}")
    return binascii.b2a_base64(row.tobytes(), newline=False).decode("ascii")


def load_vector(value: "str | list[float]") -> "npt.NDArray[np.float32]":
    """The vector, shape (d,) float32.

    Raises:
        InvalidVector: not base64 of whole numbers of four bytes.
    """
    if isinstance(value, list):
        with np.errstate(over="ignore"):
            return np.array(value, dtype=np.float32)
    try:
        return np.frombuffer(binascii.a2b_base64(value, strict_mode=True), _LITTLE).astype(np.float32, copy=False)
    except (binascii.Error, ValueError) as error:
        raise InvalidVector("a vector is base64 of little-endian float32 numbers, or a list of numbers") from error


def _load_moment(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        # The record it is for says what is wrong with it.
        return moment
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise InvalidField("a moment leaves the years 1 to 9999 in UTC") from error


_SIMPLE: dict[Any, Form] = {
    str: Form(str),
    bool: Form(bool),
    int: Form(int),
    float: Form(float),
    object: Form(Any),
    Any: Form(Any),
    datetime: Form(datetime, None, _load_moment),
    Filter: Form(dict[str, Any], lambda condition: condition.to_dict(), Filter.parse),
    _Vector: Form(
        Annotated[
            str | list[float],
            Field(union_mode="left_to_right"),
            WithJsonSchema(
                {
                    "anyOf": [
                        {"type": "string", "contentEncoding": "base64"},
                        {"type": "array", "items": {"type": "number"}},
                    ],
                    "description": "Base64 of little-endian float32 numbers, or a list of numbers.",
                }
            ),
        ],
        dump_vector,
        load_vector,
    ),
}


def _either(parts: list[Any], *, optional: bool) -> Form:
    # A filter may be given as a mapping; it crosses as one.
    chosen = Filter if Filter in parts else parts[0]
    if chosen is not Filter and len(parts) > 1:
        raise TypeError(f"{parts!r} has no form on the wire: which of them is it?")
    form = form_of(chosen)
    if not optional:
        return form
    return Form(Union[form.annotation, None], _unless_none(form.dump), _unless_none(form.load))  # noqa: UP007  # built from a value


def _unless_none(turn: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    return None if turn is None else lambda value: None if value is None else turn(value)


def _mapping(form: Form) -> Form:
    def each(turn: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
        return None if turn is None else lambda items: {key: turn(value) for key, value in items.items()}

    return Form(dict[str, form.annotation], each(form.dump), each(form.load))  # type: ignore[name-defined]  # built from a value


def _list(form: Form, kind: Callable[[Any], Any]) -> Form:
    dump, load = form.dump, form.load
    return Form(
        list[form.annotation],  # type: ignore[name-defined]  # built from a value
        None if dump is None else lambda items: [dump(item) for item in items],
        (kind if kind is tuple else None) if load is None else lambda items: kind(map(load, items)),
    )


def _record(kind: type) -> Form:
    forms = {name: form_of(hint) for name, hint in hints_of(kind).items()}
    if kind is Patch:
        forms["changes"] = _changes()
    wanted = [entry for entry in fields(kind) if entry.init]
    described = _descriptions(kind)
    model = _model(
        kind.__name__, {e.name: (forms[e.name].annotation, _default(e, described)) for e in wanted}, kind.__doc__
    )
    return Form(model, _dumper(kind, wanted, forms), _loader(kind, forms))


# Most memories are of one passage, and it has nothing to tell but that it is there.
_BARE: Mapping[type, object] = {Passage: WHOLE}


def _dumper(
    kind: type, wanted: Sequence[DataclassField[Any]], forms: Mapping[str, Form]
) -> Callable[[Any], dict[str, object]]:
    names = [entry.name for entry in wanted]
    values_of = attrgetter(*names)
    plan = [(e.name, e.default, forms[e.name].dump) for e in wanted if e.default is not MISSING or forms[e.name].dump]
    bare, slotted = _BARE.get(kind), _slotted(kind)

    def dump(record: Any) -> dict[str, object]:  # noqa: ANN401  # of the kind
        if record is bare:
            return {}
        # At once: an answer of a hundred hits is a hundred memories of thirty fields each.
        out = dict(zip(names, values_of(record), strict=True)) if slotted else record.__dict__.copy()
        for name, default, turn in plan:
            value = out[name]
            # Told apart by type first: False is not 0, and an array is not to be compared.
            if value is default or (type(value) is type(default) and value == default):
                del out[name]
            elif turn is not None:
                out[name] = turn(value)
        return out

    return dump


def _loader(kind: type, forms: Mapping[str, Form]) -> Callable[[Wire], object]:
    loads = [(name, form.load) for name, form in forms.items() if form.load]
    # What checks nothing is made in one step, in place of one guarded assignment a field.
    bare, checked = _BARE.get(kind), hasattr(kind, "__post_init__") or _slotted(kind)

    def load(given: Wire) -> object:
        # Read from where pydantic keeps it, for the same reason.
        held, told = given.__dict__, given.__pydantic_fields_set__
        if bare is not None and not told:
            return bare
        values = {name: held[name] for name in told} if checked and len(told) < len(held) else held.copy()
        for name, turn in loads:
            if name in told and values[name] is not None:
                values[name] = turn(values[name])
        if checked:
            return kind(**values)
        made: object = object.__new__(kind)
        object.__setattr__(made, "__dict__", values)
        return made

    return load


def _slotted(kind: type) -> bool:
    return "__slots__" in vars(kind)


def _model(name: str, columns: dict[str, Any], about: str | None) -> type[Wire]:
    return create_model(name, __base__=Wire, __doc__=(about or "").partition("\n")[0], **columns)


def _default(entry: Any, described: Mapping[str, str]) -> Any:  # noqa: ANN401  # a dataclass field has no public type
    about: dict[str, Any] = {"description": described[entry.name]} if entry.name in described else {}
    if entry.default_factory is not MISSING:
        return Field(default_factory=entry.default_factory, **about)
    return Field(**about) if entry.default is MISSING else Field(default=entry.default, **about)


_ATTRIBUTE = re.compile(r"^    +(\w+): (.+(?:\n +(?!\w+: )\S.*)*)", re.MULTILINE)


def _descriptions(kind: type) -> dict[str, str]:
    """What the docstring says of each attribute."""
    return {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(kind.__doc__ or "")}


# Changes name a subset of a draft's fields. They are the only values that no record has checked before.
_CHANGEABLE = [entry for entry in fields(Draft) if entry.name not in {"id", "namespace", "created_at"}]


def _changes() -> Form:
    forms = {name: form_of(hint) for name, hint in hints_of(Draft).items()}
    described = _descriptions(Draft)
    columns = {e.name: (forms[e.name].annotation, _default(e, described)) for e in _CHANGEABLE}
    model = _model("Changes", columns, "The fields to replace.")

    def dump(changes: Mapping[str, object]) -> dict[str, object]:
        checked = dict(changes)
        if "text" in checked:
            check_text(checked["text"], "text")
        Draft(text="-", **{n: v for n, v in checked.items() if n not in {"text", "embedding"}})  # type: ignore[arg-type]  # checked by Draft
        return {name: _dumped(forms[name], value) for name, value in checked.items()}

    def load(given: Wire) -> dict[str, object]:
        return {name: _loaded(forms[name], getattr(given, name)) for name in given.model_fields_set}

    return Form(model, dump, load)


def _dumped(form: Form, value: Any) -> Any:  # noqa: ANN401  # of the form's kind
    return value if form.dump is None else form.dump(value)


def _loaded(form: Form, value: Any) -> Any:  # noqa: ANN401  # of the form's kind
    return value if form.load is None else form.load(value)


class KvValue(Wire):
    """A value of the key-value area: ``json``, or else ``bytes`` in base64."""

    json_: Any = Field(default=None, alias="json", description="Any JSON value.")
    bytes_: str | None = Field(default=None, alias="bytes", description="Base64 of bytes.")


def _dump_kv(value: object) -> dict[str, object]:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    return {"json": check_json(value, "value")}


def _load_kv(given: KvValue) -> object:
    if given.bytes_ is None:
        return given.json_
    try:
        return base64.b64decode(given.bytes_, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("bytes of a value are to be base64") from error


def _dump_items(items: Mapping[str, object]) -> dict[str, object]:
    if not isinstance(items, Mapping):
        raise InvalidInput(f"items must be a mapping of key to value, got {type(items).__name__}")
    return {check_label(key, "key", InvalidInput): _dump_kv(value) for key, value in items.items()}


# Values are bytes or JSON, which a hint of ``object`` does not tell.
_KV = Form(KvValue, _dump_kv, _load_kv)
KV_ITEMS = Form(dict[str, KvValue], _dump_items, _mapping(_KV).load)
KV_VALUES = _list(_KV, list)
KV_PAIRS = Form(
    list[tuple[str, KvValue]],
    lambda pairs: [[key, _dump_kv(value)] for key, value in pairs],
    lambda pairs: [(key, _load_kv(value)) for key, value in pairs],
)
