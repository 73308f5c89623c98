"""Whatever happens to a file of a sealed database, it answers rightly, says that something is wrong, or does not open.

Once with sealed pages, once with sealed fields.
``UMS_THOROUGH=1`` makes 600 changes at random; every run makes some, and all of those that are systematic.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from thorough import count

from ums_core import LocalStore, Query
from ums_core.crypto.keyring import Keyring
from ums_core.errors import UMSError
from ums_core.testing.samples import unit
from ums_core.testing.workload import Place, perform, rare_word, version_of

pytestmark = [pytest.mark.faults, pytest.mark.no_cover, pytest.mark.fuzz, pytest.mark.needs_sqlcipher]

RANDOM = count(60, 600)
FILES = [
    "memory.db",
    "memory.db-wal",
    "memory.db.text.index",
    "memory.db.keys.json",
    "memory.db.anchor",
    "keyring.json",
]
FIRST = {f"a-{number}": 0 for number in range(20)}
LATER = {f"a-{number}": 1 for number in range(5)} | {f"b-{number}": 0 for number in range(5)}
STATE = FIRST | LATER


@dataclass(frozen=True)
class Kept:
    """A database as a killed process left it, the same closed, the same earlier, and another one under the same key."""

    now: Path
    closed: Path
    earlier: Path
    other: Path


@dataclass(frozen=True)
class Damage:
    """One change of one file."""

    name: str
    file: str
    change: Callable[[Path], object]


def place_in(directory: Path) -> Place:
    security = {
        "encrypt_at_rest": "pages" in directory.parts,
        "kms_backend": "local",
        "kms_key_id": "main",
        "kms_params": {"path": str(directory / "keyring.json")},
    }
    # The log is folded when the store is closed alone, so that there is one to be damaged.
    return Place(str(directory / "memory.db"), security=security, checkpoint_writes=1_000_000)


@pytest.fixture(scope="module", params=["pages", "fields"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    root = tmp_path_factory.mktemp("kept") / request.param
    root.mkdir()
    live = root / "live"
    live.mkdir()
    Keyring.create(live / "keyring.json", "main")
    place = place_in(live)
    with place.open() as store:
        perform(store, place, "add", FIRST)
        store.settle()
    shutil.copytree(live, root / "earlier")
    with place.open() as store:
        perform(store, place, "add", {id_: version for id_, version in LATER.items() if id_.startswith("b")})
        perform(store, place, "update", {id_: version for id_, version in LATER.items() if id_.startswith("a")})
        # As a killed process leaves it: with its log.
        shutil.copytree(live, root / "now")
    shutil.copytree(live, root / "closed")
    other = root / "other"
    other.mkdir()
    shutil.copy(live / "keyring.json", other)
    with place_in(other).open() as store:
        perform(store, place, "add", {f"c-{number}": 0 for number in range(20)})
        store.settle()
        shutil.copy(other / "memory.db-wal", root / "wal")
    shutil.copy(root / "wal", other / "memory.db-wal")
    assert sorted(set(FILES) - {path.name for path in (root / "now").iterdir()}) == []
    return Kept(root / "now", root / "closed", root / "earlier", other)


def outcome(directory: Path) -> str:
    """How the database is, once it has been asked; AssertionError where it said anything wrong."""
    place = place_in(directory)
    try:
        with place.open() as store:
            return _asked(store, place)
    except UMSError as error:
        return error.code


def _asked(store: LocalStore, place: Place) -> str:
    # Every memory must be one that was stored, in a version that it had: version_of sees to that.
    memories = store.scan(limit=1000).memories
    held = {memory.id: version_of(memory, place.dim) for memory in memories}
    assert all(version <= STATE[id_] for id_, version in held.items())
    for id_ in ("a-1", "a-19", "b-2"):
        words = store.search(Query(text=rare_word(id_, STATE[id_]), mode="keyword", k=1))
        near = store.search(Query(vector=unit(f"{id_}#{STATE[id_]}", place.dim), k=1))
        for hit in (*words, *near):
            assert version_of(hit.memory, place.dim) == held[hit.memory.id]
        if held == STATE:
            assert [hit.memory.id for hit in (*words, *near)] == [id_, id_]
    # It says what it says; that it says it is enough where the database is damaged.
    doubts = store.verify_history()
    assert store.history("a-1", namespace=("a",))
    status = store.health().status
    if status != "degraded":
        assert held == STATE
        assert (store.verify(), doubts) == ([], [])
    return status


def flipped(offset: float, bit: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(offset * (len(content) - 1))] ^= 1 << bit
        path.write_bytes(content)

    return change


def cut(share: float) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def zeroed(offset: float) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        start = int(offset * max(0, len(content) - 512))
        content[start : start + 512] = bytes(min(512, len(content) - start))
        path.write_bytes(content)

    return change


def moved(source: float, target: float) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        last = max(0, len(content) - 4096)
        start, end = (int(share * last / 4096) * 4096 for share in (source, target))
        content[end : end + 4096] = content[start : start + 4096]
        path.write_bytes(content)

    return change


def exchanged(directory: Path, file: str) -> Callable[[Path], None]:
    source = directory / file
    return lambda path: path.write_bytes(source.read_bytes() if source.exists() else b"")


def systematic(kept: Kept) -> Iterator[Damage]:
    for file in FILES:
        yield Damage("gone", file, Path.unlink)
        yield Damage("empty", file, lambda path: path.write_bytes(b""))
        yield Damage("half", file, cut(0.5))
        yield Damage("one byte short", file, lambda path: path.write_bytes(path.read_bytes()[:-1]))
        yield Damage("longer", file, lambda path: path.write_bytes(path.read_bytes() + b"\0" * 4096))
        yield Damage("another's", file, exchanged(kept.other, file))
        yield Damage("an older one", file, exchanged(kept.earlier, file))
        yield Damage("the first byte", file, flipped(0, 0))
        yield Damage("the last byte", file, flipped(1, 7))


def at_random(rng: random.Random, files: list[str]) -> Damage:
    kinds = [
        lambda: ("flipped", flipped(rng.random(), rng.randrange(8))),
        lambda: ("flipped", flipped(rng.random(), rng.randrange(8))),
        lambda: ("cut", cut(rng.random())),
        lambda: ("zeroed", zeroed(rng.random())),
        lambda: ("moved", moved(rng.random(), rng.random())),
    ]
    name, change = rng.choice(kinds)()
    return Damage(name, rng.choice(files), change)


def suffered(before: Path, damage: Damage, tmp_path: Path) -> str:
    directory = tmp_path / before.parent.name / "copy"
    shutil.copytree(before, directory)
    try:
        damage.change(directory / damage.file)
        return outcome(directory)
    finally:
        shutil.rmtree(directory)


def test_the_database_as_it_was_left_is_whole(kept: Kept, tmp_path: Path) -> None:
    for before in (kept.now, kept.closed):
        assert suffered(before, Damage("nothing", "memory.db", Path.exists), tmp_path) == "ok"


def test_every_file_may_be_lost_cut_or_exchanged(kept: Kept, tmp_path: Path) -> None:
    outcomes = {(d.file, d.name): suffered(kept.now, d, tmp_path) for d in systematic(kept)}
    # What the index has lost is made again; what the rest has lost is said, or stands in the log.
    assert {said for (file, _), said in outcomes.items() if file.endswith(".index")} <= {"ok", "recovering"}
    for file in ("memory.db", "memory.db-wal", "memory.db.anchor"):
        for name in ("gone", "another's"):
            assert outcomes[file, name] not in {"ok", "recovering"}, (file, name)
    assert outcomes["memory.db-wal", "an older one"] not in {"ok", "recovering"}
    for name in ("gone", "empty", "half", "another's", "the last byte"):
        assert outcomes["memory.db.keys.json", name].startswith(("key_", "wrong_key")), outcomes
    assert outcomes["keyring.json", "gone"] == "key_missing"


def test_what_becomes_of_a_closed_database_is_noticed_when_it_is_opened(kept: Kept, tmp_path: Path) -> None:
    # A bit inside a page shows when that page is read; here it is the proofs of pages, and pages that changed places.
    for name, change in {
        "gone": Path.unlink,
        "half": cut(0.5),
        "older": exchanged(kept.earlier, "memory.db"),
        "another's": exchanged(kept.other, "memory.db"),
        "first": flipped(0, 0),
        "last": flipped(1, 7),
        "pages moved": moved(0.5, 1),
    }.items():
        said = suffered(kept.closed, Damage(name, "memory.db", change), tmp_path)
        assert said not in {"ok", "recovering"}, name


def test_no_change_at_random_makes_it_say_anything_wrong(kept: Kept, tmp_path: Path) -> None:
    outcomes: dict[str, int] = {}
    for seed in range(RANDOM):
        rng = random.Random(seed)
        before = rng.choice([kept.now, kept.closed])
        damage = at_random(rng, [file for file in FILES if (before / file).exists()])
        said = f"{before.name} {damage.file}: {suffered(before, damage, tmp_path)}"
        outcomes[said] = outcomes.get(said, 0) + 1
    # Not everything was refused, and not everything went unnoticed.
    assert len(outcomes) > 5
    print(dict(sorted(outcomes.items())))  # noqa: T201  # shown with -s
