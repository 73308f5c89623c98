"""What is said about settings that cannot be used: each key, its value, the reason and a way out."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ums_core.errors import SettingsError
from ums_core.settings.names import default_text, env_name, leaves, nearest

__all__ = ["translated", "unknown"]

_SHOWN = 80
_CREDENTIALS = re.compile(r"(?<=://).*@")


@contextmanager
def translated(kind: type[BaseModel]) -> Iterator[None]:
    """Turn pydantic's error into ours, one line a key at fault."""
    try:
        yield
    except ValidationError as error:
        lines = [_line(kind, details) for details in error.errors(include_url=False)]
        raise SettingsError("\n".join(lines)) from error


def unknown(kind: type[BaseModel], path: str) -> str:
    """What to say of a key that the group does not have; its value is not repeated, for it may be a secret."""
    known = leaves(kind)
    groups = sorted({name.rpartition(".")[0] for name in known} - {""})
    return f"unknown setting {path!r}; the nearest known one is {nearest(path, [*groups, *known])!r}"


def _line(kind: type[BaseModel], details: ErrorDetails) -> str:
    path = ".".join(map(str, details["loc"]))
    if details["type"] == "extra_forbidden":
        return unknown(kind, path)
    ours = details["type"] == "value_error"
    reason = str(details["ctx"]["error"]) if ours else details["msg"].replace("Input should", "must")
    value = details["input"]
    known = leaves(kind)
    leaf = next((name for name in known if f"{path}.".startswith(f"{name}.")), None)
    # What a group keeps out of its repr is a secret, or holds one.
    secret = leaf is not None and not known[leaf].repr
    shown = "" if secret or isinstance(value, (Mapping, BaseModel)) else f" = {_redacted(value)}"
    if leaf is None:
        return f"{path or kind.__name__}{shown}: {reason}"
    prefix = str(kind.model_config.get("env_prefix", ""))
    variable = f" ({env_name(prefix, leaf)})" if prefix else ""
    return f"{path}{variable}{shown}: {reason}; the default is {default_text(known[leaf]) or 'empty'}"


def _redacted(value: object) -> str:
    text = _CREDENTIALS.sub("***@", repr(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
