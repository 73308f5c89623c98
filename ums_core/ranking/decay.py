"""How memories fade, and how use keeps them. Pure functions of arrays."""

import numpy as np
import numpy.typing as npt

from ums_core.records.dynamics import Dynamics

__all__ = ["counts", "decay", "recent", "retention"]

Floats = npt.NDArray[np.float64]


def decay(age_days: Floats, accesses: Floats, dynamics: Dynamics) -> Floats:
    """What time has left of memories, shape (n,), in [0, 1]; 1 at age 0, and never more with a greater age.

    Args:
        age_days: since the last use, or since it was stored, shape (n,); below 0, after a clock was set back, is 0.
        accesses: how many spaced uses there were, shape (n,), at least 0; each lengthens the time constant.
        dynamics: the curve and its scale.

    Source: the exponential is the usual form of Ebbinghaus, 1885, and what Park et al., UIST 2023 (Generative Agents)
    rank by; the logarithmic curve is Ebbinghaus' own, savings = k / ((log t)^c + k), with k = c = 1 and finite at 0.
    That use counts from its last time and in its number, with less each time, follows the base-level learning of
    ACT-R (Anderson, Schooler, Psychological Science 1991); that only spaced use strengthens, Cepeda et al.,
    Psychological Bulletin 2006.
    """
    constant = dynamics.decay_days * np.minimum(dynamics.most, 1.0 + dynamics.growth * np.maximum(accesses, 0.0))
    aged = np.maximum(age_days, 0.0) / constant
    if dynamics.curve == "logarithmic":
        return np.asarray(1.0 / (1.0 + np.log1p(aged)))
    return np.asarray(np.exp(-aged))


def retention(traits: Floats, age_days: Floats, accesses: Floats, dynamics: Dynamics) -> Floats:
    """How firmly memories are kept, shape (n,), in [0, 1]: their worth, times what time has left of them.

    The worth is the weighted sum of the traits, clamped to [0, 1].

    Args:
        traits: importance in [0, 1], emotional intensity in [0, 1] and valence in [-1, 1], shape (n, 3).
        age_days: as in :func:`decay`.
        accesses: as in :func:`decay`.
        dynamics: weights, curve and scale.
    """
    weights = np.array([dynamics.importance, dynamics.emotional_intensity, dynamics.valence])
    return np.asarray(np.clip(traits @ weights, 0.0, 1.0) * decay(age_days, accesses, dynamics))


def recent(decayed: Floats, share: float) -> Floats:
    """A prior for scores, shape (n,), in [1 - share, 1]: 1 for what is fresh, and never less than the bound.

    Args:
        decayed: what :func:`decay` gives, shape (n,).
        share: the most that age may take from a score, in [0, 1].
    """
    return 1.0 - share * (1.0 - decayed)


def counts(gap_hours: float, dynamics: Dynamics) -> bool:
    """Whether a use strengthens a memory, given the hours since the one before."""
    return gap_hours >= dynamics.spacing_hours
