"""The power goes at any moment, and what the disk holds opens: all that was acknowledged is there, nothing is wrong.

``UMS_THOROUGH=1`` builds 150 images of each kind; every run builds a few.
"""

import json
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from power_loss import Recording, record, strace_works
from thorough import count

from ums_core import LocalStore, Query
from ums_core.crypto import Envelope
from ums_core.crypto.keyring import Keyring
from ums_core.crypto.local import LocalSource
from ums_core.errors import UMSError
from ums_core.testing.sealed import SEALED, SEALED_FIELDS
from ums_core.testing.workload import Place, perform, rare_word, version_of

pytestmark = [
    pytest.mark.faults,
    pytest.mark.no_cover,
    pytest.mark.needs_sqlcipher,
    pytest.mark.skipif(not strace_works(), reason="needs strace, and the right to trace: apt-get install strace"),
]

IMAGES = count(12, 150)
OBEY = """if True:
    import sys
    from ums_core.testing.workload import main
    main(sys.argv[1:], sys.stdin, lambda line: print(line, flush=True))
"""
State = dict[str, int]
Order = Mapping[str, Any]


def moments(recording: Recording, seed: int) -> Iterator[int]:
    """Where to cut: any moment at which something happened, each equally likely."""
    rng = random.Random(seed)
    for _ in range(IMAGES):
        yield rng.choice(recording.moments)


def after(states: State, order: Order) -> State:
    """What there is after an order."""
    if order["verb"] in {"add", "update"}:
        return states | order["effect"]
    gone = set(order["effect"]) if order["verb"] == "delete" else set(order.get("ids", ()))
    return {id_: version for id_, version in states.items() if id_ not in gone}


def audit(place: Place, allowed: list[State]) -> None:
    """The store opens, is one of the states, answers rightly, and takes a write."""
    with place.open() as store:
        found = _held(store, place)
        assert found in allowed
        assert store.verify() == []
        health = store.health()
        assert (health.status, health.detail) == ("ok", ())
        for id_, version in list(found.items())[:3]:
            words = Query(text=rare_word(id_, version), mode="keyword", k=1)
            assert [hit.memory.id for hit in store.search(words)] == [id_]
        perform(store, place, "add", {"z-after": 0})
        assert _held(store, place) == found | {"z-after": 0}
        assert store.verify_history() == []


def _held(store: LocalStore, place: Place) -> State:
    return {memory.id: version_of(memory, place.dim) for memory in store.scan(limit=100_000).memories}


def lose_power(tmp_path: Path, orders: list[Order], before: State, **more: object) -> None:
    """Record the orders in a process, cut the power at some moments, and audit what is left."""
    directory = tmp_path / "live"
    directory.mkdir()
    place = Place(str(directory / "memory.db"), **cast("Any", more))
    with place.open() as store:
        perform(store, place, "add", before)
    told = "".join(json.dumps(order) + "\n" for order in orders)
    command = [sys.executable, "-c", OBEY, "obey", place.to_json()]
    recording = record(directory, command, told, tmp_path / "strace.log")
    (tmp_path / "strace.log").unlink()
    states = [before]
    for order in orders:
        states.append(after(states[-1], order))
    errors = [line for _, line in recording.said if "error" in line]
    assert not errors
    for number, moment in enumerate(moments(recording, seed=len(orders))):
        acknowledged = max(0, len(recording.acknowledged(moment)) - 1)  # the first line says ready
        image = tmp_path / f"image-{number}"
        recording.image(image, moment, seed=number)
        audit(
            Place(str(image / "memory.db"), **cast("Any", more)),
            [states[n] for n in range(acknowledged, len(states))][:2],
        )


def _some(prefix: str, numbers: range, version: int = 0) -> dict[str, int]:
    return {f"{prefix}-{number}": version for number in numbers}


@pytest.mark.parametrize("security", [{}, SEALED, SEALED_FIELDS], ids=["plain", "pages", "fields"])
def test_no_acknowledged_add_or_update_is_lost(tmp_path: Path, security: dict[str, object]) -> None:
    orders: list[Order] = []
    for number in range(12):
        orders.append({"verb": "add", "effect": _some(f"a{number}", range(4))})
        orders.append({"verb": "update", "effect": _some("b", range(number % 3, 6), number + 1)})
    lose_power(tmp_path, orders, _some("b", range(6)), security=security, checkpoint_writes=5)


