"""One thread that lives only while there is something to do."""

import logging
import threading
from collections.abc import Callable

__all__ = ["Background"]

_log = logging.getLogger(__name__)
_PAUSE = 256


class Background:
    """Does what is due, one job after another, on a daemon thread that is started when needed and then ends.

    A job that fails is logged and left; it is tried again after some more changes, so that a full disk or memory does
    not cost every write its price.

    Args:
        changed: guards the state that ``due`` looks at; notified when the thread ends.
        due: the next job or None; called with ``changed`` held, and quick.
    """

    def __init__(self, changed: threading.Condition, due: Callable[[], Callable[[], object] | None]) -> None:
        self._changed = changed
        self._due = due
        self._thread: threading.Thread | None = None
        self._pause = 0

    def wake(self) -> None:
        """Start the thread if something is due; called with ``changed`` held."""
        if self._pause:
            self._pause -= 1
        elif self._thread is None and self._due() is not None:
            self._thread = threading.Thread(target=self._run, name="ums-index", daemon=True)
            self._thread.start()

    def settle(self) -> None:
        """Return when nothing is due, or a job failed that was tried now; called with ``changed`` held."""
        self._wait()
        self._pause = 0
        self.wake()
        self._wait()

    def _wait(self) -> None:
        while self._thread is not None:
            self._changed.wait()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception:  # noqa: BLE001  # the edge of the thread: nobody else is there to hear of it
                _log.exception("the index could not be maintained in the background; searches stay exact")
                self._end(_PAUSE)
                return

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            job = self._due()
            if job is None:
                self._end(0)
            return job

    def _end(self, pause: int) -> None:
        with self._changed:  # held already by _next, which decides and ends as one
            self._thread, self._pause = None, pause
            self._changed.notify_all()
