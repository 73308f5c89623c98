"""A store of small vectors that need no model, compared one by one."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ums_core import LocalStore, UnifiedSettings, open_store
from ums_core.settings.database import url_of


def opened(place: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC), **settings: object) -> LocalStore:
    """The store in a folder; further groups of settings by name."""
    made = UnifiedSettings.for_testing(
        database={"url": url_of(place / "memory.db"), "backend": "exact"},
        model={"embedder": "hashing:16", "vector_dim": 16},
        **settings,
    )
    return open_store(made, clock=clock)
