"""The environment and ``.env``, read by pydantic-settings once unknown names are refused."""

import difflib
import os
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, PydanticBaseSettingsSource

from ums_core.errors import SettingsError
from ums_core.settings.names import env_name, leaves, nearest

__all__ = ["DotEnv", "Environment", "forget_secrets"]

# Low enough for a missing letter or underscore, high enough to leave AI_MODEL_NAME to the program it belongs to.
_CLOSE = 0.85
_SECRETS = {"AI_SECURITY__ENCRYPTION_KEY"}


class _Lenient(EnvSettingsSource):
    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:  # noqa: ANN401  # inherited
        """JSON where it is JSON, else the text: validation refuses it with its name and value."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


class Environment(_Lenient):
    """The variables of the process.

    A name that has the prefix and is not known is an error where it holds ``__``, resembles a known one, or gives a
    whole group as JSON; any other belongs to another program and is left alone.

    Raises:
        SettingsError: from construction, with every unknown name.
    """

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        names = _names(settings_cls)
        prefix = self.env_prefix.lower()
        groups = {name.partition("__")[0] for name in names if "__" in name}
        ours = [
            name
            for name, value in self.env_vars.items()
            if name.startswith(prefix)
            and (
                "__" in name
                or difflib.get_close_matches(name, names, n=1, cutoff=_CLOSE)
                or (name in groups and (value or "").lstrip().startswith("{"))
            )
        ]
        self.env_vars = _known(self.env_vars, ours, names, "environment variable")


class DotEnv(_Lenient, DotEnvSettingsSource):
    """The entries of ``.env``; a name that has the prefix and is not known is an error.

    Raises:
        SettingsError: from construction, with every unknown name and every name without a value.
    """

    def __init__(self, settings_cls: type[BaseSettings], standard: PydanticBaseSettingsSource) -> None:
        # The standard source knows whether the caller chose another file.
        super().__init__(settings_cls, env_file=getattr(standard, "env_file", None))
        ours = [name for name in self.env_vars if name.startswith(self.env_prefix.lower())]
        self.env_vars = _known(self.env_vars, ours, _names(settings_cls), ".env entry")


def forget_secrets() -> None:
    """Remove from the environment of this process the secrets that were read from it.

    What this process starts no longer inherits them. The system keeps the environment that the process was started
    with, which its owner can read in ``/proc``: a file, a descriptor or a key service shows nothing there.
    """
    for name in [name for name in os.environ if name.upper() in _SECRETS]:
        del os.environ[name]


def _names(settings_cls: type[BaseSettings]) -> set[str]:
    """The names that are read, in lower case as pydantic-settings compares them."""
    prefix = settings_cls.model_config.get("env_prefix", "")
    return {env_name(prefix, path).lower() for path in leaves(settings_cls)}


def _known(found: Mapping[str, str | None], ours: list[str], names: set[str], what: str) -> dict[str, str | None]:
    complaints = [
        f"unknown {what} {name.upper()}; the nearest known one is {nearest(name, names).upper()}"
        for name in ours
        if name not in names
    ]
    complaints += [
        f"{what} {name.upper()} has no value; write {name.upper()}=VALUE or remove it"
        for name in ours
        if name in names and found[name] is None
    ]
    if complaints:
        raise SettingsError("\n".join(complaints))
    return {name: found[name] for name in ours}
