"""What every command starts from, and how every error ends it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from typer import Context as TyperContext
from typer import Exit
from typer.core import TyperGroup

from ums_core import LocalStore, MemoryStore, UMSError, UnifiedSettings, acting_as, open_channel, open_store
from ums_core.cli.show import complain
from ums_core.errors import DatabaseBusy, InvalidInput, MemoryNotFound, NotADatabase
from ums_core.settings.database import url_of

if TYPE_CHECKING:
    from ums_core.records import Namespace

__all__ = ["Context", "Group", "exit_status", "namespace_of", "of"]

FAILED, UNUSABLE, NOT_FOUND, TRY_AGAIN = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Context:
    """What the command line was started with.

    Attributes:
        db: ``--db``, a file or a URL; None leaves it to the settings.
    """

    db: str | None = None

    def settings(self) -> UnifiedSettings:
        """Settings from ``--db``, the environment and ``.env``.

        Raises:
            SettingsError: one of them is unknown or malformed.
        """
        if self.db is None:
            return UnifiedSettings()
        return UnifiedSettings(database={"url": self.db if self.db.startswith("sqlite:") else url_of(Path(self.db))})

    def store(self, *, create: bool = False) -> LocalStore:
        """The store that the settings name; close it, or use ``with``.

        Args:
            create: whether to make a database where there is none. A command that only reads leaves it off, so that
                a mistyped name is an error and not an empty file.

        Raises:
            NotADatabase: there is none, and it is not to be made.
            UMSError: as :func:`ums_core.open_store`.
        """
        settings = self.settings()
        path = settings.database.path
        if not create and not path.exists():
            raise NotADatabase(f"there is no database at {path}; name another with --db FILE or AI_DATABASE__URL")
        return open_store(settings)

    def channel(self) -> MemoryStore:
        """The store of the channel that ``AI_CHANNEL`` names, for a command that reads; close it, or use ``with``.

        Raises:
            NotADatabase: it is the one on this device, and there is none.
            UMSError: as :func:`ums_core.open_channel`.
        """
        settings = self.settings()
        return self.store() if settings.channel == "personal" else open_channel(settings)


def of(ctx: TyperContext) -> Context:
    """The context of a command, which is who acts from now on until it ends."""
    ctx.with_resource(acting_as(ctx.command_path))
    found = ctx.find_object(Context)
    return Context() if found is None else found


def namespace_of(text: str) -> "Namespace":
    """A namespace written as a path: ``users/ana`` is ("users", "ana"), and ``%2F`` a slash within a label."""
    return tuple(unquote(label) for label in text.split("/")) if text else ()


class Group(TyperGroup):
    """A group of commands whose errors are one line on stderr and an exit status."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # the signature is Typer's
        """Run the command; a :class:`UMSError` is printed with its remedy and its code."""
        try:
            return super().invoke(ctx)
        except UMSError as error:
            complain(str(error), error.code)
            raise Exit(exit_status(error)) from error


def exit_status(error: UMSError) -> int:
    """2: what was given cannot be used; 3: it does not exist; 4: try again later; 1: anything else."""
    if isinstance(error, InvalidInput):
        return UNUSABLE
    if isinstance(error, MemoryNotFound):
        return NOT_FOUND
    return TRY_AGAIN if isinstance(error, DatabaseBusy) or hasattr(error, "retry_after_s") else FAILED
