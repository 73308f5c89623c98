"""``python -m ums_core.bench vectors``: what fewer bytes a component cost in recall, and spare in the file."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from ums_core import Query, UnifiedSettings, open_store
from ums_core.bench.report import print_table
from ums_core.bench.store_data import EVERYTHING, Corpus, make_corpus
from ums_core.ports.ledger import VectorType

__all__ = ["Row", "add_arguments", "measured", "run"]

K = 10
_DIM = 384
_BATCH = 10_000
_MIB = 2**20
_EPILOG = """\
Vectors are clustered, with 384 components; every search is exact, so that nothing is lost but by the type.
recall@10: share of the ten nearest by the exact vectors that are among the ten found
apart: greatest difference of the cosine of a hit from that of the exact vectors
file: size of the database with texts, keywords and all, folded"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One type of vectors.

    Attributes:
        recall: in [0, 1].
        apart: the greatest difference of a cosine.
    """

    kind: VectorType
    recall: float
    apart: float
    file_mib: float


def measured(n: int, queries: int, say: Callable[[str], object] = lambda _: None) -> Iterator[Row]:
    """A row for each type, over the same ``n`` memories."""
    corpus = make_corpus(n, extra=0, queries=queries, dim=_DIM, seed=0)
    for kind in get_args(VectorType):
        say(f"{kind}: ingest and search")
        with tempfile.TemporaryDirectory(prefix="ums-bench-") as folder:
            yield _measure(corpus, kind, Path(folder) / "memory.db")


def _measure(corpus: Corpus, kind: VectorType, path: Path) -> Row:
    settings = UnifiedSettings(
        database={"url": f"sqlite:///{path}", "backend": "exact", "vector_type": kind},
        model={"embedder": "none", "vector_dim": _DIM},
    )
    truth, recall, apart = corpus.truth(EVERYTHING, K), 0.0, 0.0
    with open_store(settings) as store:
        for start in range(0, corpus.n, _BATCH):
            store.add(corpus.drafts[start : start + _BATCH])
        for query, best in zip(corpus.queries, truth, strict=True):
            hits = store.search(Query(vector=query, mode="vector", k=K))
            exact = [float(corpus.vectors[corpus.row_of[hit.memory.text]] @ query) for hit in hits]
            # Equal cosines may stand in for each other.
            recall += sum(cosine >= best[-1] - 1e-6 for cosine in exact) / len(best)
            apart = max([apart, *(abs(hit.score - cosine) for hit, cosine in zip(hits, exact, strict=True))])
    return Row(kind=kind, recall=recall / len(truth), apart=apart, file_mib=path.stat().st_size / _MIB)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the size and the output."""
    parser.epilog = _EPILOG
    parser.add_argument("--memories", type=int, default=20_000, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=500, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help='print {"memories": N, "rows": [...]}')


def run(args: argparse.Namespace) -> int:
    """Measure, and print the rows on stdout."""
    rows = list(measured(args.memories, args.queries, lambda what: print(what, file=sys.stderr)))
    if args.json:
        print(json.dumps({"memories": args.memories, "rows": [asdict(row) for row in rows]}, indent=2))
        return 0
    lines = [(row.kind, f"{row.recall:.4f}", f"{row.apart:.5f}", f"{row.file_mib:,.1f}") for row in rows]
    print_table(f"{args.memories:,} memories", ("", "recall@10", "apart", "file, MiB"), lines)
    return 0
