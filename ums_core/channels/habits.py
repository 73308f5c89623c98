"""What a local store does without being told each time: the settings behind its verbs, as values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ums_core.ports import Embedder
from ums_core.records import Draft, Namespace
from ums_core.records.dynamics import Dynamics
from ums_core.settings import MaintenanceSettings, UnifiedSettings
from ums_core.storage.table import decode_namespace

__all__ = ["Habits", "habits_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a store behaves.

    Attributes:
        embedders: an embedder by its name in the settings.
        dynamics: how fast memories fade.
        strategy: how memories are summarised.
        summary_max_chars: of a summary, at most.
        summary_timeout_s: seconds for one summary of a caller's strategy.
        undo_days: how long what was forgotten may come back.
        history_days: how long the history tells of a change; 0 is for ever.
        idempotency_days: how long the answer of a write stays under its idempotency key; 0 is for ever.
        maintenance: what is done when the store is maintained.
        ttl_s: how many seconds new memories stay, by namespace prefix.
        refresh: whether reading a memory begins its time anew.
    """

    embedders: Callable[[str], Embedder | None]
    dynamics: Dynamics = field(default_factory=Dynamics)
    strategy: str = "head2tail"
    summary_max_chars: int = 1000
    summary_timeout_s: float = 60.0
    undo_days: float = 30.0
    history_days: float = 0.0
    idempotency_days: float = 0.0
    maintenance: MaintenanceSettings = field(default_factory=MaintenanceSettings)
    ttl_s: Mapping[Namespace, float] = field(default_factory=dict)
    refresh: bool = False

    def lasting(self, drafts: Sequence[Draft]) -> Sequence[Draft]:
        """The drafts, those that name no end with that of their namespace: the longest prefix counts."""
        if not self.ttl_s:
            return drafts
        return [self._lasting(draft) for draft in drafts]

    def _lasting(self, draft: Draft) -> Draft:
        if draft.ttl_s is None and draft.expires_at is None:
            for length in range(len(draft.namespace), -1, -1):
                if draft.namespace[:length] in self.ttl_s:
                    return replace(draft, ttl_s=self.ttl_s[draft.namespace[:length]])
        return draft


def habits_of(settings: UnifiedSettings, embedders: Callable[[str], Embedder | None]) -> Habits:
    """The habits that settings ask for."""
    return Habits(
        embedders=embedders,
        dynamics=settings.dynamics.of(),
        strategy=settings.summary_strategy,
        summary_max_chars=settings.summary_max_chars,
        summary_timeout_s=settings.summary_timeout,
        undo_days=settings.lifetime.undo_days,
        history_days=settings.lifetime.history_days,
        idempotency_days=settings.lifetime.idempotency_days,
        maintenance=settings.maintenance,
        ttl_s={decode_namespace(f"{path}/" if path else ""): s for path, s in settings.lifetime.ttl_s.items()},
        refresh=settings.lifetime.refresh_on_read,
    )
