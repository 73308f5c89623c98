"""What a power loss may leave on a disk, rebuilt from the recorded system calls of a real process.

``strace`` records every call that changes a file, a name or what is durable. An image is what a disk may hold when the
power goes at some point of that record: what was synced is there; of what was written since, each sector of 512 bytes
may be there or not; names changed since the last sync of their directory are there up to some point.
"""

import random
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Recording", "record", "strace_works"]

SECTOR = 512
CALLS = (
    "openat,write,pwrite64,writev,pwritev,lseek,ftruncate,truncate,fallocate,fsync,fdatasync,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,dup,dup2,dup3,close"
)
LINE = re.compile(r"^(\d+)\s+(.*)$")
CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)(.*)$")
BYTES = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
DESCRIPTOR = re.compile(r"^(-?\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>")


@dataclass
class Change:
    """Bytes written at an offset, or a new size where there are none."""

    moment: int
    offset: int
    data: bytes | None


@dataclass(eq=False)
class Inode:
    """A file without a name: what it held at first, how it changed, and when that was synced."""

    first: bytes = b""
    changes: list[Change] = field(default_factory=list)
    syncs: list[tuple[int, int]] = field(default_factory=list)  # begun, done

    def at(self, moment: int, rng: random.Random) -> bytes:
        """What a disk may hold of it."""
        synced = max((begun for begun, done in self.syncs if done <= moment), default=-1)
        content = bytearray(self.first)
        late = [change for change in self.changes if synced <= change.moment <= moment]
        for change in self.changes:
            if change.moment < synced:
                apply(content, change)
        how = rng.choice(["nothing", "everything", "beginning", "some sectors"])
        if how == "beginning":
            late = late[: rng.randint(0, len(late))]
        for change in late if how != "nothing" else []:
            if how == "some sectors":
                torn(content, change, rng)
            else:
                apply(content, change)
        return bytes(content)


def apply(content: bytearray, change: Change) -> None:
    if change.data is None:
        del content[change.offset :]
        content.extend(bytes(change.offset - len(content)))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data


