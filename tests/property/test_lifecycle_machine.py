"""Whatever is called in whatever order, a memory is alive, archived, within its undo window, or gone because of a call.

Two tenants have a database each, as a service gives them. A process works on one now and then and is killed meanwhile.
"""

import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from lifecycle_work import STRATEGIES, Order, carry_out, settings_in, toil
from thorough import count

from ums_core import Draft, LocalStore, Query, Receipt, open_store
from ums_core.records import Namespace
from ums_core.storage.connect import load_driver
from ums_core.storage.table import decode_namespace
from ums_core.testing.worker import _START

pytestmark = [pytest.mark.property, pytest.mark.no_cover]

START = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = ("default", "acme")
PLACES: tuple[Namespace, ...] = (("a",), ("a", "b"), ("b",))
TENANTS = st.sampled_from(NAMES)
SPACES = st.sampled_from(PLACES)
SHARES = st.sampled_from([0.0, 0.3, 0.7, 1.0])
THRESHOLDS = st.sampled_from([0.4, 0.7])
PICKS = st.integers(0, 11)
# What a process does that is killed. Twice what takes several transactions.
WORK = ("add", "consolidate", "consolidate", "forget", "forget", "undo", "undo", "supersede", "delete", "erase")
LONG_WORK = (*WORK, "sweep", "purge", "maintain", "maintain")

# Namespace and id.
Key = tuple[Namespace, str]


@dataclass(frozen=True)
class Told:
    """What a user said last under an identity."""

    text: str
    pinned: bool
    expires_at: datetime | None


@dataclass(frozen=True)
class Row:
    """What the database holds under an identity; ``why`` is None of what is alive."""

    text: str
    made: bool
    why: str | None = None
    under: str | None = None
    until: float | None = None
    batch: str | None = None


