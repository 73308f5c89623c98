"""Remember a month of conversation, then answer questions about it: core, LangChain, LlamaIndex, and after a restart.

Then a service starts on this machine with a handbook that neighbours share, and both are asked: personal questions make
no connection. The store is sealed; in the end its raw files are searched for one memory, and those of a plain copy.

Run it with ``make demo``. It works in a temporary directory, without a network and without a key.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sealed
import shared
from langchain_ums import UMSRetriever as LangChainRetriever
from llama_index.retrievers.ums import UMSRetriever as LlamaIndexRetriever
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ums_core import Draft, LocalStore, Query, UnifiedSettings, open_store

HERE = Path(__file__).parent
NAMESPACE = ("users", "marta")
BATCH = 32
SHOWN = 3


@dataclass(frozen=True)
class Question:
    """A question with the turns that answer it."""

    text: str
    answer: str
    evidence: frozenset[str]


@dataclass(frozen=True)
class Found:
    """The best memory for a question, through one of the doors."""

    text: str
    score: float
    when: datetime
    ms: float
    rank: int | None


Ask = Callable[[str], list[tuple[str, str, float, datetime]]]


def load() -> tuple[list[Draft], list[Question]]:
    """The bundled conversation and the questions about it."""
    drafts = []
    for line in (HERE / "conversations.jsonl").read_text(encoding="utf-8").splitlines():
        turn = json.loads(line)
        drafts.append(
            Draft(
                id=turn["id"],
                text=turn["text"],
                namespace=NAMESPACE,
                speaker=turn["speaker"],
                session=turn["session"],
                position=turn["position"],
                occurred_at=datetime.fromisoformat(turn["occurred_at"]),
            )
        )
    asked = json.loads((HERE / "questions.json").read_text(encoding="utf-8"))
    return drafts, [Question(q["question"], q["answer"], frozenset(q["evidence"])) for q in asked]


def ingest(store: LocalStore, drafts: Sequence[Draft], console: Console) -> None:
    """Add the drafts in batches, with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("remembering", total=len(drafts))
        for start in range(0, len(drafts), BATCH):
            batch = drafts[start : start + BATCH]
            store.add(batch)
            progress.advance(task, len(batch))


def doors(store: LocalStore, k: int) -> dict[str, Ask]:
    """Three ways to ask the same store."""
    langchain = LangChainRetriever(store=store, namespace=NAMESPACE, k=k)
    llama_index = LlamaIndexRetriever(store=store, namespace=NAMESPACE, k=k)

    def through_core(question: str) -> list[tuple[str, str, float, datetime]]:
        hits = store.search(Query(text=question, namespace=NAMESPACE, k=k))
        return [(h.memory.id, h.memory.text, h.score, h.memory.occurred_at or h.memory.created_at) for h in hits]

    def through_langchain(question: str) -> list[tuple[str, str, float, datetime]]:
        found = langchain.invoke(question)
        return [(str(d.id), d.page_content, d.metadata["ums"]["score"], _when(d.metadata["ums"])) for d in found]

    def through_llama_index(question: str) -> list[tuple[str, str, float, datetime]]:
        found = llama_index.retrieve(question)
        return [
            (n.node.metadata["ums"]["id"], n.node.get_content(), n.score or 0.0, _when(n.node.metadata["ums"]))
            for n in found
        ]

    return {"core": through_core, "LangChain": through_langchain, "LlamaIndex": through_llama_index}


def _when(provenance: dict[str, str]) -> datetime:
    return datetime.fromisoformat(provenance["occurred_at"])


def ask(door: Ask, questions: Sequence[Question]) -> Iterator[tuple[Question, Found]]:
    """The best memory for each question, and at which rank the evidence stands."""
    door(questions[0].text)  # loads the model; not timed
    for question in questions:
        start = time.perf_counter()
        found = door(question.text)
        ms = (time.perf_counter() - start) * 1e3
        rank = next((place for place, hit in enumerate(found, 1) if hit[0] in question.evidence), None)
        _, text, score, when = found[0]
        yield question, Found(text, score, when, ms, rank)


def show(name: str, answers: Sequence[tuple[Question, Found]], console: Console) -> None:
    """A table of questions and what was found."""
    table = Table(title=f"Asked through {name}", title_justify="left", expand=True)
    table.add_column("question", ratio=4)
    table.add_column("best memory", ratio=6)
    for column in ("score", "when", "ms", "evidence at"):
        table.add_column(column, justify="right", no_wrap=True)
    for question, found in answers:
        rank = "-" if found.rank is None else str(found.rank)
        row = (question.text, found.text, f"{found.score:.2f}", f"{found.when:%d %b}", f"{found.ms:.1f}", rank)
        table.add_row(*row, style="" if found.rank is not None and found.rank <= SHOWN else "dim")
    console.print(table)
    ranks = [found.rank for _, found in answers]
    first, few = sum(rank == 1 for rank in ranks), sum(rank is not None and rank <= SHOWN for rank in ranks)
    console.print(f"evidence first for {first} of {len(ranks)} questions, among the best {SHOWN} for {few}\n")


@contextmanager
def directory(given: Path | None) -> Iterator[Path]:
    """The given directory, or a temporary one that is removed afterwards."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="ums-demo-") as made:
        yield Path(made)


def first_run(settings: UnifiedSettings, k: int, console: Console) -> dict[str, list[str]]:
    """Fill the store and ask it; the best memory for each question, by door."""
    drafts, questions = load()
    before = {}
    with open_store(settings) as store:
        ingest(store, drafts, console)
        for name, door in doors(store, k).items():
            answers = list(ask(door, questions))
            show(name, answers, console)
            before[name] = [found.text for _, found in answers]
    return before


def restart(settings: UnifiedSettings, k: int, before: dict[str, list[str]], console: Console) -> bool:
    """Open the store again; whether nothing was lost, and every answer is the same."""
    drafts, questions = load()
    with open_store(settings) as store:
        held = {memory.id for memory in store.get([d.id or "" for d in drafts], namespace=NAMESPACE) if memory}
        lost = len(drafts) - len(held)
        same = all(
            [found.text for _, found in ask(door, questions)] == before[name] for name, door in doors(store, k).items()
        )
        health = store.health()
        console.print(
            f"closed and reopened: {health.memories} memories, {lost} lost, {'the same' if same else 'OTHER'} answers, "
            f"status {health.status}, encryption {health.encryption} ({health.driver})\n"
        )
    return not lost and same


def main() -> int:
    """Run the demo; the exit code is 1 if anything was lost, left the device, or can be read in the sealed files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, help="keep the database here (default: a temporary directory)")
    parser.add_argument("-k", type=int, default=10, help="how many memories to look at per question (default: 10)")
    options = parser.parse_args()
    console = Console()
    drafts, _ = load()
    with directory(options.dir) as place:
        place.mkdir(parents=True, exist_ok=True)
        personal = sealed.settings(place / "personal" / "memory.db", sealed.key_in(place))
        console.print(
            f"{len(drafts)} turns of {len({d.session for d in drafts})} conversations go into {place}, sealed"
        )
        before = first_run(personal, options.k, console)
        kept = restart(personal, options.k, before, console)
        handbook = sealed.settings(place / "handbook" / "memory.db", None)
        apart = shared.prove(personal, handbook, NAMESPACE, console)
        secret = sealed.prove(personal, sealed.settings(place / "control" / "memory.db", None), drafts, console)
    return int(not (kept and apart and secret))


if __name__ == "__main__":
    raise SystemExit(main())
