"""Fading and reinforcement: what holds for any memory, any age and any settings."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ums_core.ranking.decay import counts, decay, recent, retention
from ums_core.records.dynamics import Dynamics
from ums_core.settings import DecayWeights, DynamicsSettings

pytestmark = pytest.mark.property

Floats = npt.NDArray[np.float64]
AGES = st.floats(-1e6, 1e6)
USES = st.integers(0, 10_000)
UNIT = st.floats(0, 1)
DYNAMICS = st.builds(
    Dynamics,
    decay_days=st.floats(1e-3, 1e4),
    curve=st.sampled_from(["exponential", "logarithmic"]),
    importance=st.floats(0, 2),
    emotional_intensity=st.floats(0, 2),
    valence=st.floats(0, 2),
    growth=st.floats(0, 5),
    most=st.floats(1, 100),
    spacing_hours=st.floats(0, 100),
)
TRAITS = st.tuples(UNIT, UNIT, st.floats(-1, 1))


def row(*values: float) -> Floats:
    return np.array(values, np.float64)


@given(age=AGES, uses=USES, dynamics=DYNAMICS, traits=TRAITS)
def test_retention_and_decay_stay_between_0_and_1(
    age: float, uses: int, dynamics: Dynamics, traits: tuple[float, float, float]
) -> None:
    left = decay(row(age), row(uses), dynamics)
    kept = retention(row(*traits)[None], row(age), row(uses), dynamics)
    assert 0 <= kept[0] <= left[0] <= 1


@given(ages=st.tuples(AGES, AGES), uses=USES, dynamics=DYNAMICS)
def test_what_is_older_is_never_kept_better(ages: tuple[float, float], uses: int, dynamics: Dynamics) -> None:
    young, old = sorted(ages)
    left = decay(row(young, old), row(uses, uses), dynamics)
    assert left[0] >= left[1]


@given(age=AGES, uses=st.tuples(USES, USES), dynamics=DYNAMICS)
def test_use_never_makes_a_memory_fade_faster(age: float, uses: tuple[int, int], dynamics: Dynamics) -> None:
    few, many = sorted(uses)
    left = decay(row(age, age), row(few, many), dynamics)
    assert left[0] <= left[1]


@given(age=st.floats(-1e6, 0), uses=USES, dynamics=DYNAMICS)
def test_a_clock_that_was_set_back_makes_nothing_older_or_younger_than_now(
    age: float, uses: int, dynamics: Dynamics
) -> None:
    assert decay(row(age), row(uses), dynamics)[0] == 1.0


@given(age=st.floats(0, 1e4), dynamics=DYNAMICS)
def test_use_slows_fading_up_to_its_cap_and_no_further(age: float, dynamics: Dynamics) -> None:
    slowest = Dynamics(decay_days=dynamics.decay_days * dynamics.most, curve=dynamics.curve)
    at_most = decay(row(age), row(0), slowest)[0]
    assert decay(row(age), row(10**9), dynamics)[0] <= at_most * (1 + 1e-12)


@given(ages=st.lists(st.floats(0, 1e4), min_size=1, max_size=8), dynamics=DYNAMICS)
def test_many_at_once_fade_as_each_alone(ages: list[float], dynamics: Dynamics) -> None:
    uses = np.arange(len(ages), dtype=np.float64)
    together = decay(row(*ages), uses, dynamics)
    alone = [decay(row(age), row(n), dynamics)[0] for n, age in enumerate(ages)]
    assert together == pytest.approx(alone, rel=1e-12)


@given(decayed=UNIT, share=UNIT)
def test_the_prior_takes_no_more_than_its_share(decayed: float, share: float) -> None:
    prior = recent(row(decayed), share)[0]
    assert 1 - share - 1e-12 <= prior <= 1
    assert recent(row(1.0), share)[0] == 1.0
    assert recent(row(decayed), 0.0)[0] == 1.0


def test_the_curves_are_those_of_the_formulas() -> None:
    day = Dynamics(decay_days=10.0)
    assert decay(row(10.0), row(0), day)[0] == pytest.approx(math.exp(-1))
    # Two uses double the time constant.
    assert decay(row(20.0), row(2), day)[0] == pytest.approx(math.exp(-1))
    long = Dynamics(decay_days=10.0, curve="logarithmic")
    assert decay(row(10.0), row(0), long)[0] == pytest.approx(1 / (1 + math.log(2)))
    assert decay(row(1000.0), row(0), long)[0] > 100 * decay(row(1000.0), row(0), day)[0]


def test_worth_is_the_weighted_sum_of_the_traits_clamped() -> None:
    traits = np.array([[1.0, 0.5, -1.0], [0.0, 0.0, -1.0], [1.0, 1.0, 1.0]])
    doubled = Dynamics(importance=0.8, emotional_intensity=0.6, valence=0.6)
    assert retention(traits, np.zeros(3), np.zeros(3), Dynamics()) == pytest.approx([0.25, 0.0, 1.0])
    assert retention(traits, np.zeros(3), np.zeros(3), doubled) == pytest.approx([0.5, 0.0, 1.0])


def test_only_spaced_use_strengthens() -> None:
    dynamics = Dynamics(spacing_hours=2.0)
    assert not counts(1.9, dynamics)
    assert not counts(-5.0, dynamics)
    assert counts(2.0, dynamics)


def test_the_settings_are_the_formulas_numbers() -> None:
    assert DynamicsSettings().of() == Dynamics()
    given_ = DynamicsSettings(
        decay_rate=7,
        decay_curve="logarithmic",
        decay_weights=DecayWeights(importance=1, emotional_intensity=2, valence=3),
        reinforcement=0.1,
        max_reinforcement=2,
        spacing_hours=5,
    )
    assert given_.of() == Dynamics(
        decay_days=7,
        curve="logarithmic",
        importance=1,
        emotional_intensity=2,
        valence=3,
        growth=0.1,
        most=2,
        spacing_hours=5,
    )
