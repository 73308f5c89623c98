"""What is done to a store, as values: the machine does it itself, or lets a process do it that it kills."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ums_core import LocalStore, Memory, UnifiedSettings, open_store
from ums_core.errors import MaintenanceRunning, MemoryNotFound
from ums_core.service.tenants import settings_of
from ums_core.service.tokens import Tenant
from ums_core.settings.database import url_of

TIMEOUT_S = 0.02


@dataclass(frozen=True)
class Order:
    """One call of a verb."""

    verb: str
    arguments: Mapping[str, Any]


def failing(memories: Sequence[Memory]) -> str:
    raise RuntimeError(f"no model for {len(memories)}")


def halting(memories: Sequence[Memory]) -> str:
    """Summarises some clusters, and fails at the others."""
    return failing(memories) if len(memories) % 2 else f"About {memories[0].text}"


def lying(_: Sequence[Memory]) -> str:
    return "Nothing of this was ever said."


def slow(memories: Sequence[Memory]) -> str:
    time.sleep(3 * TIMEOUT_S)
    return f"Too late for {memories[0].text}"


def silent(_: Sequence[Memory]) -> str:
    return ""


def mute(_: Sequence[Memory]) -> None:
    """A function that forgets to return."""


STRATEGIES: tuple[Any, ...] = ("head2tail", "concat", halting, failing, lying, slow, silent, mute)


def settings_in(directory: Path, tenant: str) -> UnifiedSettings:
    """The settings of a tenant's store, as a service makes them."""
    base = UnifiedSettings.for_testing(
        database={"url": url_of(directory / "memory.db")},
        summary_timeout=TIMEOUT_S,
        maintenance={"threshold": 0.5, "retain_fraction": 0.7, "lease": 60},
    )
    own = settings_of(base, Tenant(tenant))
    own.database.path.parent.mkdir(parents=True, exist_ok=True)
    return own


def carry_out(store: LocalStore, order: Order) -> Any:  # noqa: ANN401  # what the verb answers
    """What the verb answers, or the code of what is refused because of what happened before."""
    try:
        return getattr(store, order.verb)(**order.arguments)
    except (MemoryNotFound, MaintenanceRunning) as error:
        return error.code


def toil(settings: UnifiedSettings, now: datetime, orders: Sequence[Order], line: Connection) -> None:
    """Carry orders out in another process, and say so before each and after it."""
    with open_store(settings, clock=lambda: now) as store:
        line.send("open")
        for number, order in enumerate(orders):
            line.send((number, None))
            line.send((number, [carry_out(store, order)]))