def test_no_acknowledged_deletion_is_undone(tmp_path: Path) -> None:
    orders: list[Order] = []
    for number in range(0, 30, 3):
        orders.append({"verb": "delete", "effect": dict.fromkeys([f"a-{number}", f"a-{number + 1}"])})
        orders.append({"verb": "erase", "ids": [f"a-{number + 2}"]})
    lose_power(tmp_path, orders, _some("a", range(36)), security=SEALED, checkpoint_writes=5)


@pytest.mark.parametrize("backend", ["exact", pytest.param("faiss", marks=pytest.mark.needs_faiss)])
def test_an_index_that_was_being_saved_is_right_or_rebuilt(tmp_path: Path, backend: str) -> None:
    orders: list[Order] = []
    for number in range(8):
        orders.append({"verb": "add", "effect": _some(f"a{number}", range(6))})
        orders.append({"verb": "settle"})
    lose_power(tmp_path, orders, _some("b", range(40)), security=SEALED, backend=backend)


@pytest.mark.parametrize("security", [SEALED, SEALED_FIELDS], ids=["pages", "fields"])
def test_a_rotation_that_was_cut_off_is_seen_through(tmp_path: Path, security: dict[str, object]) -> None:
    orders: list[Order] = []
    for number in range(4):
        orders += [{"verb": "add", "effect": _some(f"a{number}", range(3))}, {"verb": "rotate"}]
    lose_power(tmp_path, orders, _some("b", range(12)), security=security)


# Key files


KEYS = """if True:
    import sys
    from pathlib import Path
    from ums_core.crypto import Envelope
    from ums_core.crypto.keyring import Keyring
    from ums_core.crypto.local import LocalSource

    place = Path(sys.argv[1])
    ring = Keyring.open(place / "keyring.json")
    envelope = Envelope.open(place / "memory.db.keys.json", LocalSource(ring, "main"))

    def say(*words):
        print(*words, flush=True)

    def states():
        return ",".join(key.key_id + ":" + key.state for key in envelope.status().keys)

    for _ in range(6):
        say("version", ring.add("main"))
        envelope.rewrap()
        envelope.begin()
        say("states", states())
        envelope.promote()
        say("states", states())
        envelope.retire(envelope.retired[0].key_id)
        say("states", states())
"""


def test_key_files_are_the_old_ones_or_the_new_ones(tmp_path: Path) -> None:
    directory = tmp_path / "live"
    directory.mkdir()
    ring = Keyring.create(directory / "keyring.json", "main")
    Envelope.create(directory / "memory.db.keys.json", LocalSource(ring, "main"))
    recording = record(directory, [sys.executable, "-c", KEYS, str(directory)], "", tmp_path / "strace.log")
    assert len(recording.said) == 24
    for number, moment in enumerate(moments(recording, seed=1)):
        image = tmp_path / f"image-{number}"
        recording.image(image, moment, seed=number)
        said = [line.split() for line in recording.acknowledged(moment)]
        versions = [int(value) for what, value in said if what == "version"]
        found = Keyring.open(image / "keyring.json")
        newest = found.versions("main")[-1].number
        assert newest in {max(versions, default=1), max(versions, default=1) + 1}
        envelope = Envelope.open(image / "memory.db.keys.json", LocalSource(found, "main"))
        assert len([*envelope.keys, *envelope.retired]) >= 1
        told = [dict(pair.split(":") for pair in value.split(",")) for what, value in said if what == "states"]
        now = {key.key_id: key.state for key in envelope.status().keys}
        order = ["pending", "active", "retired", "destroyed"]
        for key_id, state in (told[-1] if told else {}).items():
            assert order.index(now[key_id]) >= order.index(state)
        assert envelope.begin() is not None


def test_the_check_sees_what_was_not_synced(tmp_path: Path) -> None:
    """Control: the same keyring written without a sync of the file is lost in some image."""
    directory = tmp_path / "live"
    directory.mkdir()
    Keyring.create(directory / "keyring.json", "main")
    careless = (
        "import os, sys; from pathlib import Path; p = Path(sys.argv[1]) / 'keyring.json'; t = p.with_suffix('.new')\n"
        "t.write_bytes(p.read_bytes() + b' '); os.replace(t, p); print('done', flush=True)"
    )
    recording = record(directory, [sys.executable, "-c", careless, str(directory)], "", tmp_path / "strace.log")
    lost: list[str] = []
    for seed in range(40):
        image = tmp_path / f"image-{seed}"
        recording.image(image, recording.moments[-1], seed)
        lost += [str(seed)] if not _opens(image / "keyring.json") else []
    assert lost


def _opens(path: Path) -> bool:
    try:
        Keyring.open(path)
    except UMSError:
        return False
    return True
