"""Group commit: threads that wait to write share one transaction, and so one fsync."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from ums_core.errors import StorageError
from ums_core.storage.companions import Companions

__all__ = ["GroupWriter"]

T = TypeVar("T")
Tx = TypeVar("Tx")


class _Ticket(Generic[Tx]):
    """One caller's work: done when ``run`` has stored its result or its error; it may be its thread's turn to lead."""

    __slots__ = ("done", "error", "gate", "leads", "result", "work")

    def __init__(self, work: Callable[[Tx], object]) -> None:
        self.work = work
        self.gate = threading.Lock()
        self.gate.acquire()
        self.done = self.leads = False
        self.result: object = None
        self.error: BaseException | None = None


def _interrupted() -> StorageError:
    return StorageError(
        "the thread that committed for several writers was interrupted, so this write may or may not have been made: "
        "repeat it under an idempotency key"
    )


class GroupWriter(Generic[Tx]):
    """Runs works of many threads in shared transactions, without a thread of its own.

    The first thread to come leads: it runs all that wait in one transaction, commits once, and hands the lead to a
    thread that came meanwhile, which gives those that were about a moment to come back (``Companions``). A work that
    fails takes nothing with it: the transaction is rolled back and each work is tried alone.

    Args:
        transact: runs works in one transaction and returns their results, or raises and leaves nothing behind.
    """

    def __init__(self, transact: Callable[[Sequence[Callable[[Tx], object]]], list[object]]) -> None:
        self._transact = transact
        self._mutex = threading.Lock()
        self._waiting: list[_Ticket[Tx]] = []
        self._led = False
        self._companions = Companions()

    def submit(self, work: Callable[[Tx], T]) -> T:
        """Run the work in a transaction and return its result, once that is durable.

        Raises:
            BaseException: what the work or the commit raised; nothing of this work was written.
        """
        ticket: _Ticket[Tx] = _Ticket(work)
        try:
            with self._mutex:
                self._waiting.append(ticket)
                ticket.leads = leads = not self._led
                self._led = True
                self._companions.come(len(self._waiting))
            if not leads:
                # Opened when the work is done, or when it is this thread's turn to lead.
                ticket.gate.acquire()
            if not ticket.done:
                self._lead(ticket)
        except BaseException:
            self._leave(ticket)
            raise
        if ticket.error is not None:
            raise ticket.error
        return ticket.result  # type: ignore[return-value]  # what the work returned

    def _lead(self, own: _Ticket[Tx]) -> None:
        self._companions.wait(self._waiting, self._mutex)
        with self._mutex:
            batch, self._waiting = self._waiting, []
        began = time.perf_counter()
        try:
            self._run(batch)
        except BaseException:
            # An interrupt of this thread, which is raised here; the others are told what it means for them.
            for ticket in batch:
                if not ticket.done:
                    ticket.error, ticket.done = _interrupted(), True
            raise
        finally:
            with self._mutex:
                self._companions.committed(len(batch) + len(self._waiting), time.perf_counter() - began)
                self._hand_on(own)
            for ticket in batch:
                if ticket is not own:
                    ticket.gate.release()

    def _leave(self, ticket: _Ticket[Tx]) -> None:
        """Take back the work of a thread that waits no longer, and its turn to lead; what another one runs goes on."""
        with self._mutex:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            if ticket.leads:
                self._hand_on(ticket)

    def _hand_on(self, former: _Ticket[Tx]) -> None:
        """Let the first that waits lead, under the mutex."""
        former.leads = False
        heir = self._waiting[0] if self._waiting else None
        self._led = heir is not None
        if heir is not None:
            heir.leads = True
            heir.gate.release()

    def _run(self, batch: list[_Ticket[Tx]]) -> None:
        try:
            results = self._transact([ticket.work for ticket in batch])
        except Exception as error:  # noqa: BLE001  # handed to the thread whose work it was, below
            if len(batch) > 1:
                for ticket in batch:
                    self._run([ticket])
                return
            batch[0].error = error
            results = [None]
        for ticket, result in zip(batch, results, strict=True):
            ticket.result = result
            ticket.done = True
