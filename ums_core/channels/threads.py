"""Threads for work that says by itself what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Lock, Thread
from weakref import finalize, ref

__all__ = ["Threads"]

Job = Callable[[], object]


@dataclass(slots=True, eq=False)
class _Shared:
    """What the threads and their owner share; they do not know the owner, so that it can go.

    Attributes:
        due: jobs in order; None after the last.
        free: threads that wait, less the jobs that wait for one.
    """

    due: "SimpleQueue[Job | None]" = field(default_factory=SimpleQueue)
    lock: Lock = field(default_factory=Lock)
    free: int = 0
    started: list[Thread] = field(default_factory=list)
    ended: bool = False

    def end(self) -> None:
        with self.lock:
            self.ended = True
            self.due.put(None)


class Threads:
    """At most so many threads, started when they are needed. Thread-safe.

    ``ThreadPoolExecutor`` makes a future of each job, with a condition that nobody here waits for, and wakes later. As
    there, what was taken is carried out before the interpreter ends.

    Args:
        most: threads.
        name: what theirs begin with.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._shared = _Shared()
        self._last = finalize(self, _end, self._shared, ref(self))

    @property
    def started(self) -> tuple[Thread, ...]:
        """The threads that were started so far."""
        return tuple(self._shared.started)

    def take(self, job: Job) -> bool:
        """Have a thread carry a job out, which raises nothing; False after ``end()``, and then it is not."""
        shared = self._shared
        with shared.lock:
            if shared.ended:
                return False
            if shared.free <= 0 and len(shared.started) < self._most:
                name = f"{self._name}_{len(shared.started)}"
                # As a daemon it holds nobody up whom it is not told to; the end of the interpreter tells it.
                thread = Thread(target=_work, args=(shared,), name=name, daemon=True)
                thread.start()
                shared.started.append(thread)
            else:
                shared.free -= 1
            shared.due.put(job)
        return True

    def end(self) -> None:
        """Let the threads go once what was taken is done; it does not wait for that."""
        self._shared.end()

    def disown(self) -> None:
        """Leave them to the process that this one was forked from."""
        self._last.detach()


def _work(shared: _Shared) -> None:
    while True:
        job = shared.due.get()
        if job is None:
            # For the next one.
            shared.due.put(None)
            return
        job()
        # What it holds is not to stay until the next one comes.
        del job
        with shared.lock:
            shared.free += 1


def _end(shared: _Shared, owner: "ref[Threads]") -> None:
    """Let the threads go; where the owner is still there, the interpreter ends, and waits for them."""
    shared.end()
    if owner() is not None:
        for thread in shared.started:
            thread.join()
