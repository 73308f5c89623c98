"""Dates in questions, and how near memories are to them."""

from datetime import UTC, datetime

import numpy as np
import pytest

from ums_core import Draft, Query, UnifiedSettings, open_store
from ums_core.ranking.dates import When, date_in, nearness


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("What happened on 1 February, 2023?", When(2023, 2, 1)),
        ("the trip of May 23, 2023", When(2023, 5, 23)),
        ("by 4th October, 2023", When(2023, 10, 4)),
        ("the second of May 2021", When(2021, 5)),
        ("on the 3rd of June", When(None, 6, 3)),
        ("what did she do in May?", When(None, 5)),
        ("in mid-June", When(None, 6)),
        ("Sept. 2022", When(2022, 9)),
        ("who moved in 2010?", When(2010)),
        ("the log of 2023-05-08", When(2023, 5, 8)),
        ("31 February 2023, or in April 2024", When(2024, 4)),
        ("May I march with 2 dogs?", None),
        ("in march", None),
        ("flat 2010", None),
        ("", None),
    ],
)
def test_a_date_is_read_as_far_as_it_goes(text: str, when: When | None) -> None:
    assert date_in(text) == when


def micros(*dates: str) -> np.ndarray:
    return np.array([int(datetime.fromisoformat(d).replace(tzinfo=UTC).timestamp() * 1e6) for d in dates], np.int64)


def test_a_moment_is_near_within_the_date_and_fades_after_it() -> None:
    moments = micros("2023-04-30", "2023-05-01", "2023-05-31", "2023-06-08", "2023-06-15")
    np.testing.assert_allclose(nearness(When(2023, 5), moments, 7.0), [0, 1, 1, 0.5, 0.25])
    np.testing.assert_allclose(nearness(When(2023, 5, 31), moments, 7.0)[1:4], [0, 1, 0.5])
    np.testing.assert_allclose(nearness(When(2022), micros("2022-07-01", "2021-07-01"), 7.0), [1, 0])
    assert nearness(When(2023), np.array([-1]), 7.0).tolist() == [0.0]


def test_without_a_year_the_last_such_date_counts() -> None:
    moments = micros("2022-05-10", "2023-05-10", "2023-01-01")
    near = nearness(When(None, 5), moments, 7.0)
    assert near[0] == near[1] == 1.0
    assert 0 < near[2] < 1e-6


def test_a_date_in_the_question_finds_what_was_said_then() -> None:
    days = {"old": datetime(2023, 5, 2, tzinfo=UTC), "new": datetime(2023, 9, 2, tzinfo=UTC)}
    with open_store(UnifiedSettings.for_testing()) as store:
        store.add([Draft(id=id_, text="We ate fish at the harbour", occurred_at=day) for id_, day in days.items()])
        for id_, month in (("old", "May"), ("new", "September")):
            hits = store.search(Query(text=f"Who ate fish in {month} 2023?", explain=True))
            assert hits[0].memory.id == id_
            assert (hits[0].signals or {})["date"] > 0
