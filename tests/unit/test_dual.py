"""The dual channel: what goes where, what comes back, and what happens when the other side does not answer."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from threading import Event, Semaphore
from time import sleep
from typing import Any

import pytest

from ums_core import (
    Draft,
    DualStore,
    EnhancedMemoryStore,
    Hits,
    LocalStore,
    Memory,
    MemoryStore,
    Patch,
    Promotion,
    Query,
    UnifiedSettings,
    open_store,
)
from ums_core.errors import (
    ConsentRequired,
    InvalidField,
    InvalidQuery,
    MemoryNotFound,
    NotOnThisChannel,
    SettingsError,
    StoreClosed,
)
from ums_core.policy import QUERY_LEAVES

BOIL, FREEZE, CAT = "water boils at 100 degrees", "water freezes at 0 degrees", "my cat Luna drinks water"


class Watched:
    """A real store that notes what it is asked, and waits or fails where a test says so."""

    def __init__(self) -> None:
        self.inner = open_store(UnifiedSettings.for_testing())
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.before: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> object:
        verb = getattr(self.inner, name)

        def noted(*args: object, **options: object) -> object:
            self.calls.append((name, args, options))
            self.before()
            return verb(*args, **options)

        return noted

    def asked(self) -> list[Query]:
        return [args[0] for name, args, _ in self.calls if name == "search"]


@pytest.fixture
def other() -> Watched:
    return Watched()


@pytest.fixture
def personal() -> LocalStore:
    return open_store(UnifiedSettings.for_testing())


def join(personal: LocalStore, other: Watched, **options: float | str) -> DualStore:
    return DualStore(personal, other, **options)  # type: ignore[arg-type]  # any store; checked by DualStore


@pytest.fixture
def dual(personal: LocalStore, other: Watched) -> Iterator[DualStore]:
    with join(personal, other) as store:
        store.add([Draft(text=CAT, id="cat", namespace=("users", "marta"), tags=("pet",))])
        other.inner.add([Draft(text=BOIL, id="boil"), Draft(text=FREEZE, id="freeze", tags=("ice",))])
        yield store


def found(hits: list[Any]) -> list[tuple[str, str]]:
    return [(hit.channel, hit.memory.text) for hit in hits]


def test_what_is_not_marked_never_reaches_the_other_side(dual: DualStore, other: Watched) -> None:
    (memory,) = dual.add([Draft(text="note")], idempotency_key="k")
    assert found(dual.search(Query(text="water")))[0] == ("personal", CAT)
    dual.get([memory.id])
    dual.delete([memory.id])
    assert [change.action for change in dual.history(memory.id)] == ["added", "deleted"]
    dual.scan()
    dual.count()
    dual.namespaces()
    dual.kv_put("c", {"a": 1})
    dual.kv_scan("c")
    assert dual.health().detail[-1] == "global channel: not asked yet"
    assert other.calls == []


def test_what_is_kept_up_is_what_is_personal(dual: DualStore, other: Watched) -> None:
    assert dual.update([Patch(id="cat", namespace=("users", "marta"), changes={"level": 1})])[0].level == 1
    report = dual.add_distinct([Draft(text=CAT, id="again", namespace=("users", "marta"))])
    assert [memory.id for memory in report.memories] == ["again"]
    (newer,) = [dual.supersede("cat", Draft(text="my cat Luna drinks milk"), namespace=("users", "marta"))]
    assert dual.expand(newer.id, namespace=("users", "marta")) == []
    assert dual.reinforce([newer.id], namespace=("users", "marta")) == 1
    assert dual.consolidate(dry_run=True).merged == 0
    assert dual.maintain(dry_run=True).dry_run
    forgetting = dual.forget(min_total=0, retain_fraction=0.0)
    assert dual.count() == 0
    assert dual.undo(forgetting.batch) == 2
    dual.kv_put("c", {"a": 1})
    assert dual.kv_get("c", ["a", "b"]) == [1, None]
    assert dual.kv_delete("c", ["a", "b"]) == 1
    assert other.calls == []


def test_a_question_marked_both_is_answered_by_both_and_each_hit_says_whence(dual: DualStore, other: Watched) -> None:
    hits = dual.search(Query(text="water boils", channel="both", k=10))
    assert isinstance(hits, Hits)
    assert hits.degraded is None
    assert found(hits) == [("personal", CAT), ("global", BOIL), ("global", FREEZE)]
    assert [hit.score for hit in hits] == pytest.approx([1 / 61, 1 / 61, 1 / 62])
    assert all(hit.similarity is not None for hit in hits)
    assert dual.health().detail[-1] == "global channel: answers"
    (asked,) = other.asked()
    assert asked == Query(text="water boils", k=10)


def test_a_question_marked_global_asks_nobody_else(dual: DualStore) -> None:
    hits = dual.search(Query(text="water", channel="global"))
    assert {channel for channel, _ in found(hits)} == {"global"}
    assert len(hits) == 2


def test_what_stays_on_the_device_is_decided_there(dual: DualStore, other: Watched) -> None:
    query = Query(text="water", channel="both", namespace=("users",), filter={"tags": {"$contains": "ice"}}, k=2)
    assert found(dual.search(query)) == [("global", FREEZE)]
    (asked,) = other.asked()
    for field in fields(Query):
        expected = getattr(query, field.name) if field.name in QUERY_LEAVES - {"k"} else field.default
        assert getattr(asked, field.name) == (8 if field.name == "k" else expected), field.name


def test_neighbours_of_a_hit_meet_the_filter_too(dual: DualStore, other: Watched) -> None:
    said = [Draft(text=f"step {n}", session="s", position=n, tags=("t",) * (n != 1)) for n in range(3)]
    other.inner.add(said)
    query = Query(text="step 2", channel="global", filter={"tags": {"$contains": "t"}}, context=2, k=1)
    (hit,) = dual.search(query)
    assert (hit.memory.text, [memory.text for memory in hit.before], hit.after) == ("step 2", ["step 0"], ())


def test_standard_mode_sends_the_question_as_it_is(personal: LocalStore, other: Watched) -> None:
    query = Query(text="water", channel="global", namespace=("users",), filter={"level": 0})
    with join(personal, other, privacy_mode="standard") as dual:
        assert dual.search(query) == []
    assert other.asked() == [replace(query, channel="personal")]


def test_pages_add_up_over_both_sides(dual: DualStore) -> None:
    whole = dual.search(Query(text="water", channel="both", k=3))
    pages = [dual.search(Query(text="water", channel="both", k=1, offset=n)) for n in range(4)]
    assert [hit for page in pages for hit in page] == whole
    ice = Query(text="water", channel="global", filter={"tags": {"$contains": "ice"}}, k=1)
    assert [len(dual.search(replace(ice, offset=n))) for n in range(2)] == [1, 0]


@pytest.mark.parametrize("shape", [{"group": "session"}, {"max_tokens": 100}])
def test_what_shapes_one_answer_is_refused_for_two(dual: DualStore, shape: dict[str, Any]) -> None:
    with pytest.raises(InvalidQuery, match="one by one"):
        dual.search(Query(text="water", channel="both", **shape))
    assert dual.search(Query(text="water", channel="global", **shape))


def test_a_global_side_that_hangs_costs_the_budget_and_a_flag(
    personal: LocalStore, other: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    personal.add([Draft(text=CAT)])
    release = Event()
    other.before = lambda: release.wait(60)
    with caplog.at_level(logging.WARNING, "ums_core"), join(personal, other, budget_s=0.05) as dual:
        hits = dual.search(Query(text="water", channel="both"))
        assert found(hits) == [("personal", CAT)]
        assert hits.degraded == "no answer within 0.05 s"
        assert dual.health().detail[-1] == "global channel: no answer within 0.05 s"
        release.set()
    assert "no answer within 0.05 s" in caplog.text


def test_a_global_side_that_fails_leaves_the_personal_hits_and_a_flag(dual: DualStore, other: Watched) -> None:
    other.inner.close()
    hits = dual.search(Query(text="water", channel="both"))
    assert found(hits) == [("personal", CAT)]
    assert hits.degraded is not None
    assert hits.degraded.startswith("store_closed: ")
    assert dual.health().detail[-1].startswith("global channel: store_closed: ")
    with pytest.raises(StoreClosed):
        dual.search(Query(text="water", channel="global"))


def test_a_personal_side_that_fails_is_an_error(dual: DualStore, personal: LocalStore) -> None:
    personal.close()
    with pytest.raises(StoreClosed):
        dual.search(Query(text="water", channel="both"))


def test_a_question_after_closing_says_so(dual: DualStore) -> None:
    dual.close()
    for channel in ("personal", "global", "both"):
        with pytest.raises(StoreClosed):
            dual.search(Query(text="water", channel=channel))  # type: ignore[arg-type]  # one of three


def test_a_question_that_waits_for_the_global_side_as_it_is_closed_keeps_the_personal_hits(
    personal: LocalStore, other: Watched
) -> None:
    personal.add([Draft(text=CAT)])
    asked, release = Semaphore(0), Event()
    other.before = lambda: asked.release() or release.wait(60)  # type: ignore[func-returns-value]  # asked, then held
    dual = join(personal, other, budget_s=60)
    with ThreadPoolExecutor(9) as threads:
        waiting = [threads.submit(dual.search, Query(text="water", channel="both")) for _ in range(9)]
        for _ in range(8):
            asked.acquire()
        while not dual._threads._work_queue.qsize():
            sleep(0.01)
        dual._threads.shutdown(wait=False, cancel_futures=True)
        release.set()
        degraded = [each.result().degraded for each in waiting]
    assert degraded.count("closed before it was asked") == 1
    dual.close()


def test_writes_go_where_they_say_and_a_batch_goes_to_one_place(dual: DualStore, other: Watched) -> None:
    ties: dict[str, Any] = {"namespace": ("users", "marta"), "id": "mine", "speaker": "Marta", "session": "s"}
    (memory,) = dual.add([Draft(text="ice floats", channel="global", **ties)], idempotency_key="marta's key")
    assert other.inner.get([memory.id]) == [memory]
    assert (memory.namespace, memory.speaker, memory.session) == ((), None, None)
    assert memory.id != "mine"
    assert dual.count() == 1
    name, _, options = other.calls[-1]
    assert name == "add"
    assert "marta" not in options["idempotency_key"]
    before = other.inner.count()
    assert dual.add([Draft(text="ice floats", channel="global", **ties)], idempotency_key="marta's key") == [memory]
    with pytest.raises(InvalidField, match="one channel"):
        dual.add([Draft(text="a"), Draft(text="b", channel="global")])
    assert (other.inner.count(), dual.count()) == (before, 1)
    dual.add([Draft(text="no key", channel="global")])
    assert other.calls[-1][2]["idempotency_key"] is None


def test_a_repeated_global_write_is_recognised_by_the_next_process(personal: LocalStore, other: Watched) -> None:
    drafts = [Draft(text="ice floats", channel="global")]
    first = join(personal, other).add(drafts, idempotency_key="k")
    assert join(personal, other).add(drafts, idempotency_key="k") == first
    assert other.inner.count() == 1


def test_a_promotion_sends_what_was_consented_to_and_nothing_else(dual: DualStore, other: Watched) -> None:
    dual.add([Draft(text="Marta's tip: salt the water", id="tip"), Draft(text="Marta's PIN is 4711", id="pin")])
    shown: list[Draft] = []

    def redact(draft: Draft) -> Draft | None:
        return None if "PIN" in draft.text else replace(draft, text=draft.text.replace("Marta's tip: ", ""), id="x")

    def consent(draft: Draft) -> bool:
        shown.append(draft)
        return True

    answer = dual.promote(["tip", "pin"], Promotion(redact, consent))
    assert [memory and memory.text for memory in answer] == ["salt the water", None]
    ((name, (sent,), options),) = other.calls
    assert (name, sent) == ("add", shown)
    assert (sent[0].id, sent[0].channel) == (None, "personal")
    assert dual.count() == 3
    assert dual.promote(["tip", "pin"], Promotion(redact, consent)) == answer
    assert other.calls[-1][2] == options
    assert found(dual.search(Query(text="salt", channel="both")))[0] == ("personal", "Marta's tip: salt the water")


def test_a_memory_that_has_another_vector_by_now_is_promoted_anew() -> None:
    bare = {"embedder": "none", "vector_dim": 2}
    personal, other = (open_store(UnifiedSettings.for_testing(model=bare)) for _ in range(2))
    consent = Promotion(lambda draft: draft, lambda _: True)
    with DualStore(personal, other) as dual:
        for vector, count in (([1.0, 0.0], 1), ([0.0, 1.0], 2), ([0.0, 1.0], 2)):
            dual.add([Draft(id="a", embedding=vector)])
            (memory,) = dual.promote(["a"], consent)
            assert memory is not None
            (found,) = other.get([memory.id], vectors=True)
            assert found is not None
            assert found.passages[0].vector is not None
            assert (list(found.passages[0].vector), other.count()) == (vector, count)


def test_a_memory_that_was_promoted_and_kept_is_one_hit(dual: DualStore) -> None:
    dual.promote(["cat"], Promotion(lambda draft: draft, lambda _: True), namespace=("users", "marta"))
    hits = dual.search(Query(text=CAT, channel="both"))
    assert found(hits) == [("personal", CAT), ("global", BOIL), ("global", FREEZE)]
    assert hits[0].score == pytest.approx(2 / 61)


@pytest.mark.parametrize("answer", [False, None, 1, "yes"])
def test_anything_but_true_is_no_consent(dual: DualStore, other: Watched, answer: object) -> None:
    promotion = Promotion(lambda draft: draft, lambda _: answer, move=True)
    assert dual.promote(["cat"], promotion, namespace=("users", "marta")) == [None]
    nobody: Any = None
    with pytest.raises(ConsentRequired):
        dual.promote(["cat"], Promotion(lambda draft: draft, nobody), namespace=("users", "marta"))
    with pytest.raises(MemoryNotFound, match="dog"):
        dual.promote(["dog"], Promotion(lambda draft: draft, lambda _: True))
    assert other.calls == []
    assert dual.count() == 1


def test_a_promotion_that_moves_deletes_here_what_is_stored_there(dual: DualStore, other: Watched) -> None:
    promotion = Promotion(lambda draft: draft, lambda _: True, move=True)
    (memory,) = dual.promote(["cat"], promotion, namespace=("users", "marta"))
    assert isinstance(memory, Memory)
    assert (dual.count(), other.inner.count()) == (0, 3)


def test_only_a_store_on_this_device_can_be_personal(personal: LocalStore, other: Watched) -> None:
    elsewhere: Any = MemoryStore
    with pytest.raises(SettingsError, match="on this device"):
        DualStore(elsewhere, personal)
    with pytest.raises(SettingsError, match="budget_s"):
        join(personal, other, budget_s=0)
    with pytest.raises(SettingsError, match="privacy_mode"):
        join(personal, other, privacy_mode="lax")


async def test_the_door_opens_to_both_sides_and_local_verbs_are_for_the_device(dual: DualStore, other: Watched) -> None:
    door = EnhancedMemoryStore(dual)
    hits = await door.search(Query(text="water", channel="both"))
    assert len(hits) == 3
    assert await door.verify() == []
    await door.close()
    reverse: Any = other
    with pytest.raises(NotOnThisChannel):
        await EnhancedMemoryStore(DualStore(Device(dual.personal), reverse)).verify()  # type: ignore[arg-type]  # any store
    with pytest.raises(InvalidField, match="channel"):
        Draft(text="a", channel="both")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InvalidQuery, match="channel"):
        Query(text="a", channel="all")  # type: ignore[arg-type]  # on purpose


class Device:
    """A store of somebody else's making, on this device."""

    on_device = True

    def __init__(self, inner: MemoryStore) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)
