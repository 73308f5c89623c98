"""A data key is exchanged under load, and the process is killed, at every step and at random: nothing lost or old."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from thorough import count

from ums_core import Query
from ums_core.storage.copies import checked
from ums_core.testing.samples import assert_found, unit
from ums_core.testing.sealed import SEALED
from ums_core.testing.workload import Place, version_of

pytestmark = [pytest.mark.faults, pytest.mark.no_cover, pytest.mark.needs_sqlcipher]

STEPS = ("begin", "before promote", "promote", "before retire", "retire")
ROUNDS = count(1, 15)
AT_RANDOM = count(3, 130)
BASE = 600
DIM = 16

# Writes and rotates at once; ends itself at a step, or is ended from outside.
PROGRAM = """if True:
    import json, os, signal, sys, threading
    from ums_core.testing.workload import Place
    given = json.loads(sys.argv[1])
    place = Place(**given | {"without": ()})
    prefix, end_at, wait = sys.argv[2:5]
    store = place.open()
    ring = store._database.guard.sealing.keys

    def die_at(step):
        if step == end_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def told(name):
        done = getattr(ring, name)
        def step(*given):
            die_at(f"before {name}")
            result = done(*given)
            die_at(name)
            return result
        setattr(ring, name, step)

    for name in ("begin", "promote", "retire"):
        told(name)

    def rotate():
        written.wait()
        while True:
            store.rotate()

    written = threading.Event()
    threading.Thread(target=rotate, daemon=True).start()
    number = 0
    while True:
        id_ = f"{prefix}-{number}"
        store.add([place.draft(id_, 0)])
        os.write(1, (id_ + "\\n").encode())
        number += 1
        if number == 3:
            written.set()
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("filled")
    place = Place(str(directory / "memory.db"), security=SEALED)
    with place.open() as store:
        store.add([place.draft(f"base-{number}", 0) for number in range(BASE)])
    return directory


def _killed(place: Place, prefix: str, end_at: str, after_s: float) -> set[str]:
    """What a process acknowledged that was killed at a step, or so long after its first writes."""
    command = [sys.executable, "-c", PROGRAM, json.dumps(asdict(place)), prefix, end_at, str(after_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(3)]
        if end_at == "random":
            time.sleep(after_s)
            process.kill()
        lines += process.stdout.read().split("\n")
        assert process.wait() == -signal.SIGKILL
    return {line for line in lines if line}


def _audit(place: Place, acknowledged: set[str]) -> None:
    """Everything acknowledged is there and right, and once the rotation is done, no byte is under an old key."""
    with place.open() as store:
        health = store.health()
        assert health.status == "ok", health.detail
        state = store.rotate()
        assert (state.pending, state.former) == (None, ())
        sealing = store._database.guard.sealing
        assert sealing is not None
        held = {memory.id: version_of(memory, DIM) for memory in store.scan(limit=1_000_000).memories}
        assert acknowledged <= set(held)
        assert store.verify() == []
        assert store.verify_history() == []
        for id_ in random.Random(1).sample(sorted(acknowledged), 10):
            assert_found(store.search(Query(vector=unit(f"{id_}#0", DIM), k=1)), id_)
    # Every page is right under the one key that is left, and so is the index.
    assert checked(Path(place.path), sealing.page_key)[1] == len(held)
    directory = Path(place.path).parent
    (snapshot,) = directory.glob("*.index")
    assert bytes.fromhex(state.active) in snapshot.read_bytes()[:64]
    keys = json.loads((directory / "memory.db.keys.json").read_text())["keys"]
    assert {key["state"] for key in keys if key["slots"]} == {"active"}


def test_a_kill_at_any_moment_of_a_rotation_loses_no_write_and_leaves_nothing_under_the_old_key(
    filled: Path, tmp_path: Path
) -> None:
    shutil.copytree(filled, tmp_path / "store", ignore=shutil.ignore_patterns("*.lock"))
    place = Place(str(tmp_path / "store" / "memory.db"), security=SEALED)
    acknowledged = {f"base-{number}" for number in range(BASE)}
    rng = random.Random(7)
    kills = [*(STEPS * ROUNDS), *(["random"] * AT_RANDOM)]
    rng.shuffle(kills)
    for number, end_at in enumerate(kills):
        acknowledged |= _killed(place, f"k{number}", end_at, rng.uniform(0, 0.25))
        # Some are killed again before anybody looks.
        if number % 3 != 1:
            _audit(place, acknowledged)
    _audit(place, acknowledged)
    assert len(acknowledged) > BASE + 3 * len(kills) - 1
