"""Threads that are started when they are needed, and finish what they took."""

import gc
import subprocess
import sys
import time
from threading import Barrier, Event, current_thread
from weakref import ref

from ums_core.channels.threads import Threads

SECONDS = 20


def until_free(threads: Threads, count: int) -> None:
    deadline = time.monotonic() + SECONDS
    while threads._shared.free != count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_jobs_one_after_the_other_need_one_thread_and_jobs_at_once_no_more_than_the_most() -> None:
    threads = Threads(3, "hand")
    names: list[str] = []
    for _ in range(5):
        assert threads.take(lambda: names.append(current_thread().name))
        until_free(threads, 1)
    assert names == ["hand_0"] * 5
    together, done = Barrier(4), Event()
    for _ in range(3):
        threads.take(lambda: together.wait(SECONDS))
    # It waits until one of the three is free.
    threads.take(done.set)
    assert [thread.name for thread in threads.started] == ["hand_0", "hand_1", "hand_2"]
    assert not done.is_set()
    together.wait(SECONDS)
    assert done.wait(SECONDS)
    threads.end()


def test_what_was_taken_before_the_end_is_done_and_nothing_after_it() -> None:
    threads = Threads(2, "hand")
    go, did = Event(), []
    for number in range(6):
        assert threads.take(lambda number=number: (go.wait(SECONDS), did.append(number)))
    threads.end()
    assert not threads.take(lambda: did.append(-1))
    go.set()
    for thread in threads.started:
        thread.join(SECONDS)
        assert not thread.is_alive()
    assert sorted(did) == list(range(6))


def test_threads_that_nobody_holds_any_more_end() -> None:
    threads = Threads(1, "hand")
    threads.take(lambda: None)
    until_free(threads, 1)
    (thread,) = threads.started
    del threads
    gc.collect()
    thread.join(SECONDS)
    assert not thread.is_alive()


class Idle:
    """A job that does nothing."""

    def __call__(self) -> None:
        return None


def test_a_thread_that_waits_keeps_nothing_of_its_last_job() -> None:
    threads = Threads(1, "hand")
    job = Idle()
    seen = ref(job)
    threads.take(job)
    del job
    until_free(threads, 1)
    assert seen() is None
    threads.end()


def test_the_interpreter_ends_after_what_was_taken() -> None:
    program = """
import time
from ums_core.channels.threads import Threads
threads = Threads(1, "hand")
threads.take(lambda: (time.sleep(0.2), print("done", flush=True)))
"""
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert (told.stdout, told.stderr) == ("done\n", "")


def test_the_end_of_the_interpreter_waits_for_threads_unless_they_are_another_process_s() -> None:
    threads, did = Threads(1, "hand"), []
    threads.take(lambda: (time.sleep(0.1), did.append(1)))
    last = threads._last
    # What the interpreter calls when it ends.
    last()
    assert did == [1]
    other = Threads(1, "hand")
    other.disown()
    assert not other._last.alive
