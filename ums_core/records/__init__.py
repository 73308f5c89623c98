"""The vocabulary: what is remembered, what is asked, what comes back. Pure, no third-party import."""

from ums_core.records.event import Event
from ums_core.records.filter import Filter
from ums_core.records.memory import Draft, Memory, Namespace, Passage, Patch
from ums_core.records.query import Health, Hit, Hits, Page, Query
from ums_core.records.receipt import Receipt

__all__ = [
    "Draft",
    "Event",
    "Filter",
    "Health",
    "Hit",
    "Hits",
    "Memory",
    "Namespace",
    "Page",
    "Passage",
    "Patch",
    "Query",
    "Receipt",
]
