"""The date that a question names, and how near to it memories are. English."""

import re
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
from dateutil import parser  # type: ignore[import-untyped]  # it ships no types

__all__ = ["When", "date_in", "nearness"]

_NAMES = {name.lower() for names in parser.parserinfo.MONTHS for name in names}
_MONTH = "|".join(sorted(_NAMES, key=len, reverse=True))
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_YEAR = r"\d{4}"
_DATE = re.compile(
    rf"\b(?P<iso>{_YEAR}-\d\d-\d\d)\b"
    rf"|\b(?:(?P<first>{_DAY})\s+(?:of\s+)?)?(?P<month>{_MONTH})\b\.?"
    rf"(?:\s+(?P<last>{_DAY})(?!\d))?(?:,?\s+(?:of\s+)?(?P<year>{_YEAR})\b)?"
    rf"|\b(?:in|during|of|since|summer|winter|spring|autumn|fall)\s+(?P<alone>{_YEAR})\b(?!-)",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")
_HINTS = tuple(sorted({name[:3] for name in _NAMES}))
_BEFORE = re.compile(r"\b(?:in|of|on|during|since|by|until|till|last|this|next|early|late|mid)[\s-]+$", re.IGNORECASE)
_ANY_DAY = datetime(2000, 1, 1)  # noqa: DTZ001  # a calendar date, of no time zone


@dataclass(frozen=True, slots=True)
class When:
    """A day, a month, or a year; what a question leaves open is None.

    Attributes:
        year: None means whichever came last.
    """

    year: int | None = None
    month: int | None = None
    day: int | None = None


def date_in(text: str) -> When | None:
    """The first explicit date that a text names, such as ``8 May 2023``, ``in May`` or ``2023-05-08``; else None.

    A month by itself counts only as a capital name after a preposition: "may" and "march" are words as well. Costs
    a microsecond where a text has neither a number nor the beginning of a month.
    """
    folded = text.casefold()
    # Many times faster than one expression for all of them.
    if not any(hint in folded for hint in _HINTS) and not _DIGIT.search(text):
        return None
    for match in _DATE.finditer(text):
        year, month, day = match["year"] or match["alone"], match["month"], match["first"] or match["last"]
        bare = month and not (year or day)
        if bare and not (month[:1].isupper() and _BEFORE.search(text, 0, match.start())):
            continue
        try:
            read = parser.parse(match["alone"] or match[0].replace(" of ", " "), default=_ANY_DAY)
        except (ValueError, OverflowError):
            # Such as the 31st of February.
            continue
        whole = match["iso"] is not None
        return When(
            read.year if whole or year else None,
            read.month if whole or month else None,
            read.day if whole or day else None,
        )
    return None


def nearness(when: When, moments: npt.NDArray[np.int64], half_life_days: float) -> npt.NDArray[np.float64]:
    """How near each moment is to a date, in [0, 1]: 1 within it, halved with every half-life after it, 0 before.

    People tell afterwards what happened: what is said before a date can only be a plan.

    Args:
        when: the date; without a year, the last such date before each moment.
        moments: microseconds since 1970, shape (n,); negative for unknown, which is never near.
        half_life_days: greater than 0.
    """
    moment = moments.astype("datetime64[us]")
    years = (
        moment.astype("datetime64[Y]")
        if when.year is None
        else np.full(len(moments), f"{when.year:04}", "datetime64[Y]")
    )
    start, end = _span(years, when)
    if when.year is None:
        start, end = np.where(start <= moment, (start, end), _span(years - 1, when))
    days = (moment - end) / np.timedelta64(1, "D")
    near = np.where(moment < end, 1.0, 0.5 ** (np.maximum(days, 0.0) / half_life_days))
    return np.asarray(near * (moment >= start) * (moments >= 0))


def _span(
    years: npt.NDArray[np.datetime64], when: When
) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.datetime64]]:
    """The first moment of a date in each year, and the first one after it."""
    if when.month is None:
        return years.astype("datetime64[us]"), (years + 1).astype("datetime64[us]")
    months = years.astype("datetime64[M]") + (when.month - 1)
    if when.day is None:
        return months.astype("datetime64[us]"), (months + 1).astype("datetime64[us]")
    days = months.astype("datetime64[D]") + (when.day - 1)
    return days.astype("datetime64[us]"), (days + 1).astype("datetime64[us]")
