"""The handle of a process of ``ums_core.testing.workload``, for the one that starts it and kills it."""

import json
import subprocess
import sys
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

from ums_core.testing.workload import Churn, Place

__all__ = ["Worker", "WorkerError"]

_PROGRAM = """if True:
    import sys
    from ums_core.testing.workload import main
    main(sys.argv[1:], sys.stdin, lambda line: print(line, flush=True))
"""


class WorkerError(Exception):
    """What another process ran into, by the code of its error."""


class Worker(AbstractContextManager["Worker"]):
    """A process, ended at the latest with the block.

    Args:
        arguments: of the command line.
    """

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(  # noqa: S603  # this interpreter, and a module of ours
            [sys.executable, "-c", _PROGRAM, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

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
        self._stream(self.process.stdin).write(json.dumps({"verb": verb, **order}) + "\n")
        self._stream(self.process.stdin).flush()

    def answer(self) -> Any:  # noqa: ANN401  # what the verb answers
        """Wait for the answer to the oldest order.

        Raises:
            WorkerError: the store raised, or the process is gone.
        """
        line = self._stream(self.process.stdout).readline()
        if not line:
            raise WorkerError(f"the process ended with {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["answer"]

    def kill(self) -> None:
        """End it at once, by SIGKILL."""
        self.process.kill()
        self.process.wait()

    def finish(self) -> int:
        """Let it close its store, and return its exit status."""
        self._stream(self.process.stdin).close()
        return self.process.wait()

    def __exit__(self, *_: object) -> None:
        """End the process and close the pipes."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            self._stream(stream).close()

    @staticmethod
    def _stream(stream: IO[str] | None) -> IO[str]:
        assert stream is not None
        return stream
