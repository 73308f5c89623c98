"""A zone that knows no time: what has it looks aware, and is not."""

from datetime import datetime, tzinfo

__all__ = ["Nowhere"]


class Nowhere(tzinfo):
    def utcoffset(self, _: datetime | None, /) -> None:
        return None

    def dst(self, _: datetime | None, /) -> None:
        return None

    def tzname(self, _: datetime | None, /) -> str:
        return "nowhere"
