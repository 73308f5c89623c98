"""Keys rotate while others write, and the process is killed: nothing acknowledged is lost, and former keys are gone.

``UMS_THOROUGH=1`` kills 200 times at random, and at every step of a rotation, where pages are encrypted and where
fields are sealed; every run does some of it.
"""

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from power_loss import strace_works
from sealed_samples import under
from test_kill import Books
from thorough import count

from ums_core.crypto import Envelope, envelope_path
from ums_core.crypto.keyring import Keyring
from ums_core.crypto.local import LocalSource
from ums_core.errors import StorageError
from ums_core.storage.connect import load_driver
from ums_core.testing.workload import Churn, Place, perform

pytestmark = [pytest.mark.faults, pytest.mark.no_cover, pytest.mark.needs_sqlcipher]

KILLS = count(3, 200)
STEPS = count(3, 200)
# One kill in three comes after a key was exchanged and so many writes were acknowledged, however slow the machine.
MET = 4
MODES = ("pages", "fields")
# Four threads write; this one exchanges the data key, the key that wraps it, and drops the former version of that.
ROTATE = """if True:
    import json, sys
    from pathlib import Path
    from threading import Thread
    from ums_core.crypto import Envelope, envelope_path
    from ums_core.crypto.keyring import Keyring
    from ums_core.crypto.local import LocalSource
    from ums_core.testing.workload import Churn, Ledger, Place, churn

    place, plan = Place(**json.loads(sys.argv[1])), Churn(**json.loads(sys.argv[2]))
    with place.open() as store:
        ring = Keyring.open(Path(place.security["kms_params"]["path"]))
        writers = Thread(target=churn, args=(store, place, Ledger(Path(sys.argv[3])), plan), daemon=True)
        print("ready", flush=True)
        if plan.steps:
            writers.start()
        for _ in range(int(sys.argv[4])):
            store.rotate()
            number = ring.add("main")
            envelope = Envelope.open(envelope_path(Path(place.path)), LocalSource(ring, "main"))
            envelope.rewrap()
            for version in ring.versions("main"):
                if version.number < number:
                    ring.drop("main", version.number)
            print("rotated", flush=True)
"""


def place_in(directory: Path, mode: str = "pages") -> Place:
    security: dict[str, object] = {
        "encrypt_at_rest": mode == "pages",
        "kms_backend": "local",
        "kms_key_id": "main",
        "kms_params": {"path": str(directory / "keyring.json")},
    }
    return Place(str(directory / "memory.db"), security=security)


def started(place: Place, plan: Churn, ledger: Path, rotations: int, *before: str) -> "subprocess.Popen[str]":
    arguments = [place.to_json(), json.dumps(asdict(plan)), str(ledger), str(rotations)]
    command = [*before, sys.executable, "-c", ROTATE, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def envelope_of(place: Place) -> Envelope:
    path = Path(place.path)
    return Envelope.open(envelope_path(path), LocalSource(Keyring.open(path.with_name("keyring.json")), "main"))


def opens(place: Place, key: bytes) -> bool:
    """Whether a page key opens the database."""
    connection = load_driver().connect(place.path)
    try:
        connection.execute("PRAGMA cipher_log_level=NONE")
        connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except load_driver().DatabaseError:
        return False
    finally:
        connection.close()
    return True


def assert_nothing_is_under_a_former_key(place: Place, former: dict[str, bytes]) -> None:
    """The next rotation ends what was begun; then one key and one version are left, and only they open anything."""
    with place.open() as store:
        store.rotate()
        assert store.verify() == []
    envelope = envelope_of(place)
    assert [key.state for key in envelope.status().keys if key.state != "destroyed"] == ["active"]
    former.pop(envelope.active.key_id, None)
    assert former
    if place.security["encrypt_at_rest"]:
        assert opens(place, envelope.active.derive("pages"))
        assert not any(opens(place, key) for key in former.values())
    else:
        assert under(Path(place.path).parent) == {envelope.active.key_id}


@pytest.mark.timeout(count(300, 7200))
@pytest.mark.parametrize("mode", MODES)
def test_killed_at_random_under_load_it_loses_nothing_and_leaves_no_former_key(tmp_path: Path, mode: str) -> None:
    rng, books, former = random.Random(7), Books(), dict[str, bytes]()
    place = place_in(tmp_path, mode)
    Keyring.create(tmp_path / "keyring.json", "main")
    with place.open() as store:
        assert store.count() == 0
    acknowledged = rotated = 0
    for kill in range(KILLS):
        envelope = envelope_of(place)
        former |= {key.key_id: key.derive("pages") for key in (*envelope.keys, *envelope.retired)}
        ledger = tmp_path / f"ledger-{kill}"
        ledger.touch()
        process = started(place, Churn(prefix=f"k{kill}", seed=kill, threads=4), ledger, 1_000_000)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if kill % 3 == 1:
            assert process.stdout.readline() == "rotated\n"
            rotated += 1
            while ledger.read_text().count('["end"') < MET:
                assert process.poll() is None
                time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.6))
        process.kill()
        rotated += process.communicate()[0].count("rotated")
        acknowledged += books.read(ledger)
        with place.open() as store:
            assert store.health().status == "ok"
            books.audit(store, place)
            books.finish_open_calls(store, place)
            assert store.verify() == []
        ledger.unlink()
    assert acknowledged > KILLS
    assert rotated > 0
    assert_nothing_is_under_a_former_key(place, former)


@pytest.mark.timeout(count(300, 7200))
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.skipif(not strace_works(), reason="needs strace, and the right to trace: apt-get install strace")
def test_killed_at_any_step_of_a_rotation_it_goes_on(tmp_path: Path, mode: str) -> None:
    """The process dies at its n-th call that syncs, names or cuts a file, for each n until it lives to the end."""
    place, former = place_in(tmp_path, mode), dict[str, bytes]()
    Keyring.create(tmp_path / "keyring.json", "main")
    effect = {f"a-{number}": 0 for number in range(30)}
    with place.open() as store:
        perform(store, place, "add", effect)
        store.settle()
    calls = "fsync,fdatasync,rename,unlink,ftruncate,link"
    steps = list(range(1, 60)) if STEPS >= 60 else sorted(random.Random(3).sample(range(1, 40), STEPS))
    killed = 0
    for step in steps:
        envelope = envelope_of(place)
        former |= {key.key_id: key.derive("pages") for key in (*envelope.keys, *envelope.retired)}
        tracer = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}")
        inject = ("-e", f"inject={calls}:signal=SIGKILL:when={step}")
        process = started(place, Churn(prefix="n", seed=0, steps=0), Path(os.devnull), 1, *tracer, *inject)
        process.communicate()
        killed += process.returncode != 0
        with place.open() as store:
            assert store.health().status == "ok"
            assert store.count() == len(effect)
            assert store.verify() == []
    assert killed
    assert_nothing_is_under_a_former_key(place, former)


def test_a_key_that_does_not_fit_opens_nothing(tmp_path: Path) -> None:
    """Control of what the tests above look with."""
    place = place_in(tmp_path)
    Keyring.create(tmp_path / "keyring.json", "main")
    with place.open() as store:
        perform(store, place, "add", {"a-1": 0})
    assert opens(place, envelope_of(place).active.derive("pages"))
    assert not opens(place, bytes(32))
    with pytest.raises(StorageError), Place(place.path).open():
        pass
