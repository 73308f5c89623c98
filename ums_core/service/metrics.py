"""What the operator may watch: counters and timings with a fixed set of labels, none of which comes from a request."""

import os
from collections.abc import Sequence
from functools import cache
from typing import Protocol

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from ums_core.records import Health
from ums_core.records.maintenance import Maintenance

__all__ = ["LABELS", "MULTIPROCESS", "Metrics", "Unwatched", "Watch"]

# All labels there are. Values are route templates, verbs, HTTP methods and statuses, error codes, and the steps and
# outcomes of maintenance.
LABELS = frozenset({"route", "method", "status", "verb", "code", "outcome", "step"})
# What fewer than so many share might point at somebody.
_FEWEST = 10
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


class Watch(Protocol):
    """What the service tells whoever watches."""

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        ...

    def verb(self, name: str, seconds: float) -> None:
        """A verb was carried out."""
        ...

    def embedded(self, texts: int, seconds: float) -> None:
        """Texts were embedded."""
        ...

    def indexed(self, rows: int, seconds: float) -> None:
        """An index took rows up."""
        ...

    def error(self, code: str) -> None:
        """An error was answered."""
        ...

    def fallback(self) -> None:
        """The shared rate storage did not answer."""
        ...

    def streams(self, change: int) -> None:
        """A stream was opened, 1, or closed, -1."""
        ...

    def maintenance(self, outcome: str, seconds: float) -> None:
        """The service maintained a store by itself, or tried to."""
        ...

    def maintained(self, done: Maintenance) -> None:
        """What that did."""
        ...

    def exposition(self, tenants: int, stores: Sequence[Health]) -> tuple[bytes, str] | None:
        """The text that Prometheus reads, and its type; None where nothing is counted."""
        ...


class Unwatched:
    """Counts nothing."""

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count nothing."""

    def verb(self, name: str, seconds: float) -> None:
        """Count nothing."""

    def embedded(self, texts: int, seconds: float) -> None:
        """Count nothing."""

    def indexed(self, rows: int, seconds: float) -> None:
        """Count nothing."""

    def error(self, code: str) -> None:
        """Count nothing."""

    def fallback(self) -> None:
        """Count nothing."""

    def streams(self, change: int) -> None:
        """Count nothing."""

    def maintenance(self, outcome: str, seconds: float) -> None:
        """Count nothing."""

    def maintained(self, done: Maintenance) -> None:
        """Count nothing."""

    def exposition(self, tenants: int, stores: Sequence[Health]) -> None:
        """Nothing."""


class Metrics:
    """Prometheus metrics; with ``PROMETHEUS_MULTIPROC_DIR`` set, those of all workers together."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        # When a counter was made says nothing that its first sample does not.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # has no annotations
        requests = Counter("ums_requests", "Requests answered.", ("route", "method", "status"), registry=registry)
        request_seconds = Histogram(
            "ums_request_duration_seconds",
            "Time from a request's first byte to its answer's last.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        verb_seconds = Histogram(
            "ums_verb_duration_seconds",
            "Time in the store, by verb: searches, writes, deletions.",
            ("verb",),
            buckets=_SECONDS,
            registry=registry,
        )
        # Of the sets of labels there are few, and to look one up costs more than to count.
        self._requests_of = cache(requests.labels)
        self._request_seconds_of, self._verb_seconds_of = cache(request_seconds.labels), cache(verb_seconds.labels)
        self._embed_seconds = Histogram(
            "ums_embed_duration_seconds", "Time to embed texts.", buckets=_SECONDS, registry=registry
        )
        self._embedded = Counter("ums_embedded_texts", "Texts embedded.", registry=registry)
        self._index_seconds = Histogram(
            "ums_index_duration_seconds",
            "Time of an index to take up what was committed.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._indexed = Counter("ums_indexed_rows", "Vectors that came to an index or went from it.", registry=registry)
        self._errors = Counter("ums_errors", "Errors answered, by their code.", ("code",), registry=registry)
        self._fallbacks = Counter(
            "ums_rate_storage_failures", "Times that the shared rate storage did not answer.", registry=registry
        )
        self._streams = Gauge("ums_open_streams", "Streams open now.", multiprocess_mode="livesum", registry=registry)
        self._maintenance_seconds, self._maintained = _of_maintenance(registry)
        self._tenants = Gauge(
            "ums_tenants", "Tenants with a token; 0 below 10.", multiprocess_mode="mostrecent", registry=registry
        )
        self._memories = Gauge(
            "ums_memories",
            "Memories in the open stores; 0 below 10.",
            multiprocess_mode="mostrecent",
            registry=registry,
        )
        self._lag = Gauge(
            "ums_index_lag_changes",
            "Committed changes that the slowest index has still to take up.",
            multiprocess_mode="max",
            registry=registry,
        )
        self._recovering = Gauge(
            "ums_recovering_stores",
            "Open stores whose index is being rebuilt.",
            multiprocess_mode="max",
            registry=registry,
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests_of(route, method, status).inc()
        self._request_seconds_of(route).observe(seconds)

    def verb(self, name: str, seconds: float) -> None:
        """Time a verb."""
        self._verb_seconds_of(name).observe(seconds)

    def embedded(self, texts: int, seconds: float) -> None:
        """Time an embedding."""
        self._embedded.inc(texts)
        self._embed_seconds.observe(seconds)

    def indexed(self, rows: int, seconds: float) -> None:
        """Time an index."""
        self._indexed.inc(rows)
        self._index_seconds.observe(seconds)

    def error(self, code: str) -> None:
        """Count an error."""
        self._errors.labels(code).inc()

    def fallback(self) -> None:
        """Count a failure of the shared rate storage."""
        self._fallbacks.inc()

    def streams(self, change: int) -> None:
        """Count streams."""
        self._streams.inc(change)

    def maintenance(self, outcome: str, seconds: float) -> None:
        """Time a run."""
        self._maintenance_seconds.labels(outcome).observe(seconds)

    def maintained(self, done: Maintenance) -> None:
        """Count memories."""
        merged = 0 if done.consolidation is None else done.consolidation.merged
        counts = {
            "sweep": done.expired,
            "consolidate": merged,
            "forget": sum(forgetting.removed for forgetting in done.forgetting),
            "purge": done.purged,
            "prune": done.pruned,
            "lapse": done.lapsed,
        }
        for step, count in counts.items():
            self._maintained.labels(step).inc(count)

    def exposition(self, tenants: int, stores: Sequence[Health]) -> tuple[bytes, str]:
        """The metrics as text; small numbers of tenants and memories are told as 0."""
        self._tenants.set(_blurred(tenants))
        self._memories.set(_blurred(sum(health.memories for health in stores)))
        lags = [health.seq - seq for health in stores for seq in health.index_seq.values()]
        self._lag.set(max([0, *lags]))
        self._recovering.set(sum(health.status != "ok" for health in stores))
        registry = self.registry
        if os.environ.get(MULTIPROCESS):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # has no annotations
        return generate_latest(registry), CONTENT_TYPE_LATEST


def _of_maintenance(registry: CollectorRegistry) -> tuple[Histogram, Counter]:
    seconds = Histogram(
        "ums_maintenance_duration_seconds",
        "Time of a run of maintenance that the service started, by its outcome.",
        ("outcome",),
        buckets=_SECONDS,
        registry=registry,
    )
    memories = Counter(
        "ums_maintained_memories",
        "Memories that such runs expired, merged, forgot and purged, changes that they pruned, answers that lapsed.",
        ("step",),
        registry=registry,
    )
    return seconds, memories


def _blurred(count: int) -> int:
    return count if count >= _FEWEST else 0
