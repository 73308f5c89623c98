"""``python -m ums_core.bench store``: what the store costs beside the raw libraries and beside Chroma, in one run."""

import argparse
import json
import os
import platform
import sqlite3
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ums_core.bench.store_rows import Plan, Row, growth
from ums_core.errors import MissingExtra
from ums_core.storage.connect import load_driver

__all__ = ["MEASUREMENTS", "add_arguments", "machine", "positive", "run"]

MEASUREMENTS = ("ingest", "search", "filter", "open", "memory", "add", "busy")
_PACKAGES = ("ums-core", "numpy", "faiss-cpu", "sqlcipher3", "chromadb")
_MIN_SIZE = 100
_EPILOG = """\
data: clustered unit vectors given by the caller, texts of about 200 characters of Zipf-distributed words, one namespace
  and one metadata key a row; the same for one --seed
reference: a hand-written script of raw FAISS and sqlite3 that does only the step at hand, just as durably
  (write-ahead log, synchronous=FULL): ids, namespace, text, metadata, vector, and the keyword terms in an FTS5 table;
  its HNSW graph has the parameters of ours. Where ours compares with every vector, it is the faster of IndexFlatIP
  and that graph. In a scope it asks an IndexFlatIP of that scope's vectors alone.
Chroma: PersistentClient, cosine, embeddings given, the largest batches it takes, up to --chroma-max rows

measurements (--only):
  ingest  from the first row to nothing left in the background; reference: inserts, plus an HNSW graph with all cores
          where ours has one; Chroma: adds and a first search
  search  the 10 nearest with their texts, one thread: the same --queries in every round, as an agent asks much the same
          again, and new ones, of which few are for rows that were read before
  filter  at the largest size: the same in a namespace or under a metadata filter that selects 1 % or 10 %,
          the rows spread at random or lying together; 'first' is the first search of a scope, which reads its row ids
  open    open_store and a first answer, page cache warm; reference: faiss.read_index of the vectors alone
  memory  growth of the resident memory in a fresh process; reference: bytes of vectors and graph as FAISS writes them
  add     one durable row; reference: its commit, without an index
  busy    searches while another thread adds without a pause

ours / reference and ours / own: lower is better; Chroma / ours: higher is better. Contestants take turns; p50 and p95
are medians over rounds. Every timed answer is checked against the data: a wrong one ends the run without a number."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --sizes, --only, --chroma-max, --json, --dim, --seed, --rounds and --queries."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--sizes",
        type=_sizes,
        default=(1_000, 10_000, 100_000),
        metavar="N,...",
        help="rows in the store (default: 1000,10000,100000)",
    )
    parser.add_argument(
        "--only", type=_names, default=frozenset(MEASUREMENTS), metavar="NAME,...", help="some measurements (see below)"
    )
    parser.add_argument(
        "--chroma-max",
        type=int,
        default=10_000,
        metavar="N",
        help="largest size at which Chroma takes part; 0 for never (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help='print {"machine": {...}, "rows": [...], "growth": [...]}')
    parser.add_argument(
        "--dim", type=positive, default=384, metavar="D", help="components of a vector (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of the data and queries (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=positive, default=7, metavar="R", help="turns of each contestant (default: %(default)s)"
    )
    parser.add_argument(
        "--queries", type=positive, default=100, metavar="Q", help="different ones (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, and print the rows on stdout.

    Raises:
        MissingExtra: a package is not installed.
        AssertionError: an answer was wrong.
    """
    try:
        from ums_core.bench import store_measure, store_table  # noqa: PLC0415  # they need the extra "bench"
    except ModuleNotFoundError as e:
        raise MissingExtra(f"{e.name} is not installed; pip install 'ums-core[bench]'") from e
    plan = Plan(
        sizes=args.sizes,
        only=args.only,
        chroma_max=args.chroma_max,
        dim=args.dim,
        seed=args.seed,
        rounds=args.rounds,
        queries=args.queries,
    )
    rows: list[Row] = []
    with store_table.progress(sys.stderr, store_measure.step_count(plan)) as (say, step):
        for found in store_measure.measured(plan, say):
            rows += found
            step()
    described = machine()
    if args.json:
        report = {
            "machine": described,
            "rows": [row.as_json() for row in rows],
            "growth": [asdict(line) for line in growth(rows)],
        }
        print(json.dumps(report, indent=2))
    else:
        store_table.print_report(described, rows)
    return 0


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, object]:
    """What the numbers were taken on."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": (os.cpu_count() or 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "date": datetime.now(UTC).date().isoformat(),
        **{package: installed(package) for package in _PACKAGES},
        "sqlite of ours": load_driver().sqlite_version,
        "sqlite of the reference": sqlite3.sqlite_version,
    }


def installed(package: str) -> str | None:
    """The version of a distribution, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(sorted({int(part) for part in text.split(",")}))
    if sizes[0] < _MIN_SIZE:
        raise argparse.ArgumentTypeError(f"each size must be at least {_MIN_SIZE}, got {sizes[0]}")
    return sizes


def _names(text: str) -> frozenset[str]:
    names = frozenset(text.split(","))
    if unknown := sorted(names - set(MEASUREMENTS)):
        raise argparse.ArgumentTypeError(f"no measurement {unknown[0]!r}; there are {', '.join(MEASUREMENTS)}")
    return names


def positive(text: str) -> int:
    """The number that an option names.

    Raises:
        ArgumentTypeError: less than 1.
    """
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number
