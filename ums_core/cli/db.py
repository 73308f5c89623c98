"""``ums db``: what is done to a database as a whole."""

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic_core import to_jsonable_python

from ums_core import Receipt, restore_store
from ums_core.cli.context import FAILED, Group, namespace_of, of
from ums_core.cli.options import AsJson, Exactly
from ums_core.cli.show import print_json, print_table, progress, tell
from ums_core.errors import InvalidInput

__all__ = ["db"]

db = typer.Typer(cls=Group, help="Encrypt, back up, restore, erase and verify a database.", no_args_is_help=True)

Ids = Annotated[list[str], typer.Argument(help="Ids of memories.", metavar="ID...")]


@db.command("info")
def info(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Print how the database is sealed, and by which keys."""
    with of(ctx).store() as store:
        health, keys, mark = store.health(), store.key_state(), store.history_mark()
    facts = {
        "status": health.status,
        "memories": health.memories,
        "seq": health.seq,
        "encryption": health.encryption,
        "driver": health.driver,
        "active key": keys.active,
        "pending key": keys.pending,
        "former keys": list(keys.former),
        "history mark": mark,
        "detail": list(health.detail),
    }
    if as_json:
        print_json({name.replace(" ", "_"): value for name, value in facts.items()})
    else:
        shown = {name: ", ".join(value) if isinstance(value, list) else value for name, value in facts.items()}
        print_table(("", ""), [(name, "" if value is None else str(value)) for name, value in shown.items()])


@db.command("encrypt")
def encrypt(ctx: typer.Context) -> None:
    """Encrypt a plain database in its place, under the key that the settings name."""
    from ums_core.channels.care import encrypt_store  # noqa: PLC0415  # needs the extra `security`

    with progress("encrypting") as step:
        seq, memories = encrypt_store(of(ctx).settings(), progress=step)
    tell(f"encrypted: {memories} memories, up to change {seq}")


@db.command("decrypt")
def decrypt(ctx: typer.Context) -> None:
    """Decrypt a database in its place, and destroy its keys."""
    from ums_core.channels.care import decrypt_store  # noqa: PLC0415  # as above

    with progress("decrypting") as step:
        seq, memories = decrypt_store(of(ctx).settings(), progress=step)
    tell(f"decrypted: {memories} memories, up to change {seq}")


@db.command("backup")
def backup(ctx: typer.Context, file: Annotated[Path, typer.Argument(help="The backup.")]) -> None:
    """Copy the database into a file, and check the copy; others may go on using it."""
    with of(ctx).store() as store, progress("backing up") as step:
        made = store.backup(file, progress=step)
    tell(f"{made.path}: {made.memories} memories, up to change {made.seq}, {'sealed' if made.sealed else 'plain'}")


@db.command("restore")
def restore(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The backup.")],
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a database that is there.")] = False,
) -> None:
    """Check a backup and put it in the place of the database."""
    with progress("restoring") as step:
        found = restore_store(file, of(ctx).settings(), replace=replace, progress=step)
    tell(f"restored {found.memories} memories, up to change {found.seq}")


@db.command("erase")
def erase(
    ctx: typer.Context,
    ids: Ids,
    *,
    namespace: Exactly = "",
    receipt: Annotated[Path | None, typer.Option("--receipt", help="Write the receipt into this file.")] = None,
) -> None:
    """Erase memories for good, with what was derived from them, and print the receipt as JSON."""
    if receipt is not None:
        # Before anything is gone.
        try:
            receipt.open("ab").close()
        except OSError as error:
            raise _unwritable(receipt, error) from error
    with of(ctx).store() as store:
        made = store.erase(ids, namespace=namespace_of(namespace))
    if receipt is None:
        print_json(made.to_dict())
    else:
        try:
            receipt.write_text(json.dumps(made.to_dict(), indent=2), encoding="utf-8")
        except OSError as error:
            # There is no second one.
            print_json(made.to_dict())
            raise _unwritable(receipt, error) from error
    tell(f"erased {len(made.ids)} memories, {len(made.derived)} of them derived")


@db.command("verify")
def verify(
    ctx: typer.Context,
    *,
    receipt: Annotated[Path | None, typer.Option("--receipt", help="Also search for what was erased by it.")] = None,
    reached: Annotated[
        str | None, typer.Option("--reached", metavar="MARK", help="What `ums db info` said of the history before.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare indexes, database and history, and look for tampering; the exit status is 1 where something is wrong."""
    with of(ctx).store() as store, progress("verifying") as step:
        said = [
            *store.health().detail,
            *store.verify(progress=step),
            *store.verify_history(reached=reached, progress=step),
        ]
        if receipt is not None:
            said += store.verify_erased(_receipt(receipt))
    if as_json:
        print_json(to_jsonable_python(said))
    for line in said:
        tell(line)
    if said:
        raise typer.Exit(FAILED)


def _unwritable(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput(f"the receipt cannot be written into {path}: {error.strerror}; name another file")


def _receipt(path: Path) -> Receipt:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is no receipt: {error}") from error
    return Receipt.from_dict(values)
