"""How long memories stay."""

from typing import Annotated

from pydantic import Field, field_validator

from ums_core.errors import SettingsError
from ums_core.settings.section import Section

__all__ = ["LifetimeSettings"]


class LifetimeSettings(Section):
    """How long what is remembered stays, and what was forgotten may come back."""

    undo_days: float = Field(
        default=30.0,
        ge=0,
        le=36525,
        description="Days in which what was forgotten can be brought back by undo; 0 is not at all.",
    )
    history_days: float = Field(
        default=0.0,
        ge=0,
        le=36525,
        description="Days of which the history tells; maintenance prunes what is older. 0 keeps everything.",
    )
    idempotency_days: float = Field(
        default=0.0,
        ge=0,
        le=36525,
        description="Days in which a write under the same idempotency key is not done again; maintenance lets older "
        "answers go. 0 keeps them all.",
    )
    ttl_s: dict[str, Annotated[float, Field(gt=0, le=3_155_760_000)]] = Field(
        default_factory=dict,
        description="Seconds that new memories stay that name no end themselves, by namespace, its labels joined by a "
        "slash (%2F within one): the longest prefix counts, an empty one is everything.",
    )
    refresh_on_read: bool = Field(
        default=False,
        description="Whether a memory with a time to live begins it anew when get or a search returns it. "
        "Every such read then writes.",
    )

    @field_validator("ttl_s")
    @classmethod
    def _name_namespaces(cls, ttl_s: dict[str, float]) -> dict[str, float]:
        for path in ttl_s:
            # What no namespace is called would never end anything, and nobody would hear of it.
            if path and not all(label and "\0" not in label for label in path.split("/")):
                raise SettingsError(f"{path!r} names no namespace; write labels joined by single slashes: users/ana")
        return ttl_s
