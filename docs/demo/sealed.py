"""The end of the demo: what can be read in the raw files of a sealed store, and in those of a plain copy of it."""

import os
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ums_core import Draft, UnifiedSettings, open_store

KINDS = ("its text", "a keyword of it", "the floats of its vector")
WORD = "zqwxkjvbpdmf"
CANARY = Draft(
    id="canary", text=f"The word for the locker is {WORD}, and nobody else may know it.", namespace=("demo",)
)


def settings(database: Path, key: str | None) -> UnifiedSettings:
    """Settings of a store on a file, sealed under a key or plain."""
    security = {"encrypt_at_rest": True, "encryption_key": key} if key else {}
    return UnifiedSettings(database={"url": f"sqlite:///{database.resolve()}"}, security=security)


def key_in(directory: Path) -> str:
    """The key of the demo, made at its first run; a real one comes from a keyring, Vault or AWS KMS."""
    file = directory / "demo.key"
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(urlsafe_b64encode(os.urandom(32)).decode())
    return file.read_text()


def found(directory: Path, needles: dict[str, bytes]) -> set[str]:
    """Which of the needles stand anywhere in the files of a directory."""
    contents = [path.read_bytes() for path in directory.rglob("*") if path.is_file()]
    return {kind for kind, needle in needles.items() if any(needle in content for content in contents)}


def prove(sealed: UnifiedSettings, control: UnifiedSettings, drafts: Sequence[Draft], console: Console) -> bool:
    """Search the files of a sealed store and of a plain copy of it for a canary; whether all is as it should be."""
    with open_store(sealed) as store:
        store.add([CANARY])
        (memory,) = store.get(["canary"], namespace=CANARY.namespace, vectors=True)
    if memory is None:
        raise LookupError("the canary was added, and is not there")
    with open_store(control) as store:
        store.add([*drafts, CANARY])
    vector = np.asarray(memory.passages[0].vector, np.float32)
    # Of the keyword its end: words in an index share their beginnings.
    needles = dict(zip(KINDS, (CANARY.text.encode(), WORD[-8:].encode(), vector[:8].tobytes()), strict=True))
    in_sealed, in_control = (found(each.database.path.parent, needles) for each in (sealed, control))
    table = Table(title="Searched for in the raw files", title_justify="left")
    for column in ("of a canary", "sealed store", "plain copy"):
        table.add_column(column)
    for kind in KINDS:
        table.add_row(kind, *("FOUND" if kind in where else "not found" for where in (in_sealed, in_control)))
    console.print(table)
    return not in_sealed and in_control == set(KINDS)
