"""The demo's second half: a service with a handbook that all neighbours share, asked beside the personal store."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ums_core import Draft, DualStore, Hits, Query, RemoteStore, UnifiedSettings, open_store
from ums_core.records.query import Channel
from ums_core.testing.serving import serving

HANDBOOK = Path(__file__).with_name("handbook.jsonl")
PERSONAL = (
    "Why was Priya's cat limping, according to the vet?",
    "What did the physio say is wrong with Marta's leg?",
    "Why did the boiler stop?",
    "When did the flat move get postponed to?",
)
MARKED: tuple[tuple[str, Channel, str], ...] = (
    ("what pressure should the boiler show when it is cold?", "global", "h01"),
    ("how long does an irritated Achilles tendon take to settle?", "both", "h11"),
    ("what to do with a sourdough starter without bubbles?", "both", "h15"),
    ("how much deposit may a landlord ask for?", "global", "h08"),
)
BEST = 2


@dataclass
class Connections:
    """Connections that this process has made since it was last asked."""

    made: int = 0

    def watch(self, event: str, _: tuple[object, ...]) -> None:
        """Count one, where the interpreter reports it; an audit hook stays until the end of the process."""
        self.made += event == "socket.connect"

    def since(self) -> int:
        """How many, and begin anew."""
        made, self.made = self.made, 0
        return made


def prove(personal: UnifiedSettings, handbook: UnifiedSettings, namespace: tuple[str, ...], console: Console) -> bool:
    """Ask both sides; whether personal questions made no connection, and marked ones found the handbook."""
    connections = Connections()
    sys.addaudithook(connections.watch)
    with service(handbook) as remote, DualStore(open_store(personal), remote) as store:
        connections.since()
        table = Table(title="Asked with a handbook beside it that neighbours share", title_justify="left", expand=True)
        table.add_column("question", ratio=4)
        table.add_column("asked")
        table.add_column("best memories, and whose", ratio=7)
        table.add_column("new connections", justify="right")
        quiet = True
        for text in PERSONAL:
            hits = store.search(Query(text=text, namespace=namespace, k=BEST))
            quiet &= _row(table, text, "personal", hits, connections) == 0
        reached, helped = 0, 0
        for text, channel, evidence in MARKED:
            hits = store.search(Query(text=text, namespace=namespace, channel=channel, k=BEST))
            reached += _row(table, text, channel, hits, connections)
            helped += any(hit.channel == "global" and hit.memory.metadata["entry"] == evidence for hit in hits)
        console.print(table)
    console.print(
        f"personal questions made {'no connection' if quiet else 'A CONNECTION'}, marked ones {reached}; "
        f"the handbook's answer is among the best {BEST} for {helped} of {len(MARKED)}\n"
    )
    return quiet and reached > 0 and helped == len(MARKED)


@contextmanager
def service(settings: UnifiedSettings) -> Iterator[RemoteStore]:
    """A service on this machine that knows the handbook, and a reader's way to it."""
    settings.monitoring.log_level = "warning"
    with serving(settings) as served:
        entries = [json.loads(line) for line in HANDBOOK.read_text(encoding="utf-8").splitlines()]
        drafts = [
            Draft(id=entry["id"], text=entry["text"], tags=(entry["topic"],), metadata={"entry": entry["id"]})
            for entry in entries
        ]
        with served.store("neighbours") as keeper:
            keeper.add(drafts, idempotency_key="handbook")
        with RemoteStore(served.url, served.token("neighbours", ["memory:read"])) as reader:
            yield reader


def _row(table: Table, text: str, channel: Channel, hits: Hits, connections: Connections) -> int:
    made = connections.since()
    found = Text()
    for hit in hits:
        found.append(f"{hit.channel}: ", "cyan" if hit.channel == "global" else "green")
        found.append(f"{hit.memory.text}\n")
    table.add_row(text, channel, found, str(made))
    return made
