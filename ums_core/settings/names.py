"""What settings are called: dotted path in Python, one variable in the environment."""

import difflib
from collections.abc import Iterable

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import to_json

__all__ = ["default_text", "env_name", "leaves", "nearest"]


def leaves(kind: type[BaseModel], path: str = "") -> dict[str, FieldInfo]:
    """Every setting of a group and of the groups inside it, by dotted path such as ``model.vector_dim``."""
    found: dict[str, FieldInfo] = {}
    for name, field in kind.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            found |= leaves(group, f"{path}{name}.")
        else:
            found[path + name] = field
    return found


def env_name(prefix: str, path: str) -> str:
    """The environment variable of a dotted path."""
    return prefix + path.replace(".", "__").upper()


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that looks most like the one given."""
    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]


def default_text(field: FieldInfo) -> str:
    """A setting's default as it is written in ``.env``."""
    default = field.get_default(call_default_factory=True)
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    return default if isinstance(default, str) else to_json(default).decode()
