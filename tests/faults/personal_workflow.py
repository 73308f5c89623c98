"""What a person does with memories, beside a service that is out of reach; test_privacy.py runs it as a process.

Prints one JSON object: what each phase saw of the network. A phase ``leak`` follows on request: a question marked
global, which must be seen by whatever watches.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from ums_core import Draft, DualStore, Hit, Patch, Query, RemoteOptions, RemoteStore, UnifiedSettings, open_store
from ums_core.errors import PrivacyModeStrict
from ums_core.settings.database import url_of

ROOT = Path(__file__).parents[2]
# TEST-NET-1 of RFC 5737: an address that nobody has.
ELSEWHERE = "http://192.0.2.1:80"
WHO = ("users", "marta")
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")

events: list[str] = []


def watch(event: str, _: tuple[object, ...]) -> None:
    if event in NETWORK:
        events.append(event)


def sent_packets() -> int:
    """Packets that the interfaces of this network namespace have sent, loopback aside."""
    lines = Path("/proc/self/net/dev").read_text(encoding="utf-8").splitlines()[2:]
    counts = {name.strip(): values.split() for name, _, values in (line.partition(":") for line in lines)}
    return sum(int(values[9]) for name, values in counts.items() if name != "lo")


def live(store: DualStore) -> dict[str, int]:
    """Import, add, change, ask, page, publish nothing, and forget."""
    lines = (ROOT / "docs/demo/conversations.jsonl").read_text(encoding="utf-8").splitlines()
    turns = [json.loads(line) for line in lines[:120]]
    kept = ("id", "text", "speaker", "session", "position")
    drafts = [Draft(namespace=WHO, **{name: turn[name] for name in kept}) for turn in turns]
    imported = store.add(drafts, idempotency_key="import")
    (memory,) = store.add([Draft(text="My PIN is 4711.", namespace=WHO, tags=("secret",))])
    store.update([Patch(id=memory.id, namespace=WHO, changes={"importance": 1.0})])
    hits = [
        hit
        for mode in ("hybrid", "vector", "keyword")
        for hit in store.search(Query(text="why is the kitchen cold?", namespace=WHO, mode=mode, context=1))
    ]
    store.kv_put("notes", {"a": b"1"})
    assert {hit.channel for hit in hits} == {"personal"}
    assert store.scan(namespace=WHO).memories
    store.health()
    store.personal.reembed()
    tend(store, hits)
    deleted = store.delete([memory.id], namespace=WHO)
    store.personal.erase([imported[0].id], namespace=WHO)
    return {"imported": len(imported), "hits": len(hits), "deleted": deleted, "left": store.count()}


def tend(store: DualStore, hits: list[Hit]) -> None:
    """Use, plan, merge, forget, and take it back; `mark_access` is refused where it would name a memory elsewhere."""
    assert store.reinforce([hit.memory.id for hit in hits], namespace=WHO)
    assert store.maintain(dry_run=True).dry_run
    birds = (*WHO, "birds")
    store.add([Draft(text=f"The heron is at the pond {when}.", namespace=birds) for when in ("now", "again", "today")])
    merged = store.consolidate(threshold=0.6, namespace=birds)
    assert merged.batch is not None
    summary = next(cluster.summary_id for cluster in merged.clusters if cluster.summary_id is not None)
    assert store.expand(summary, namespace=birds)
    assert store.history(summary, namespace=birds)
    assert store.undo(merged.batch) == merged.merged
    forgotten = store.forget(retain_fraction=0.5, namespace=WHO)
    assert store.undo(forgotten.batch or "") == forgotten.removed
    assert store.add_distinct([Draft(text="my pin is  4711.", namespace=WHO)]).stored == 0
    assert store.maintain(steps=["sweep", "forget", "purge"]).complete
    store.delete([memory.id for memory in store.scan(namespace=birds).memories], namespace=birds)
    try:
        store.global_.reinforce(["somebody's"])
    except PrivacyModeStrict:
        return
    raise AssertionError("a use was to be told to the service")


def phase(work: Callable[[], object]) -> dict[str, object]:
    before = sent_packets()
    events.clear()
    did = work()
    return {"did": did, "events": len(events), "sent": sent_packets() - before}


def main(directory: str, *wanted: str) -> None:
    settings = UnifiedSettings.for_testing(
        database={"url": url_of(Path(directory) / "memory.db")}, model={"embedder": "static"}
    )
    sys.addaudithook(watch)
    remote = RemoteStore(
        ELSEWHERE,
        "token",
        RemoteOptions(connect_timeout_s=1, attempts=1, allow_insecure_transport=True, privacy_mode="strict"),
    )
    told: dict[str, object] = {}
    with DualStore(open_store(settings), remote) as store:  # type: ignore[arg-type]  # LocalStore is one
        told["personal"] = phase(lambda: live(store))
        if "leak" in wanted:
            told["leak"] = phase(lambda: store.search(Query(text="kitchen", channel="both")).degraded)
    print(json.dumps(told))  # noqa: T201  # read by the test


if __name__ == "__main__":
    main(*sys.argv[1:])