def torn(content: bytearray, change: Change, rng: random.Random) -> None:
    """Apply a change to each sector with even odds."""
    if change.data is None:
        if rng.random() < 0.5:
            apply(content, change)
        return
    start, end = change.offset, change.offset + len(change.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        if rng.random() < 0.5:
            apply(content, Change(change.moment, start, change.data[start - change.offset : stop - change.offset]))
        start = stop


@dataclass
class Open:
    """An open file."""

    inode: Inode
    appends: bool
    offset: int = 0


@dataclass(frozen=True)
class Naming:
    """A name that came to stand for a file, or for none."""

    moment: int
    name: str
    inode: Inode | None


class Recording:
    """What happened to one directory, and what the process said on its standard output.

    Attributes:
        said: the lines, each with the moment at which it was complete.
        moments: moments at which something in the directory changed or was synced.
    """

    def __init__(self, directory: Path, before: dict[str, bytes]) -> None:
        self.directory = directory
        self.said: list[tuple[int, str]] = []
        self.moments: list[int] = []
        self._names: dict[str, Inode] = {name: Inode(content) for name, content in before.items()}
        self._first = dict(self._names)
        self._namings: list[list[Naming]] = []  # each entry is atomic: a rename is two
        self._directory_syncs: list[tuple[int, int]] = []
        self._open: dict[int, Open] = {}
        self._begun: dict[str, tuple[int, str]] = {}
        self._line = ""

    def image(self, into: Path, moment: int, seed: int) -> None:
        """Write what a disk may hold of the directory when the power goes right after a moment."""
        rng = random.Random(seed)
        synced = max((begun for begun, done in self._directory_syncs if done <= moment), default=-1)
        happened = [change for change in self._namings if change[0].moment <= moment]
        surely = sum(1 for change in happened if change[0].moment < synced)
        names: dict[str, Inode | None] = dict(self._first)
        for change in happened[: rng.randint(surely, len(happened))]:
            names.update({naming.name: naming.inode for naming in change})
        into.mkdir()
        for name, inode in names.items():
            if inode is not None:
                (into / name).write_bytes(inode.at(moment, rng))
                (into / name).chmod(0o600)

    def acknowledged(self, moment: int) -> list[str]:
        """The lines that were out at a moment."""
        return [line for when, line in self.said if when <= moment]

    def take(self, moment: int, line: str) -> None:
        """Take up one line of the record."""
        matched = LINE.match(line)
        if matched is None:
            return
        pid, text = matched.groups()
        begun = moment
        if text.endswith("<unfinished ...>"):
            self._begun[pid] = moment, text.removesuffix("<unfinished ...>").rstrip()
            return
        if text.startswith("<... "):
            begun, head = self._begun.pop(pid)
            text = head + text.partition(" resumed>")[2]
        call = CALL.match(text)
        if call is None or int(call[3]) < 0:
            return
        handler = getattr(self, f"_on_{call[1].removesuffix('64')}", None)
        if handler is not None:
            handler((begun, moment), call[2], int(call[3]))

    def _on_openat(self, when: tuple[int, int], arguments: str, result: int) -> None:
        name = self._name_of(text_in(arguments))
        if name is None:
            self._open.pop(result, None)
            return
        if name not in self._names:
            self._name(when[1], {name: Inode()})
        inode = self._names[name]
        if "O_TRUNC" in arguments:
            self._change(when[1], inode, 0, None)
        self._open[result] = Open(inode, "O_APPEND" in arguments)

    def _on_write(self, when: tuple[int, int], arguments: str, result: int) -> None:
        number, data = descriptor_in(arguments)[0], b"".join(bytes_in(arguments))[:result]
        if number == 1:
            self._say(when[1], data.decode())
        elif number in self._open:
            file = self._open[number]
            if file.appends:
                file.offset = self._size(file.inode)
            self._change(when[1], file.inode, file.offset, data)
            file.offset += result

    _on_writev = _on_write

    def _on_pwrite(self, when: tuple[int, int], arguments: str, result: int) -> None:
        number = descriptor_in(arguments)[0]
        if number in self._open:
            data = b"".join(bytes_in(arguments))[:result]
            self._change(when[1], self._open[number].inode, int(arguments.rpartition(", ")[2]), data)

    _on_pwritev = _on_pwrite

    def _on_lseek(self, _when: tuple[int, int], arguments: str, result: int) -> None:
        number = descriptor_in(arguments)[0]
        if number in self._open:
            self._open[number].offset = result

    def _on_ftruncate(self, when: tuple[int, int], arguments: str, _result: int) -> None:
        number = descriptor_in(arguments)[0]
        if number in self._open:
            self._change(when[1], self._open[number].inode, int(arguments.rpartition(", ")[2]), None)

    def _on_fsync(self, when: tuple[int, int], arguments: str, _result: int) -> None:
        number, path = descriptor_in(arguments)
        if number in self._open:
            self._open[number].inode.syncs.append(when)
            self.moments.append(when[1])
        elif Path(path) == self.directory:
            self._directory_syncs.append(when)
            self.moments.append(when[1])

    _on_fdatasync = _on_fsync

    def _on_rename(self, when: tuple[int, int], arguments: str, _result: int) -> None:
        source, target = (self._name_of(text) for text in texts_in(arguments))
        if source is not None and target is not None:
            self._name(when[1], {target: self._names[source], source: None})

    _on_renameat = _on_renameat2 = _on_rename

    def _on_link(self, when: tuple[int, int], arguments: str, _result: int) -> None:
        source, target = (self._name_of(text) for text in texts_in(arguments))
        if source is not None and target is not None:
            self._name(when[1], {target: self._names[source]})

    _on_linkat = _on_link

    def _on_unlink(self, when: tuple[int, int], arguments: str, _result: int) -> None:
        name = self._name_of(text_in(arguments))
        if name is not None:
            self._name(when[1], {name: None})

    _on_unlinkat = _on_unlink

    def _on_close(self, _when: tuple[int, int], arguments: str, _result: int) -> None:
        self._open.pop(descriptor_in(arguments)[0], None)

    def _on_fallocate(self, _when: tuple[int, int], arguments: str, _result: int) -> None:
        assert descriptor_in(arguments)[0] not in self._open, "fallocate is not modelled"

    def _on_truncate(self, _when: tuple[int, int], arguments: str, _result: int) -> None:
        assert self._name_of(text_in(arguments)) is None, "truncate is not modelled"

    def _on_dup(self, _when: tuple[int, int], arguments: str, _result: int) -> None:
        assert descriptor_in(arguments)[0] not in self._open, "dup is not modelled"

    _on_dup2 = _on_dup3 = _on_dup

    def _name_of(self, path: str) -> str | None:
        """The name of a file right in the directory."""
        full = Path(path)
        return full.name if full.parent == self.directory else None

    def _name(self, moment: int, names: dict[str, Inode | None]) -> None:
        self._namings.append([Naming(moment, name, inode) for name, inode in names.items()])
        self.moments.append(moment)
        for name, inode in names.items():
            if inode is None:
                self._names.pop(name, None)
            else:
                self._names[name] = inode

    def _change(self, moment: int, inode: Inode, offset: int, data: bytes | None) -> None:
        inode.changes.append(Change(moment, offset, data))
        self.moments.append(moment)

    def _size(self, inode: Inode) -> int:
        content = bytearray(inode.first)
        for change in inode.changes:
            apply(content, change)
        return len(content)

    def _say(self, moment: int, text: str) -> None:
        *lines, self._line = (self._line + text).split("\n")
        self.said += [(moment, line) for line in lines]


def record(directory: Path, command: Sequence[str], said: str, log: Path) -> Recording:
    """Run a command on a directory under ``strace``, with what it is told on its standard input.

    Paths in the calls must be absolute. The record of a second of writing is some tens of megabytes.
    """
    before = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    done = subprocess.run(
        [
            *("strace", "-f", "-y", "-xx", "-qq", "-s", str(1 << 26), "-e", f"trace={CALLS}", "-e", "signal=none"),
            *("-o", str(log), *command),
        ],
        input=said,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    recording = Recording(directory, before)
    with log.open(encoding="latin-1") as lines:
        for moment, line in enumerate(lines):
            recording.take(moment, line.rstrip("\n"))
    return recording


def strace_works() -> bool:
    """Whether there is an ``strace`` that may trace here."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0  # noqa: S607


def bytes_in(arguments: str) -> list[bytes]:
    return [bytes.fromhex(text.replace("\\x", "")) for text in BYTES.findall(arguments)]


def texts_in(arguments: str) -> list[str]:
    return [data.decode() for data in bytes_in(arguments)]


def text_in(arguments: str) -> str:
    return texts_in(arguments)[0]


def descriptor_in(arguments: str) -> tuple[int, str]:
    matched = DESCRIPTOR.match(arguments)
    if matched is None or matched[1] == "AT_FDCWD":
        return -1, ""
    return int(matched[1]), bytes.fromhex(matched[2].replace("\\x", "")).decode()
