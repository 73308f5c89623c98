"""``ums keys``: the keys of a sealed database. A secret is in a file, a descriptor or a prompt, never in argv."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ums_core import open_store
from ums_core.cli.context import Group, of
from ums_core.cli.options import AsJson
from ums_core.cli.show import plain, print_json, print_table, progress, tell
from ums_core.errors import InvalidInput, KeyCorrupt
from ums_core.settings import SecuritySettings, UnifiedSettings, forget_secrets

if TYPE_CHECKING:
    from ums_core.crypto import Envelope, EnvelopeStatus
    from ums_core.ports import KeySource

__all__ = ["keys"]

keys = typer.Typer(cls=Group, help="The keys of a sealed database.", no_args_is_help=True)

_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
_CodeFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Read the recovery code from a file; without it, it is asked for."),
]


@keys.command("init")
def init(
    ctx: typer.Context,
    *,
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Ask for a passphrase that seals a new keyring.")
    ] = False,
) -> None:
    """Make the key that the settings name, or see that its key service answers for it."""
    from ums_core.channels.keys import key_source, keyring_file  # noqa: PLC0415  # loads what it needs
    from ums_core.crypto.keyring import Keyring  # noqa: PLC0415  # as above

    security = _settings(ctx).security
    name = security.kms_key_id
    if security.kms_backend != "local":
        source = key_source(security)
        source.generate({"app": "ums", "database": "", "purpose": "probe"})
        tell(f"the {source.provider} key {source.key_id} answers; a new sealed database will be under it")
        return
    path, known = keyring_file(security)
    if path.exists():
        ring = Keyring.open(path, known)
        if name in ring.names:
            raise InvalidInput(f"{path} has a key {name!r} already; ums keys rotate gives it a new version")
        ring.add(name)
    else:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        asked = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True) if passphrase else known
        Keyring.create(path, name, asked)
    tell(f"{path} holds the key {name}; keep a copy of the file where the databases are not")


@keys.command("status")
def status(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """The data keys of the database, what wraps each, and whether that can be reached."""
    told = _envelope(_settings(ctx)).status()
    if as_json:
        print_json(_plain_status(told))
        return
    headers = ("key", "state", "since", "wrapped by", "version", "recovery")
    print_table(headers, [_row(told, number) for number in range(len(told.keys))])
    source = told.source
    tell(f"{source.provider} key {source.key_id}: {'reachable' if source.reachable else '; '.join(source.detail)}")


@keys.command("rotate")
def rotate(
    ctx: typer.Context,
    *,
    data: Annotated[
        bool, typer.Option("--data", help="Put the database under a new data key; no other process may have it open.")
    ] = False,
) -> None:
    """Wrap the data keys by the newest version of their key; a keyring gets a new version first.

    The data are not touched, and whatever is open stays open. Killed, it goes on where it was.
    """
    from ums_core.channels.keys import keyring_file  # noqa: PLC0415  # loads what it needs
    from ums_core.crypto.keyring import Keyring  # noqa: PLC0415  # as above

    settings = _settings(ctx)
    if data:
        with open_store(settings) as store:
            with progress("rotating") as step:
                active = store.rotate(progress=step).active
            tell(f"the database is under the data key {active}, and the former one is destroyed")
        return
    envelope = _envelope(settings)
    newest = envelope.status().source.version
    if settings.security.kms_backend == "local" and _versions(envelope) == {newest}:
        # What is under an older version was interrupted, or is another database's turn.
        number = Keyring.open(*keyring_file(settings.security)).add(settings.security.kms_key_id)
        tell(f"version {number} of the key {settings.security.kms_key_id} was made")
    with progress("wrapping") as step:
        moved = envelope.rewrap(step)
    tell(f"{moved} data keys wrapped anew; the database was not touched")


@keys.command("retire")
def retire(
    ctx: typer.Context,
    key: Annotated[str | None, typer.Argument(help="A retired data key, as ums keys status names it.")] = None,
    *,
    version: Annotated[
        int | None, typer.Option(metavar="N", help="A version of the keyring's key that wraps nothing any more.")
    ] = None,
    yes: _Yes = False,
) -> None:
    """Destroy a retired data key, or an old version of the key in the keyring."""
    settings = _settings(ctx)
    envelope = _envelope(settings)
    if key is not None and version is None:
        _confirm(f"Whatever the data key {key} still seals can never be opened again. Destroy it?", yes=yes)
        envelope.retire(key)
    elif version is not None and key is None:
        _drop_version(settings.security, envelope, version, yes=yes)
    else:
        raise InvalidInput("name one: a retired data KEY, or --version N of the keyring's key")
    tell("destroyed")


@keys.command("export-recovery")
def export_recovery(
    ctx: typer.Context,
    *,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A new file, mode 0600; without it, the code is printed.")
    ] = None,
) -> None:
    """A code that opens the database when its key is lost; a former code opens nothing any more."""
    from ums_core.crypto import private_file  # noqa: PLC0415  # loads what it needs
    from ums_core.crypto.recovery import RecoverySource, new_recovery_code  # noqa: PLC0415  # as above

    envelope = _envelope(_settings(ctx))
    code = new_recovery_code()
    if output is not None:
        # Before the former code is given up.
        private_file.create(output, f"{code}\n".encode())
    envelope.add_recovery(RecoverySource.of_code(code))
    if output is None:
        typer.echo(code)
    tell("keep the code apart from the database: whoever has both reads everything")


@keys.command("move")
def move(
    ctx: typer.Context,
    *,
    former: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="The former security settings, a JSON object in a file."),
    ] = None,
    recovery: Annotated[bool, typer.Option("--recovery", help="Open the keys by the recovery code.")] = False,
    code_file: _CodeFile = None,
) -> None:
    """Wrap the data keys by the key that the settings name now, opened by the former one or by the recovery code."""
    from ums_core.channels.keys import key_source  # noqa: PLC0415  # loads what it needs
    from ums_core.crypto import Envelope, envelope_path  # noqa: PLC0415  # as above

    settings = _settings(ctx)
    if (former is None) == (not recovery):
        raise InvalidInput("say what opens the keys: --from FILE with the former settings, or --recovery")
    target = key_source(settings.security)
    source = _recovery(code_file) if former is None else key_source(_former(former))
    Envelope.open(envelope_path(settings.database.path), source).move(target)
    tell(f"the data keys are under the {target.provider} key {target.key_id} now")


@keys.command("verify")
def verify(
    ctx: typer.Context,
    *,
    recovery: Annotated[bool, typer.Option("--recovery", help="Try the recovery code as well.")] = False,
    code_file: _CodeFile = None,
) -> None:
    """Open every data key, by its key and, if asked, by the recovery code too."""
    from ums_core.crypto import Envelope  # noqa: PLC0415  # loads what it needs

    envelope = _envelope(_settings(ctx))
    opened = [*envelope.keys, *envelope.retired]
    if recovery:
        found = Envelope.open(envelope.path, _recovery(code_file))
        if [key.secret for key in (*found.keys, *found.retired)] != [key.secret for key in opened]:
            raise KeyCorrupt(f"the recovery code opens other keys in {envelope.path} than its source does")
    tell(f"{len(opened)} data keys open{' by both' if recovery else ''}")


def _settings(ctx: typer.Context) -> UnifiedSettings:
    settings = of(ctx).settings()
    forget_secrets()
    return settings


def _envelope(settings: UnifiedSettings) -> "Envelope":
    from ums_core.channels.keys import key_source  # noqa: PLC0415  # loads what it needs
    from ums_core.crypto import Envelope, envelope_path  # noqa: PLC0415  # as above

    return Envelope.open(envelope_path(settings.database.path), key_source(settings.security))


def _recovery(code_file: Path | None) -> "KeySource":
    from ums_core.crypto.recovery import RecoverySource  # noqa: PLC0415  # loads what it needs
    from ums_core.crypto.secret_file import read_secret  # noqa: PLC0415  # as above

    if code_file is not None:
        return RecoverySource.of_code(read_secret(code_file, "the recovery code"))
    return RecoverySource.of_code(typer.prompt("Recovery code", hide_input=True, err=True))


def _former(file: Path) -> SecuritySettings:
    from ums_core.crypto.secret_file import read_secret  # noqa: PLC0415  # loads what it needs

    try:
        told = json.loads(read_secret(file, "the former settings"))
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise InvalidInput(f'{file} must hold a JSON object, such as {{"kms_backend": "local", "kms_key_id": "main"}}')
    return SecuritySettings(**told)


def _versions(envelope: "Envelope") -> set[str]:
    return {slot.wrapped.version for key in envelope.status().keys for slot in key.slots if slot.name == "main"}


def _drop_version(security: SecuritySettings, envelope: "Envelope", version: int, *, yes: bool) -> None:
    from ums_core.channels.keys import keyring_file  # noqa: PLC0415  # loads what it needs
    from ums_core.crypto.keyring import Keyring  # noqa: PLC0415  # as above

    if security.kms_backend != "local":
        raise InvalidInput("--version is for a keyring; a key service retires the versions of its keys itself")
    if str(version) in _versions(envelope):
        raise InvalidInput(f"version {version} still wraps a data key of this database: run ums keys rotate first")
    _confirm(f"A database that version {version} still wraps can never be opened again. Destroy it?", yes=yes)
    Keyring.open(*keyring_file(security)).drop(security.kms_key_id, version)


def _confirm(question: str, *, yes: bool) -> None:
    if not yes:
        typer.confirm(plain(question), abort=True, err=True)


def _row(told: "EnvelopeStatus", number: int) -> list[str]:
    key = told.keys[number]
    main = key.slot("main")
    wrapped = (f"{main.provider}: {main.key_id}", main.version) if main else ("", "")
    return [key.key_id, key.state, key.created, *wrapped, "yes" if key.slot("recovery") else ""]


def _plain_status(told: "EnvelopeStatus") -> dict[str, object]:
    return {
        "database": told.database_id,
        "revision": told.revision,
        "recovery": told.recovery,
        "source": told.source,
        "keys": [
            {
                "id": key.key_id,
                "state": key.state,
                "created": key.created,
                "slots": [
                    {
                        "slot": slot.name,
                        "provider": slot.wrapped.provider,
                        "key": slot.wrapped.key_id,
                        "version": slot.wrapped.version,
                    }
                    for slot in key.slots
                ],
            }
            for key in told.keys
        ],
    }
