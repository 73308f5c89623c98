"""Where memories are kept, and how often the write-ahead log is folded into the file."""

import re
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

from pydantic import Field, field_validator

from ums_core.errors import SettingsError
from ums_core.ports.ledger import VectorType
from ums_core.settings.section import Section

__all__ = ["DatabaseSettings", "url_of"]

_SCHEME = "sqlite:///"
_ENCRYPTED = "sqlite+sqlcipher:///"
_FORM = "write sqlite:///relative/path.db or sqlite:////absolute/path.db"
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")


class DatabaseSettings(Section):
    """The database file and the index over it."""

    url: str = Field(
        default="sqlite:///./data/memory.db",
        description="Where the database is: sqlite:///relative/path.db or sqlite:////absolute/path.db; "
        "sqlite+sqlcipher:/// instead of sqlite:/// asks for an encrypted file.",
    )
    backend: Literal["faiss", "exact"] = Field(
        default="faiss",
        description="Which index answers vector search: faiss is a graph, exact compares with every vector.",
    )
    vector_type: VectorType = Field(
        default="float32",
        description="How vectors are stored: float32, or in half or a quarter of the room as float16 or int8; "
        "what is stored already stays as it is, and is read as well.",
    )
    busy_timeout: float = Field(
        default=10.0,
        gt=0,
        description="Seconds that a call waits while another process holds the database; greater than 0. "
        "DatabaseBusy is raised after them.",
    )
    wal_checkpoint_interval: float = Field(
        default=60.0,
        gt=0,
        description="Seconds after which the write-ahead log is folded into the file; greater than 0.",
    )
    wal_checkpoint_writes: int = Field(
        default=1000,
        ge=1,
        description="Number of writes after which the write-ahead log is folded into the file; at least 1.",
    )

    @field_validator("url")
    @classmethod
    def _names_a_file(cls, url: str) -> str:
        _path_of(url)
        return url

    @property
    def path(self) -> Path:
        """The database file; a relative one is meant from the working directory of whoever opens it."""
        return _path_of(self.url)

    @property
    def encrypted(self) -> bool:
        """Whether the URL itself asks for an encrypted file, by ``sqlite+sqlcipher:///``."""
        return self.url.startswith(_ENCRYPTED)


def url_of(path: Path) -> str:
    """The URL that names a file, the inverse of :attr:`DatabaseSettings.path`."""
    return _SCHEME + quote(path.as_posix())


def _path_of(url: str) -> Path:
    if url in {":memory:", "sqlite://", "sqlite:///:memory:"}:
        raise SettingsError(
            "a database in memory is not kept; UnifiedSettings.for_testing() gives a temporary file, "
            f"and for a lasting one {_FORM}"
        )
    if url.startswith(_ENCRYPTED):
        url = _SCHEME + url.removeprefix(_ENCRYPTED)
    if not url.startswith(_SCHEME):
        raise SettingsError(f"only SQLite files are supported; {_FORM}, or use UnifiedSettings.for_testing()")
    raw = url.removeprefix(_SCHEME)
    if "?" in raw or "#" in raw:
        raise SettingsError("a database URL takes no query and no fragment; write %3F for ? and %23 for # in a name")
    if _BAD_ESCAPE.search(raw):
        raise SettingsError("a % must begin an escape such as %20; write %25 for the sign itself")
    try:
        path = unquote(raw, errors="strict")
    except UnicodeDecodeError as error:
        raise SettingsError("the escapes in a database URL must decode to UTF-8") from error
    if path.rpartition("/")[2] in {"", ".", ".."} or "\0" in path:
        raise SettingsError(f"the URL must name a file; {_FORM}, or use UnifiedSettings.for_testing()")
    return Path(path)
