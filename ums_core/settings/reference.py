"""The list of all settings, made from the models, so that documentation can be held against it."""

from typing import Literal, NamedTuple, get_args, get_origin

from pydantic import SecretStr

from ums_core.settings.names import default_text, env_name, leaves
from ums_core.settings.unified import UnifiedSettings

__all__ = ["Setting", "reference"]

_TYPES: dict[object, str] = {
    bool: "true or false",
    dict: "JSON object",
    float: "number",
    int: "integer",
    list: "JSON list",
    SecretStr: "secret",
    str: "text",
}


class Setting(NamedTuple):
    """One setting, in words."""

    name: str
    type: str
    default: str
    description: str


def reference() -> list[Setting]:
    """Every setting: its environment variable, its type, its default as ``.env`` writes it, and what it does."""
    prefix = UnifiedSettings.model_config.get("env_prefix", "")
    return [
        Setting(env_name(prefix, path), _type_text(field.annotation), default_text(field), field.description or "")
        for path, field in leaves(UnifiedSettings).items()
    ]


def _type_text(annotation: object) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return " or ".join(get_args(annotation))
    return _TYPES[origin or annotation]
