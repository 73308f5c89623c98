"""Spans, where OpenTelemetry's API is installed; the operator's own exporter decides where they go."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

__all__ = ["Tracer"]


class Tracer:
    """Makes a span of each request, with the route and the status and nothing of the caller.

    Args:
        enabled: False makes none, whatever is installed.
        provider: where spans go; None is the one that the process has set up.
    """

    def __init__(self, *, enabled: bool, provider: "TracerProvider | None" = None) -> None:
        self._tracer = None
        self._unheard: Callable[[], bool] = lambda: True
        if enabled:
            try:
                from opentelemetry import trace  # noqa: PLC0415  # optional
            except ModuleNotFoundError:
                return
            self._tracer = trace.get_tracer("ums_core.service", tracer_provider=provider)
            nobody = trace.ProxyTracerProvider
            self._unheard = lambda: provider is None and isinstance(trace.get_tracer_provider(), nobody)

    @property
    def heard(self) -> bool:
        """Whether a span would go anywhere: not before the process has set up a provider."""
        return not self._unheard()

    @contextmanager
    def span(self, name: str, found: dict[str, str | int]) -> Iterator[None]:
        """A span over a ``with`` block; ``found`` holds its attributes at the end."""
        if self._tracer is None:
            yield
            return
        # An exception's message may hold what was sent, so none is recorded.
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
            try:
                yield
            finally:
                span.set_attributes(dict(found))
