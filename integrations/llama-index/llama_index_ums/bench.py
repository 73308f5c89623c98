"""What the adapter costs above the core, beside other vector stores: ``python -m llama_index_ums.bench``.

Each store holds ``--nodes`` nodes; then ``--batch`` more are added and queries asked, in rounds that take all stores in
turn, so that a busy machine is busy for all. What is printed is the median of the rounds. The vectors are random: the
times do not depend on them, and nothing is said about quality.

The core's own call, to which all is compared, stores what the adapter stores: text, metadata, vector, and what the node
has besides, ready as JSON. Without the last nothing could give the node back; the next line is the call without it.

SimpleVectorStore keeps vectors and metadata in memory, the faiss integration vectors alone; chroma keeps all of a node
in a file, and so does UMS, durably when ``add`` returns.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import SimpleVectorStore, VectorStoreQuery
from llama_index.core.vector_stores.types import BasePydanticVectorStore
from llama_index.vector_stores.ums import UMSVectorStore

from llama_index_ums.nodes import draft_of
from ums_core import Draft, LocalStore, Query, UnifiedSettings, open_store

__all__ = ["main"]

DIM, K, QUERIES = 384, 10, 10
_PLACE = ("bench", "nodes")


@dataclass
class Contestant:
    """A store with its times, in seconds.

    Attributes:
        name: as it is printed.
        add: stores nodes.
        ask: answers a vector.
        remove: deletes nodes, untimed, or leaves them where the store cannot.
        settle: waits until no work is left in the background.
        ready: what ``add`` takes for nodes, untimed.
    """

    name: str
    add: Callable[[Any], object]
    ask: Callable[[list[float]], object]
    remove: Callable[[list[str]], object]
    settle: Callable[[], object] = lambda: None
    ready: Callable[[list[TextNode]], object] = lambda nodes: nodes
    adds: list[float] = field(default_factory=list)
    asks: list[float] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the contest and print a table."""
    parser = argparse.ArgumentParser(prog="python -m llama_index_ums.bench", description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000, help="what each store holds (default 10000)")
    parser.add_argument("--batch", type=int, default=1000, help="nodes that are added at once (default 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts (default 5)")
    parser.add_argument("--ums-only", action="store_true", help="leave the others out, for a closer look at the ratio")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as directory, _contestants(Path(directory)) as everybody:
        contestants = everybody[:3] if args.ums_only else everybody
        _fill(contestants, args.nodes)
        for number in range(args.rounds):
            _round(contestants, number, args.batch)
    _print(contestants, args)


def _nodes(prefix: str, count: int, seed: int) -> list[TextNode]:
    draw = np.random.default_rng(seed)
    vectors = draw.standard_normal((count, DIM)).astype(np.float32)
    return [
        TextNode(
            id_=f"{prefix}-{n}",
            text=f"Node {n} of {prefix} tells of the word{n % 997} and of the word{n % 89}, as in any document.",
            metadata={"file": f"doc{n // 20}.md", "page": n % 20},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc{n // 20}")},
            embedding=vector.tolist(),
        )
        for n, vector in enumerate(vectors)
    ]


def _fill(contestants: Sequence[Contestant], nodes: int) -> None:
    for start in range(0, nodes, 1000):
        part = _nodes(f"base{start}", min(1000, nodes - start), start)
        for each in contestants:
            each.add(each.ready(part))
            each.settle()


def _round(contestants: Sequence[Contestant], number: int, batch: int) -> None:
    nodes = _nodes(f"round{number}", batch, 10**6 + number)
    asked = np.random.default_rng(number).standard_normal((QUERIES, DIM)).astype(np.float32).tolist()
    # Each is the first once: what a call leaves behind meets another every time.
    first = number % len(contestants)
    for each in (*contestants[first:], *contestants[:first]):
        ready = each.ready(nodes)
        start = time.perf_counter()
        each.add(ready)
        each.adds.append(time.perf_counter() - start)
        # What a store does in the background would cost the next one time.
        each.settle()
        each.remove([node.node_id for node in nodes])
        each.settle()
        each.ask(asked[0])
    for vector in asked:
        for each in contestants:
            start = time.perf_counter()
            each.ask(vector)
            each.asks.append(time.perf_counter() - start)


@contextmanager
def _contestants(directory: Path) -> Iterator[list[Contestant]]:
    import chromadb  # noqa: PLC0415  # only the benchmark needs it
    import faiss  # noqa: PLC0415  # as above
    from llama_index.vector_stores.chroma import ChromaVectorStore  # noqa: PLC0415  # as above
    from llama_index.vector_stores.faiss import FaissVectorStore  # noqa: PLC0415  # as above

    chroma = chromadb.PersistentClient(str(directory / "chroma")).create_collection("bench")
    with _opened() as core, _opened() as bare, _opened() as adapted:
        vectors = UMSVectorStore(adapted, ("bench",))
        yield [
            _core("UMS, the core's own call", core, _whole),
            _core("- text, metadata, vector", bare, _bare),
            replace(_of("UMSVectorStore", vectors, vectors.delete_nodes), settle=adapted.settle),
            _of("SimpleVectorStore", simple := SimpleVectorStore(), simple.delete_nodes),
            _of("faiss integration (flat)", FaissVectorStore(faiss.IndexFlatIP(DIM)), lambda _: None),
            _of("chroma integration", ChromaVectorStore(chroma_collection=chroma), chroma.delete),
        ]


def _core(name: str, store: LocalStore, ready: Callable[[list[TextNode]], object]) -> Contestant:
    return Contestant(
        name,
        lambda fields: store.add([Draft(**each) for each in fields]),
        lambda vector: store.search(Query(vector=vector, namespace=_PLACE, k=K, mode="vector")),
        lambda ids: store.delete(ids, namespace=_PLACE),
        store.settle,
        ready,
    )


def _opened() -> LocalStore:
    backend = {"backend": "faiss"}
    return open_store(UnifiedSettings.for_testing(database=backend, model={"embedder": "none", "vector_dim": DIM}))


def _of(name: str, store: BasePydanticVectorStore, remove: Callable[[list[str]], object]) -> Contestant:
    def ask(vector: list[float]) -> object:
        return store.query(VectorStoreQuery(query_embedding=vector, similarity_top_k=K))

    return Contestant(name, store.add, ask, remove)


def _bare(nodes: list[TextNode]) -> list[dict[str, object]]:
    return [
        {"id": n.node_id, "text": n.text, "namespace": _PLACE, "metadata": n.metadata, "embedding": n.embedding}
        for n in nodes
    ]


def _whole(nodes: list[TextNode]) -> list[dict[str, object]]:
    drafts = (draft_of(node, _PLACE, embedded=True) for node in nodes)
    return [{**fields, "metadata": draft.metadata} for fields, draft in zip(_bare(nodes), drafts, strict=True)]


def _print(contestants: Sequence[Contestant], args: argparse.Namespace) -> None:
    base_add, base_ask = (statistics.median(times) for times in (contestants[0].adds, contestants[0].asks))
    print(f"{args.nodes} nodes of {DIM} components; median of {args.rounds} rounds, {QUERIES} queries each")
    print(f"{'':26} {f'add {args.batch}':>12} {'ratio':>6} {f'query, k={K}':>14} {'ratio':>6}")
    for each in contestants:
        add, ask = statistics.median(each.adds), statistics.median(each.asks)
        times = f"{1e3 * add:9.1f} ms {add / base_add:6.2f} {1e3 * ask:11.3f} ms {ask / base_ask:6.2f}"
        print(f"{each.name:26} {times}")


if __name__ == "__main__":
    main()