class Lifecycle(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="ums-machine-"))
        self.now = START
        self.number = 0
        self.told: dict[str, dict[Key, Told]] = {tenant: {} for tenant in NAMES}
        self.stores: dict[str, LocalStore] = {}
        # Told where an example fails: what is killed does not fail twice in the same way.
        self.history: list[str] = []

    # What is done.

    @initialize()
    def begin(self) -> None:
        for tenant, space in zip(NAMES, (("a",), ("a", "b")), strict=True):
            drafts = [self.draft(tenant, space, number % 2) for number in range(6)]
            self.do(tenant, space, Order("add", {"drafts": drafts}))

    @rule(tenant=TENANTS, space=SPACES, topic=st.integers(0, 2), pinned=st.booleans(), days=st.none() | st.just(5))
    def add(self, tenant: str, space: Namespace, topic: int, days: int | None, *, pinned: bool) -> None:
        ttl_s = None if days is None else days * 86_400.0
        drafts = [self.draft(tenant, space, topic, pinned=pinned, ttl_s=ttl_s) for _ in range(3)]
        self.do(tenant, space, Order("add", {"drafts": drafts}))

    @rule(tenant=TENANTS, space=SPACES, pick=PICKS, topic=st.integers(0, 2))
    def replace(self, tenant: str, space: Namespace, pick: int, topic: int) -> None:
        draft = self.draft(tenant, space, topic, id=self.some(tenant, space, pick))
        self.do(tenant, space, Order("add", {"drafts": [draft]}))

    @rule(tenant=TENANTS, space=SPACES, pick=PICKS, topic=st.integers(0, 2))
    def supersede(self, tenant: str, space: Namespace, pick: int, topic: int) -> None:
        self.do(tenant, space, self.correction(tenant, space, pick, topic))

    @rule(tenant=TENANTS, space=SPACES, pick=PICKS)
    def use(self, tenant: str, space: Namespace, pick: int) -> None:
        order = Order("reinforce", {"ids": [self.some(tenant, space, pick)], "namespace": space})
        before = self.rows(tenant)
        self.do(tenant, space, order)
        assert self.rows(tenant) == before

    @rule(tenant=TENANTS, space=SPACES, strategy=st.sampled_from(STRATEGIES), threshold=THRESHOLDS)
    def consolidate(self, tenant: str, space: Namespace, strategy: Any, threshold: float) -> None:  # noqa: ANN401  # of any kind
        options = {"threshold": threshold, "namespace": space, "strategy": strategy}
        before = self.rows(tenant)
        done = self.do(tenant, space, Order("consolidate", options))
        rows = self.rows(tenant)
        for cluster in done.clusters:
            assert cluster.namespace[: len(space)] == space
            assert (cluster.problem is None) == (cluster.summary_id is not None)
            for id_ in cluster.ids:
                key = (cluster.namespace, id_)
                assert rows[key].under == cluster.summary_id if cluster.summary_id else rows[key].why is None
        merged = {key for key, row in rows.items() if row.batch == done.batch and row.batch is not None}
        assert len(merged) == done.merged
        assert {key for key in set(before) | set(rows) if not rows[key].made or key in before} == set(before)

    @rule(tenant=TENANTS, space=SPACES, share=SHARES, least=st.sampled_from([0, 0, 2]), erase=st.booleans())
    def forget(self, tenant: str, space: Namespace, share: float, least: int, *, erase: bool) -> None:
        options = {"retain_fraction": share, "min_total": least, "namespace": space, "erase": erase}
        plan = self.store(tenant).forget(**options, dry_run=True)
        standing = self.living(tenant, space)
        done = self.do(tenant, space, Order("forget", options))
        assert done.forgotten == plan.forgotten
        assert done.kept == plan.kept == len(standing) - done.removed
        assert done.kept >= min(least, len(standing))
        assert all(fading.namespace[: len(space)] == space for fading in done.forgotten)
        pinned = {key for key, told in self.told[tenant].items() if told.pinned}
        assert not pinned & {(fading.namespace, fading.id) for fading in done.forgotten}

    @rule(tenant=TENANTS, whose=TENANTS, pick=PICKS)
    def undo(self, tenant: str, whose: str, pick: int) -> None:
        batch = self.batch(whose, pick)
        before = self.rows(tenant)
        back = self.do(tenant, (), Order("undo", {"batch": batch}))
        if tenant != whose:
            assert back == 0
            assert self.rows(tenant) == before

    @rule(tenant=TENANTS, space=SPACES, picks=st.lists(PICKS, min_size=1, max_size=3))
    def delete(self, tenant: str, space: Namespace, picks: list[int]) -> None:
        ids = [self.some(tenant, space, pick) for pick in picks]
        self.do(tenant, space, Order("delete", {"ids": ids, "namespace": space}))

    @rule(tenant=TENANTS, space=SPACES, picks=st.lists(PICKS, min_size=1, max_size=2))
    def erase(self, tenant: str, space: Namespace, picks: list[int]) -> None:
        ids = [self.some(tenant, space, pick) for pick in picks]
        receipt = self.do(tenant, space, Order("erase", {"ids": ids, "namespace": space}))
        assert self.store(tenant).verify_erased(receipt) == []

    @rule(tenant=TENANTS, days=st.integers(0, 20))
    def prune(self, tenant: str, days: int) -> None:
        before = self.rows(tenant)
        while self.store(tenant).prune_history(self.now - timedelta(days=days), limit=3):
            pass
        assert self.rows(tenant) == before

    @rule(days=st.integers(1, 20))
    def wait(self, days: int) -> None:
        self.now += timedelta(days=days)

    @rule(tenant=TENANTS, limit=st.sampled_from([1, 1000]))
    def sweep(self, tenant: str, limit: int) -> None:
        while self.do(tenant, (), Order("sweep", {"limit": limit})):
            pass
        assert not any(self.ended(told) for told in self.told[tenant].values())

    @rule(tenant=TENANTS, limit=st.sampled_from([1, 1000]))
    def purge(self, tenant: str, limit: int) -> None:
        late = self.late(tenant)
        while self.do(tenant, (), Order("purge", {"limit": limit})):
            pass
        assert not late & set(self.rows(tenant))

    @rule(tenant=TENANTS)
    def maintain(self, tenant: str) -> None:
        done = self.do(tenant, (), Order("maintain", {}))
        assert done == "maintenance_running" or done.complete

    @rule(tenant=TENANTS, space=SPACES, archived=st.booleans())
    def ask(self, tenant: str, space: Namespace, *, archived: bool) -> None:
        query = Query(text="topic1 thing1 place1", namespace=space, k=100, include_archived=archived, min_score=None)
        found = {(hit.memory.namespace, hit.memory.id): hit.memory for hit in self.store(tenant).search(query)}
        rows = self.rows(tenant)
        for key, memory in found.items():
            assert key[0][: len(space)] == space
            assert memory.expires_at is None or memory.expires_at > self.now
            assert (memory.text, memory.archived) == (rows[key].text, rows[key].why)
        assert set(found) >= self.living(tenant, space)

    @rule(tenant=TENANTS)
    def reopen(self, tenant: str) -> None:
        # As another process would, before this one has let go.
        former = self.stores.pop(tenant, None)
        assert self.store(tenant).verify_history() == []
        if former is not None:
            former.close()

    @rule(
        tenant=TENANTS,
        verbs=st.lists(st.sampled_from(LONG_WORK), min_size=2, max_size=6),
        seed=st.integers(0, 2**16),
        after_ms=st.integers(0, 60),
        alone=st.booleans(),
    )
    def kill(self, tenant: str, verbs: list[str], seed: int, after_ms: int, *, alone: bool) -> None:
        """Let a process do this and that, beside this one or alone, and kill it meanwhile."""
        rng = random.Random(seed)
        orders = [self.any_order(tenant, verb, rng) for verb in verbs]
        if alone and tenant in self.stores:
            self.stores.pop(tenant).close()
        over = self.over(tenant, orders)
        here, there = _START.Pipe()
        child = _START.Process(target=toil, args=(settings_in(self.directory, tenant), self.now, orders, there))
        child.start()
        there.close()
        with self.nothing_else_changes(tenant, ()):
            assert here.recv() == "open"
            time.sleep(after_ms / 1000)
            child.kill()
            child.join()
            begun, answers = heard(here)
        done = f"{len(answers)} of {begun} begun of {' '.join(order.verb for order in orders)}"
        self.history.append(f"{tenant}: killed after {done}")
        for order, answer in zip(orders, answers, strict=False):
            self.learn(tenant, order, answer, over)
        if begun > len(answers):
            event(f"killed in the middle of {orders[begun - 1].verb}")
            self.resolve(tenant, orders[begun - 1], over)
        assert self.store(tenant).verify_history() == []

    # What must be true whatever was done.

    @invariant()
    def every_memory_is_in_one_place(self) -> None:
        for tenant in self.stores:
            rows = self.rows(tenant)
            said = {key: row.text for key, row in rows.items() if not row.made}
            assert said == {key: told.text for key, told in self.told[tenant].items()}, self.history
            for (space, id_), row in rows.items():
                where = f"{tenant}:{'/'.join(space)}"
                assert row.made or row.text.startswith(f"{where} "), "a tenant or a namespace was crossed"
                assert (row.until is not None) == (row.why == "forgotten")
                assert (row.under is not None) == (row.why in {"consolidated", "superseded"})
                if row.why == "consolidated":
                    assert (space, row.under) in rows, f"{id_} stands under what is nowhere"

    @invariant()
    def the_index_is_what_is_alive(self) -> None:
        for store in self.stores.values():
            assert store.verify() == []

    def teardown(self) -> None:
        try:
            for store in self.stores.values():
                assert store.verify_history() == []
        finally:
            for store in self.stores.values():
                store.close()
        shutil.rmtree(self.directory)

    # How it is done, and what is known then.

    def store(self, tenant: str) -> LocalStore:
        if tenant not in self.stores:
            self.stores[tenant] = open_store(settings_in(self.directory, tenant), clock=lambda: self.now)
        return self.stores[tenant]

    def do(self, tenant: str, space: Namespace, order: Order) -> Any:  # noqa: ANN401  # what the verb answers
        self.history.append(f"{tenant}: {order.verb}")
        over = self.over(tenant, [order])
        with self.nothing_else_changes(tenant, space):
            answer = carry_out(self.store(tenant), order)
        self.learn(tenant, order, answer, over)
        return answer

    @contextmanager
    def nothing_else_changes(self, tenant: str, space: Namespace) -> Iterator[None]:
        def others() -> dict[tuple[str, Key], Row]:
            return {
                (whose, key): row
                for whose in NAMES
                for key, row in self.rows(whose).items()
                if whose != tenant or key[0][: len(space)] != space
            }

        before = others()
        yield
        assert others() == before

    def learn(self, tenant: str, order: Order, answer: Any, over: set[Key]) -> None:  # noqa: ANN401  # of any verb
        """Know what a call did that has its answer."""
        told = self.told[tenant]
        if isinstance(answer, str):
            return
        for draft in drafts_of(order):
            assert draft.id is not None
            ends = None if draft.ttl_s is None else self.now + timedelta(seconds=draft.ttl_s)
            told[draft.namespace, draft.id] = Told(draft.text, draft.pinned, ends)
        receipts = [answer] if isinstance(answer, Receipt) else getattr(answer, "receipts", ())
        gone = [(receipt.namespace, id_) for receipt in receipts for id_ in receipt.ids]
        if order.verb == "delete":
            gone = [(order.arguments["namespace"], id_) for id_ in order.arguments["ids"]]
        if order.verb == "erase":
            assert not {(answer.namespace, id_) for id_ in answer.derived} & set(told), "what was told is not derived"
        for key in gone:
            told.pop(key, None)
        self.let_go(tenant, over)

    def over(self, tenant: str, orders: Sequence[Order]) -> set[Key]:
        """What these calls may delete though nobody names it: its time has ended, or it corrects what comes back."""
        over: set[Key] = set()
        for order in orders:
            if order.verb in {"purge", "maintain"}:
                over |= self.late(tenant)
            if order.verb in {"sweep", "maintain"}:
                over |= {key for key, said in self.told[tenant].items() if self.ended(said)}
            if order.verb == "undo":
                batch = [(key, row) for key, row in self.rows(tenant).items() if row.batch == order.arguments["batch"]]
                over |= {(key[0], row.under) for key, row in batch if row.why == "superseded" and row.under is not None}
        return over

    def let_go(self, tenant: str, over: set[Key]) -> None:
        for key in over - set(self.rows(tenant)):
            self.told[tenant].pop(key, None)

    def resolve(self, tenant: str, order: Order, over: set[Key]) -> None:
        """Know what a call did that was killed: all of it, or nothing."""
        told, rows = self.told[tenant], self.rows(tenant)
        given = [((draft.namespace, draft.id or ""), draft.text) for draft in drafts_of(order)]
        written = [key in rows and rows[key].text == text for key, text in given]
        assert len(set(written)) <= 1, "half of a batch was written"
        if written and written[0]:
            self.learn(tenant, order, None, over)
        if order.verb in {"delete", "erase"}:
            keys = {(order.arguments["namespace"], id_) for id_ in order.arguments["ids"]} & set(told)
            gone = keys - set(rows)
            assert gone in (set(), keys), "half of a batch was deleted"
            for key in gone:
                del told[key]
        self.let_go(tenant, over)

    def late(self, tenant: str) -> set[Key]:
        """What can no longer be brought back, with all that is under it."""
        rows = self.rows(tenant)
        late = {key for key, row in rows.items() if row.until is not None and row.until <= self.now.timestamp() * 1e6}
        while grown := {k for k, row in rows.items() if row.why == "consolidated" and (k[0], row.under) in late} - late:
            late |= grown
        return late

    def ended(self, told: Told) -> bool:
        return told.expires_at is not None and told.expires_at <= self.now

    def living(self, tenant: str, space: Namespace) -> set[Key]:
        """What is alive under a prefix and has not expired."""
        told = self.told[tenant]
        return {
            key
            for key, row in self.rows(tenant).items()
            if row.why is None and key[0][: len(space)] == space and not (key in told and self.ended(told[key]))
        }

    def some(self, tenant: str, space: Namespace, pick: int) -> str:
        """The id of something in a namespace, alive or not, a summary or not, or of nothing."""
        ids = [id_ for own, id_ in self.rows(tenant) if own == space]
        return ids[pick % len(ids)] if ids else "nothing"

    def batch(self, tenant: str, pick: int) -> str:
        batches = list(dict.fromkeys(row.batch for row in self.rows(tenant).values() if row.batch is not None))
        return batches[pick % len(batches)] if batches else "none"

    def draft(self, tenant: str, space: Namespace, topic: int, **fields: Any) -> Draft:  # noqa: ANN401  # of a draft
        self.number += 1
        # The same ids at both tenants and in all namespaces; the text tells whose it is.
        return Draft(
            namespace=space,
            text=f"{tenant}:{'/'.join(space)} topic{topic} thing{topic} place{topic} word{self.number}",
            importance=self.number % 7 / 7,
            **{"id": str(self.number), **fields},
        )

    def correction(self, tenant: str, space: Namespace, pick: int, topic: int) -> Order:
        options = {"old_id": self.some(tenant, space, pick), "draft": self.draft(tenant, space, topic)}
        return Order("supersede", {**options, "namespace": space})

    def any_order(self, tenant: str, verb: str, rng: random.Random) -> Order:
        space, pick, topic = rng.choice(PLACES), rng.randrange(12), rng.randrange(3)
        place = {"namespace": space}
        if verb == "supersede":
            return self.correction(tenant, space, pick, topic)
        arguments: dict[str, dict[str, Any]] = {
            "add": {"drafts": [self.draft(tenant, space, topic) for _ in range(4)]},
            "consolidate": {"threshold": 0.4, "strategy": rng.choice(STRATEGIES), **place},
            "forget": {"retain_fraction": rng.choice([0.0, 0.5]), **place},
            "undo": {"batch": self.batch(tenant, pick)},
            "delete": {"ids": [self.some(tenant, space, pick + n) for n in range(3)], **place},
            "erase": {"ids": [self.some(tenant, space, pick + n) for n in range(2)], **place},
            "sweep": {"limit": 1000},
            "purge": {"limit": 1000},
            "maintain": {},
        }
        return Order(verb, arguments[verb])

    def rows(self, tenant: str) -> dict[Key, Row]:
        """All that the database of a tenant holds, in the order of first storing; by nothing that is tried here."""
        path = settings_in(self.directory, tenant).database.path
        if not path.exists():
            return {}
        # Another SQLite in this process than the store's own would drop the locks of the store.
        columns = "n.path, m.id, m.text, m.source_ids IS NOT NULL"
        connection = load_driver().connect(f"file:{path}?mode=ro", uri=True)
        try:
            found = connection.execute(
                f"SELECT {columns}, NULL, NULL, NULL, NULL, m.birth FROM memories m JOIN namespaces n USING (nid) "
                f"UNION ALL SELECT {columns}, why, under, until, batch, m.birth "
                "FROM archived m JOIN namespaces n USING (nid) ORDER BY birth"
            ).fetchall()
        finally:
            connection.close()
        rows = {
            (decode_namespace(path), id_): Row(text, bool(made), *rest) for path, id_, text, made, *rest, _ in found
        }
        assert len(rows) == len(found), "a memory is in two places"
        return rows


def drafts_of(order: Order) -> Sequence[Draft]:
    if order.verb == "supersede":
        return [order.arguments["draft"]]
    return order.arguments["drafts"] if order.verb == "add" else ()


def heard(line: Any) -> tuple[int, list[Any]]:  # noqa: ANN401  # multiprocessing gives a private type
    """How many orders were begun, and the answers to those that ended, before the line broke."""
    begun, answers = 0, []
    try:
        while True:
            number, answer = line.recv()
            begun = number + 1
            answers += answer or []
    except (EOFError, ConnectionResetError):
        return begun, answers
    finally:
        line.close()


# What a kill leaves depends on the moment, so there is nothing to shrink.
@pytest.mark.timeout(count(300, 7200))
class TestLifecycle(Lifecycle.TestCase):
    settings = settings(
        max_examples=count(5, 200),
        stateful_step_count=count(20, 40),
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
    )
