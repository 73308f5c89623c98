"""``mem-bench COMMAND`` or ``python -m ums_core.bench COMMAND``: each command is a module of this package."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from ums_core.errors import UMSError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "beir": "retrieval quality on a data set in BEIR's folder format",
    "consolidation": "what is still found after memories that are alike were merged, on long conversations",
    "crypto": "what encryption costs: a sealed store beside a plain one, in one run",
    "dialogue": "what a store that forgets and summarises still knows of a conversation over months",
    "kinds": "retrieval quality on made-up chats with an assistant and on notes, signal by signal",
    "locomo": "retrieval quality on long conversations, beside BM25 and chance; no LLM involved",
    "longmemeval": "retrieval quality on the official file of LongMemEval, abstentions apart",
    "search": "what a search costs by each way to rank, beside FAISS, Chroma and LangGraph's store, in one run",
    "service": "what HTTP costs beside the core: searches and writes of both, in one run",
    "store": "what the store costs beside the raw libraries and beside Chroma, in one run",
    "upkeep": "consolidating and forgetting many memories within bounded memory, and searches meanwhile",
    "tune": "weights of the ranking signals, fitted to your own labelled conversations",
    "vectors": "what vectors of fewer bytes cost in recall and spare in the file",
}


class Command(Protocol):
    """What a module named in ``COMMANDS`` offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options of the command."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do it and return the exit status."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of one command: 0 when it ran, 2 when its input cannot be used."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="mem-bench" if Path(sys.argv[0]).stem == "mem-bench" else "python -m ums_core.bench",
        description="Benchmarks of UMS, offline. 'COMMAND --help' shows the options and the output of one.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if given[:1] == [name]:
            module = cast("Command", importlib.import_module(f"ums_core.bench.{name}"))
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    args = parser.parse_args(given)
    try:
        return int(args.run(args))
    except UMSError as e:
        message = " ".join(str(e).split())
        print(f"{parser.prog}: error: {message}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
