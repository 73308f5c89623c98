"""Group commit."""

import signal
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from ums_core.errors import StorageError
from ums_core.storage.companions import Companions
from ums_core.storage.writer import GroupWriter

Work = Callable[[list[str]], object]


class Log:
    """Stands where a database would: a transaction is a list that is kept or thrown away."""

    def __init__(self) -> None:
        self.committed: list[str] = []
        self.commits = 0
        self.entered = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def transact(self, works: Sequence[Work]) -> list[object]:
        self.entered.set()
        assert self.go.wait(10)
        pending: list[str] = []
        results = [work(pending) for work in works]
        self.committed += pending
        self.commits += 1
        return results


def interrupted(writer: GroupWriter[list[str]], waits: Callable[[], bool], before: Callable[[], object]) -> None:
    """Submit a work, and interrupt this thread as soon as it waits."""

    def interrupt(*_: object) -> None:
        before()
        raise KeyboardInterrupt

    def disturb() -> None:
        while not waits():
            # Who asks for a lock again and again may keep everybody else from it.
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    former = signal.signal(signal.SIGUSR1, interrupt)
    try:
        threading.Thread(target=disturb).start()
        with pytest.raises(KeyboardInterrupt):
            writer.submit(lambda pending: pending.append("mine"))
    finally:
        signal.signal(signal.SIGUSR1, former)


def fail(_pending: list[str]) -> object:
    raise LookupError("mine alone")


def test_the_result_of_the_work_comes_back() -> None:
    log = Log()
    assert GroupWriter(log.transact).submit(lambda pending: pending.append("a") or 7) == 7
    assert log.committed == ["a"]


def test_threads_that_wait_share_one_commit_and_one_that_fails_fails_alone() -> None:
    log = Log()
    writer = GroupWriter(log.transact)
    outcomes: dict[str, object] = {}

    def run(name: str, work: Work) -> None:
        try:
            outcomes[name] = writer.submit(work)
        except LookupError as error:
            outcomes[name] = error

    log.go.clear()
    first = threading.Thread(target=run, args=("first", lambda pending: pending.append("first")))
    first.start()
    assert log.entered.wait(10)
    works: dict[str, Work] = {name: (lambda pending, name=name: pending.append(name)) for name in "abc"}
    others = [threading.Thread(target=run, args=item) for item in [*works.items(), ("bad", fail)]]
    for thread in others:
        thread.start()
    while len(writer._waiting) < len(others):
        pass
    log.go.set()
    for thread in [first, *others]:
        thread.join(10)
    assert sorted(log.committed) == ["a", "b", "c", "first"]
    assert isinstance(outcomes.pop("bad"), LookupError)
    assert set(outcomes) == {"first", "a", "b", "c"}
    # One for the first, then the group failed and each was tried alone.
    assert log.commits == 4


def test_an_interrupt_amid_single_tries_spares_what_was_committed_and_is_told_to_the_rest() -> None:
    log = Log()
    writer = GroupWriter(log.transact)
    outcomes: dict[str, object] = {}
    tried = threading.Event()

    def interrupted(_pending: list[str]) -> object:
        if not tried.is_set():
            tried.set()
            raise LookupError("not together with others")
        raise KeyboardInterrupt

    def run(name: str, work: Work) -> None:
        try:
            outcomes[name] = writer.submit(work)
        except (KeyboardInterrupt, StorageError) as error:
            outcomes[name] = error

    log.go.clear()
    first = threading.Thread(target=run, args=("first", lambda pending: pending.append("first")))
    first.start()
    assert log.entered.wait(10)
    others: list[threading.Thread] = []
    named: list[tuple[str, Work]] = [("fine", lambda pending: pending.append("fine")), ("broken", interrupted)]
    for name, work in named:
        others.append(threading.Thread(target=run, args=(name, work)))
        others[-1].start()
        while len(writer._waiting) < len(others):
            pass
    log.go.set()
    for thread in [first, *others]:
        thread.join(10)
    assert log.committed == ["first", "fine"]
    assert isinstance(outcomes["fine"], KeyboardInterrupt)
    assert isinstance(outcomes["broken"], StorageError)
    assert "idempotency key" in str(outcomes["broken"])
    assert writer.submit(lambda pending: pending.append("after")) is None


def test_an_interrupt_of_the_leader_is_raised_there_and_leaves_the_writer_usable() -> None:
    log = Log()
    writer = GroupWriter(log.transact)

    def interrupted(_pending: list[str]) -> object:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writer.submit(interrupted)
    assert writer.submit(lambda pending: pending.append("after")) is None
    assert log.committed == ["after"]


@pytest.mark.parametrize("its_turn", [False, True])
def test_an_interrupt_of_a_thread_that_waits_leaves_no_turn_that_others_wait_for(*, its_turn: bool) -> None:
    log = Log()
    writer = GroupWriter(log.transact)
    log.go.clear()
    first = threading.Thread(target=writer.submit, args=(lambda pending: pending.append("first"),))
    first.start()
    assert log.entered.wait(10)

    def waits() -> bool:
        with writer._mutex:
            return bool(writer._waiting)

    def give_turn() -> None:
        if its_turn:
            log.go.set()
            first.join(10)

    interrupted(writer, waits, give_turn)
    log.go.set()
    first.join(10)
    after = threading.Thread(target=writer.submit, args=(lambda pending: pending.append("after"),), daemon=True)
    after.start()
    after.join(10)
    assert log.committed == ["first", "after"]


def test_an_interrupt_while_a_commit_is_held_back_leaves_the_writer_usable() -> None:
    log = Log()
    writer = GroupWriter(log.transact)
    companions = writer._companions = Companions(patience_s=60)
    companions.committed(2, 3600)

    interrupted(writer, lambda: bool(companions.waits), lambda: None)
    writers = [threading.Thread(target=writer.submit, args=(lambda p, n=name: p.append(n),)) for name in ("a", "b")]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join(10)
    assert sorted(log.committed) == ["a", "b"]
    assert log.commits == 1
