import threading
from collections.abc import Callable

from ums_core.index.background import Background
from ums_core.index.faiss_tuning import (
    DEFAULT_PARAMS,
    build_threads,
    growth,
    is_bulk,
    probe_pays,
    probe_width,
    save_is_due,
    walk_width,
    wider,
)


def test_the_thresholds_decide_as_documented() -> None:
    params = DEFAULT_PARAMS
    assert growth(params, graph=0, dead=0, tail=params.exact_below) == "none"
    assert growth(params, graph=0, dead=0, tail=params.exact_below + 1) == "rebuild"
    assert growth(params, graph=10_000, dead=0, tail=1024) == "none"
    assert growth(params, graph=10_000, dead=0, tail=1025) == "merge"
    assert growth(params, graph=1_000_000, dead=0, tail=9000) == "none"
    assert growth(params, graph=10_000, dead=2501, tail=0) == "rebuild"
    assert is_bulk(graph=100, tail=51)
    assert not is_bulk(graph=100, tail=50)
    assert build_threads(2, idle_s=1.0) == 2
    assert build_threads(2, idle_s=0.1) == build_threads(1, idle_s=0.1) == 1
    assert save_is_due(changed=101, rows=1000)
    assert not save_is_due(changed=100, rows=1000)
    assert walk_width(params, 10, 100_000) == 96
    assert walk_width(params, 100, 100_000) == 200
    assert walk_width(params, 4000, 100_000) is None
    assert wider(96, 100_000) == 384
    assert wider(1536, 100_000) is None
    assert probe_width(params, 10, allowed=10_000, rows=100_000) == 164
    assert probe_width(params, 10, allowed=90_000, rows=100_000) == 96
    assert probe_width(params, 10, allowed=1000, rows=100_000) is None
    assert probe_pays(164, allowed=10_000, misses=0, scanned=False)
    assert not probe_pays(164, allowed=10_000, misses=2, scanned=False)
    assert not probe_pays(164, allowed=10_000, misses=0, scanned=True)


def test_work_that_is_due_is_done_once_by_one_thread() -> None:
    changed_, jobs, done = threading.Condition(), [1, 2, 3], list[tuple[int, str]]()

    def due() -> Callable[[], object] | None:
        return (lambda: done.append((jobs.pop(0), threading.current_thread().name))) if jobs else None

    background = Background(changed_, due)
    with changed_:
        background.settle()
        background.settle()
    assert done == [(1, "ums-index"), (2, "ums-index"), (3, "ums-index")]
