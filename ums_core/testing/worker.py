"""The handle of a process of ``ums_core.testing.workload``, for the one that starts it and kills it."""

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from ums_core.testing.workload import Churn, Place, main

__all__ = ["Worker", "WorkerError"]

# Forked, where the system can, from a process that has read the program and opened nothing: 20 ms a start, not 800.
_START = (
    multiprocessing.get_context("forkserver")
    if "forkserver" in multiprocessing.get_all_start_methods()
    else multiprocessing.get_context("spawn")
)
_START.set_forkserver_preload([__name__])


class WorkerError(Exception):
    """What another process ran into, by the code of its error."""


class Worker(AbstractContextManager["Worker"]):
    """A process, ended at the latest with the block.

    Args:
        arguments: of the command line.
    """

    def __init__(self, *arguments: object) -> None:
        self._line, theirs = _START.Pipe()
        self.process = _START.Process(target=_work, args=(theirs, [str(argument) for argument in arguments]))
        self.process.start()
        theirs.close()

    @classmethod
    def obeying(cls, place: Place) -> Self:
        """One that has opened the store and waits for orders."""
        worker = cls("obey", place.to_json())
        assert worker.answer() == "ready"
        return worker

    @classmethod
    def churning(cls, place: Place, ledger: Path, plan: Churn) -> Self:
        """One that writes until it is killed."""
        return cls("churn", place.to_json(), ledger, json.dumps(asdict(plan)))

    def ask(self, verb: str, **order: object) -> Any:  # noqa: ANN401  # what the verb answers
        """Give an order and wait for the answer.

        Raises:
            WorkerError: the store raised.
        """
        self.order(verb, **order)
        return self.answer()

    def order(self, verb: str, **order: object) -> None:
        """Give an order."""
        self._line.send(json.dumps({"verb": verb, **order}))

    def answer(self) -> Any:  # noqa: ANN401  # what the verb answers
        """Wait for the answer to the oldest order.

        Raises:
            WorkerError: the store raised, or the process is gone.
        """
        try:
            answer = json.loads(self._line.recv())
        except (EOFError, ConnectionResetError):
            raise WorkerError(f"the process ended with {self._ended()}") from None
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["answer"]

    def kill(self) -> None:
        """End it at once, by SIGKILL."""
        self.process.kill()
        self.process.join()

    def finish(self) -> int | None:
        """Let it close its store, and return its exit status."""
        self._line.close()
        return self._ended()

    def __exit__(self, *_: object) -> None:
        """End the process and close the line to it."""
        self.kill()
        self._line.close()

    def _ended(self) -> int | None:
        self.process.join()
        return self.process.exitcode


def _work(line: Connection, arguments: Sequence[str]) -> None:
    main(arguments, _lines(line), line.send)


def _lines(line: Connection) -> Iterator[str]:
    while True:
        try:
            yield line.recv()
        except EOFError:
            return
