"""What the LangChain adapter costs on top of the core, and beside other stores.

``python docs/demo/langchain_overhead.py``. Every contestant holds the same texts with the same vectors, and embeds with
the same embedder. Calls are interleaved, so that what else the machine does meets all of them alike; a figure is the
median of its calls.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from langchain_chroma import Chroma
from langchain_ums import UMSRetriever, UMSStore, UMSVectorStore
from langchain_ums.testing import DIMS, Words
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore
from rich.console import Console
from rich.table import Table

from ums_core import Draft, LocalStore, Query, UnifiedSettings, open_store

EMBED = Words()
PLACE = ("bench",)
K = 10
TOPICS = ("tea", "cars", "rivers", "chess", "music", "bread", "stars", "trains", "maps", "birds")

Calls = dict[str, Callable[[int], object]]


def text_of(number: int) -> str:
    """A text that shares words with others."""
    first, second = TOPICS[number % 10], TOPICS[number // 10 % 10]
    return f"note {number} about {first} and {second} of group {number % 97}"


def opened(place: Path, name: str, embedder: str = "none") -> LocalStore:
    """A new database; by default for vectors that the caller brings."""
    return open_store(
        UnifiedSettings(
            database={"url": f"sqlite:///{place}/{name}.db"}, model={"embedder": embedder, "vector_dim": DIMS}
        )
    )


def contestants(place: Path, count: int) -> dict[str, Calls]:
    """Filled stores, and their calls by name."""
    texts = [text_of(number) for number in range(count)]
    vectors = EMBED.embed_documents(texts)
    core, under, over = (opened(place, name) for name in ("core", "store", "vectors"))
    core.add([Draft(text=text, namespace=PLACE, embedding=vector) for text, vector in zip(texts, vectors, strict=True)])
    items = UMSStore(under, index={"embed": EMBED, "fields": ["text"]})
    items.batch([PutOp(PLACE, str(number), {"text": text}) for number, text in enumerate(texts)])
    documents = UMSVectorStore(over, embedding=EMBED, namespace=PLACE)
    documents.add_texts(texts)
    memory = InMemoryStore(index={"dims": DIMS, "embed": EMBED, "fields": ["text"]})
    memory.batch([PutOp(PLACE, str(number), {"text": text}) for number, text in enumerate(texts)])
    chroma = Chroma(
        "bench", EMBED, persist_directory=str(place / "chroma"), collection_metadata={"hnsw:space": "cosine"}
    )
    for start in range(0, count, 1000):
        chroma.add_texts(texts[start : start + 1000])
    # A retriever leaves embedding to the store.
    own = opened(place, "own", "static")
    own.add([Draft(text=text, namespace=PLACE) for text in texts])
    retriever = UMSRetriever(store=own, namespace=PLACE, k=K)

    for store in (core, under, over, own):
        store.settle()

    def core_put(number: int) -> object:
        text = text_of(count + number)
        return core.add([Draft(text=text, namespace=PLACE, embedding=EMBED.embed_query(text))])

    def core_search(number: int) -> object:
        text = text_of(number)
        return core.search(Query(text=text, vector=EMBED.embed_query(text), namespace=PLACE, k=K, mode="vector"))

    return {
        "core": {
            "put": core_put,
            "search": core_search,
            "retrieve": lambda n: own.search(Query(text=text_of(n), namespace=PLACE, k=K)),
        },
        "UMSStore": {
            "put": lambda n: items.put(PLACE, f"new {n}", {"text": text_of(count + n)}),
            "search": lambda n: items.search(PLACE, query=text_of(n), limit=K, refresh_ttl=False),
        },
        "UMSVectorStore": {
            "put": lambda n: documents.add_texts([text_of(count + n)]),
            "search": lambda n: documents.similarity_search(text_of(n), k=K),
        },
        "UMSRetriever": {"retrieve": lambda n: retriever.invoke(text_of(n))},
        "InMemoryStore": {
            "put": lambda n: memory.put(PLACE, f"new {n}", {"text": text_of(count + n)}),
            "search": lambda n: memory.search(PLACE, query=text_of(n), limit=K),
        },
        "langchain-chroma": {
            "put": lambda n: chroma.add_texts([text_of(count + n)]),
            "search": lambda n: chroma.similarity_search(text_of(n), k=K),
        },
    }


def measured(held: dict[str, Calls], rounds: int) -> dict[tuple[str, str], float]:
    """Median seconds of each call of each contestant."""
    taken: dict[tuple[str, str], list[float]] = {}
    for call in ("search", "retrieve", "put"):
        for number in range(rounds + 3):
            for name, calls in held.items():
                if call in calls:
                    start = time.perf_counter()
                    calls[call](number * 37)
                    taken.setdefault((name, call), []).append(time.perf_counter() - start)
    # The first calls fill caches.
    return {key: statistics.median(times[3:]) for key, times in taken.items()}


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=30)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        held = contestants(Path(directory), chosen.memories)
        medians = measured(held, chosen.rounds)
    table = Table("", "put, ms", "x core", "search, ms", "x core", "retrieve, ms", "x core")
    for name in held:
        cells = []
        for call in ("put", "search", "retrieve"):
            median = medians.get((name, call))
            cells += ["", ""] if median is None else [f"{median * 1e3:.2f}", f"{median / medians['core', call]:.2f}"]
        table.add_row(name, *cells)
    Console(width=100).print(f"{chosen.memories} memories, {chosen.rounds} rounds, k={K}", table)


if __name__ == "__main__":
    main(sys.argv[1:])
