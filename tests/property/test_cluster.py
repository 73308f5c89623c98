"""Clusters of vectors: what holds for any of them, and that neither size nor chains break it."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ums_core.ranking.cluster import Grouping, stars

pytestmark = pytest.mark.property

Units = npt.NDArray[np.float32]
SLACK = 1e-4


def unit(rows: npt.NDArray[np.float64]) -> Units:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def around(topics: int, each: int, *, dim: int = 16, noise: float = 0.3, seed: int = 0) -> Units:
    """Some vectors around each of several topics, one topic after the other in turn."""
    rng = np.random.default_rng(seed)
    centres = np.tile(unit(rng.standard_normal((topics, dim))), (each, 1))
    return unit(centres + noise * rng.standard_normal(centres.shape) / dim**0.5)


@st.composite
def clouds(draw: st.DrawFn) -> Units:
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n, dim = draw(st.integers(0, 60)), draw(st.integers(2, 6))
    rows = rng.standard_normal((n, dim))
    # Some are the same as others, as memories are.
    copies = rng.integers(0, max(1, n), n)
    return unit(np.where(rng.random((n, 1)) < draw(st.floats(0, 0.5)), rows[copies % max(1, n)], rows))


def check(grouping: Grouping, units: Units, threshold: float, max_size: int) -> None:
    cosines = units @ units.T
    placed = [place for members in grouping.clusters for place in members]
    assert sorted([*placed, *grouping.alone]) == list(range(len(units)))
    for members, similarity in zip(grouping.clusters, grouping.similarity, strict=True):
        assert 2 <= len(members) <= max_size
        # Some member is the centre: all others are within the threshold of it.
        least = cosines[np.ix_(members, members)].min(axis=1).max()
        assert least >= threshold - SLACK
        assert similarity >= threshold - SLACK
    assert [members[0] for members in grouping.clusters] == sorted(members[0] for members in grouping.clusters)


@settings(deadline=None)
@given(units=clouds(), threshold=st.floats(0.1, 1.0), max_size=st.integers(2, 10))
def test_every_vector_is_in_one_cluster_near_its_centre_or_alone(units: Units, threshold: float, max_size: int) -> None:
    grouping = stars(units, threshold, max_size=max_size)
    check(grouping, units, threshold, max_size)
    alone = units[grouping.alone]
    near = (alone @ alone.T >= threshold + SLACK) & ~np.eye(len(alone), dtype=bool)
    assert not near.any(), "two that are alike were both left alone"
    assert stars(units, threshold, max_size=max_size) == grouping


@settings(deadline=None)
@given(units=clouds(), threshold=st.floats(0.1, 1.0))
def test_cells_keep_the_promises_of_clusters(units: Units, threshold: float) -> None:
    check(stars(units, threshold, exact=1), units, threshold, 32)


def test_a_chain_of_neighbours_is_not_one_cluster() -> None:
    angles = np.linspace(0, np.pi / 2, 31)
    chain = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    threshold = float(np.cos(3.1 * (angles[1] - angles[0])))
    grouping = stars(chain, threshold)
    assert len(grouping.clusters) >= 4
    for members in grouping.clusters:
        assert angles[members[-1]] - angles[members[0]] <= 2 * np.arccos(threshold) + SLACK


def test_topics_are_found_as_they_are() -> None:
    topics, each = 40, 6
    grouping = stars(around(topics, each, dim=64), 0.7)
    assert sorted(grouping.clusters) == [list(range(topic, topics * each, topics)) for topic in range(topics)]
    assert grouping.alone == []


def test_cells_find_what_comparing_all_pairs_finds() -> None:
    units = around(150, 8, dim=32)
    exact, cells = stars(units, 0.7), stars(units, 0.7, exact=100)
    same = {tuple(members) for members in exact.clusters} & {tuple(members) for members in cells.clusters}
    assert len(same) >= 0.95 * len(exact.clusters)


@pytest.mark.parametrize("exact", [1, 1000])
def test_any_number_of_equal_vectors_becomes_clusters_of_bounded_size(exact: int) -> None:
    units = np.tile(unit(np.ones((1, 8))), (333, 1))
    grouping = stars(units, 0.9, max_size=10, exact=exact)
    assert max(map(len, grouping.clusters)) == 10
    assert len(grouping.alone) <= 1
    check(grouping, units, 0.9, 10)


def test_nothing_and_one_vector_make_no_cluster() -> None:
    assert stars(np.empty((0, 4), np.float32), 0.8) == Grouping([], [], [])
    assert stars(np.eye(1, 4, dtype=np.float32), 0.8) == Grouping([], [0], [])
    assert stars(np.eye(4, dtype=np.float32), 0.8) == Grouping([], [0, 1, 2, 3], [])


def test_clustering_says_how_far_it_is_and_can_be_stopped() -> None:
    told: list[float] = []
    stars(around(300, 10), 0.7, pause=told.append, exact=1)
    assert told == sorted(told)
    assert told[-1] == 1.0

    def stop(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stars(around(300, 10), 0.7, pause=stop, exact=1)
