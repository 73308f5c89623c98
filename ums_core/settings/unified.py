"""Every setting of UMS in one object."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ums_core.errors import SettingsError
from ums_core.settings.complaint import translated
from ums_core.settings.database import DatabaseSettings, url_of
from ums_core.settings.dynamics import DynamicsSettings
from ums_core.settings.environment import DotEnv, Environment
from ums_core.settings.lifetime import LifetimeSettings
from ums_core.settings.maintenance import MaintenanceSettings
from ums_core.settings.model import ModelConfig
from ums_core.settings.monitoring import MonitoringSettings
from ums_core.settings.perf import PerfSettings
from ums_core.settings.ranking import RankingSettings
from ums_core.settings.remote import RemoteSettings
from ums_core.settings.section import Section
from ums_core.settings.security import SecuritySettings
from ums_core.settings.service import ServiceSettings

__all__ = ["UnifiedSettings"]


class UnifiedSettings(Section, BaseSettings):
    """Settings from keywords, then ``AI_…`` variables, then ``.env`` in the working directory, then defaults.

    A group is given as a mapping, which the other sources complete, or as an object, which stands as it is.

    Raises:
        SettingsError: from construction and from assignment, with every key at fault.
    """

    model_config = SettingsConfigDict(
        env_prefix="AI_", env_nested_delimiter="__", env_file=".env", env_file_encoding="utf-8"
    )

    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    model: ModelConfig = Field(default_factory=ModelConfig)
    perf: PerfSettings = Field(default_factory=PerfSettings)
    monitoring: MonitoringSettings = Field(default_factory=MonitoringSettings)
    dynamics: DynamicsSettings = Field(default_factory=DynamicsSettings)
    lifetime: LifetimeSettings = Field(default_factory=LifetimeSettings)
    maintenance: MaintenanceSettings = Field(default_factory=MaintenanceSettings)
    ranking: RankingSettings = Field(default_factory=RankingSettings)
    security: SecuritySettings = Field(default_factory=SecuritySettings)
    env: Literal["development", "production"] = Field(
        default="development",
        description="Where this runs: production refuses to open a store that is not sealed.",
    )
    remote: RemoteSettings = Field(default_factory=RemoteSettings)
    channel: Literal["personal", "global", "dual"] = Field(
        default="personal",
        description="Where memories are: personal is the database on this device, global the service, dual both.",
    )
    privacy_mode: Literal["strict", "standard"] = Field(
        default="strict",
        description="What may go along with what is marked global: strict sends nothing that says whose it is.",
    )
    service: ServiceSettings = Field(default_factory=ServiceSettings)
    summary_strategy: Literal["head2tail", "concat", "extractive"] = Field(
        default="head2tail",
        description="How memories are summarised when they are consolidated.",
    )
    summary_max_chars: int = Field(
        default=1000, ge=100, description="Characters of a summary that UMS makes itself, at most; at least 100."
    )
    summary_timeout: float = Field(
        default=60.0,
        gt=0,
        description="Seconds for one summary of a strategy of your own, such as a language model; greater than 0.",
    )

    def __init__(self, /, **values: object) -> None:
        try:
            super().__init__(**values)
        except UnicodeDecodeError as error:
            raise SettingsError(f".env is not UTF-8 ({error}); save it in that encoding") from error

    @property
    def pages(self) -> bool:
        """Whether whole files are to be encrypted, page by page; else a key seals what they hold, field by field."""
        return self.security.encrypt_at_rest or self.database.encrypted

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the signature is pydantic's
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where values come from, the strongest first."""
        return init_settings, Environment(settings_cls), DotEnv(settings_cls, dotenv_settings)

    @classmethod
    def for_testing(cls, /, **overrides: object) -> Self:
        """Settings for a test: a database in a fresh directory, no download, no optional package.

        The environment and ``.env`` are not read. The directory is removed when the interpreter exits.

        Args:
            overrides: settings and groups as the constructor takes them; what a group leaves out keeps its test value.

        Raises:
            SettingsError: an override is unknown or out of its range.
        """
        values: dict[str, object] = {
            "database": {"backend": "exact"},
            "model": {"embedder": "hashing", "vector_dim": 384},
            "perf": {"max_workers": 1},
        }
        for name, override in overrides.items():
            values[name] = _merged(values.get(name), override)
        database = values["database"]
        if isinstance(database, dict) and "url" not in database:
            database["url"] = url_of(_temporary_directory() / "memory.db")
        settings = cls.__new__(cls)
        with translated(cls):
            BaseModel.__init__(settings, **values)
        return settings


def _merged(standard: object, override: object) -> object:
    given = override.model_dump(exclude_unset=True) if isinstance(override, Section) else override
    if not isinstance(given, Mapping):
        return given
    return {**(standard if isinstance(standard, dict) else {}), **given}


def _temporary_directory() -> Path:
    directory = tempfile.mkdtemp(prefix="ums-")
    atexit.register(_remove, directory, os.getpid())
    return Path(directory)


def _remove(directory: str, owner_pid: int) -> None:
    # A forked child inherits the registration; the directory is its parent's.
    if os.getpid() == owner_pid:
        shutil.rmtree(directory, ignore_errors=True)
