"""A Sentence Transformers cross-encoder, from a folder or from the Hugging Face hub."""

import time
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ums_core.encoders.sentence_transformer import let_go, load_cross_encoder
from ums_core.errors import SettingsError

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

__all__ = ["SentenceTransformerReranker"]

# Small enough to stop within a budget, large enough that a batch costs little more than its texts.
_BATCH = 5


class SentenceTransformerReranker:
    """Relevance by a model that reads question and text together.

    The first use imports torch (seconds) and loads the weights. Thread-safe: one call at a time, as the tokenizers are
    not; torch uses its own threads within the call.

    Args:
        name_or_path: a folder, which is never looked up on the network, or a name on the hub.
        device: as torch names it, such as ``cuda``.

    Raises:
        MissingExtra: at the first use, if ``sentence-transformers`` is not installed.
        SettingsError: at the first use, if the model is neither on disk nor to be downloaded, or gives more than one
            score a pair.

    Source: Nogueira, Cho, "Passage re-ranking with BERT", 2019.
    """

    def __init__(self, name_or_path: str, *, device: str = "cpu") -> None:
        self._name_or_path = name_or_path
        self._device = device
        self._lock = Lock()
        self._model: CrossEncoder | None = None

    def scores(self, question: str, texts: Sequence[str], *, budget_s: float) -> npt.NDArray[np.float64] | None:
        """The model's raw scores, shape (n,), higher is better; None if they would take longer than the budget.

        The pairs go in batches of five, the shortest first. None is begun that would end after the budget if it took
        as long as the longest so far.
        """
        deadline = time.monotonic() + budget_s
        if not self._lock.acquire(timeout=budget_s):
            return None
        try:
            start = time.monotonic()
            model = self._loaded()
            deadline += time.monotonic() - start
            return self._scored(model, question, texts, deadline)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Free the weights once no call uses them; the next use loads them again."""
        with self._lock:
            model, self._model = self._model, None
            if model is not None:
                let_go(model)

    def _loaded(self) -> "CrossEncoder":
        if self._model is None:
            self._model = load_cross_encoder(self._name_or_path, self._device)
        return self._model

    def _scored(
        self, model: "CrossEncoder", question: str, texts: Sequence[str], deadline: float
    ) -> npt.NDArray[np.float64] | None:
        scores = np.empty(len(texts))
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        longest_s = 0.0
        for first in range(0, len(order), _BATCH):
            start = time.monotonic()
            if start + longest_s >= deadline:
                return None
            batch = order[first : first + _BATCH]
            pairs = [(question, texts[place]) for place in batch]
            # Without its activation, which may round what lies apart to 1.0.
            found = model.predict(pairs, batch_size=_BATCH, show_progress_bar=False, activation_fn=lambda x: x)
            if np.ndim(found) != 1:
                raise SettingsError(
                    f"{self._name_or_path!r} gives {np.shape(found)[1]} scores a pair; "
                    "name a cross-encoder with one, such as cross-encoder/ms-marco-MiniLM-L6-v2"
                )
            scores[batch] = found
            longest_s = max(longest_s, time.monotonic() - start)
        return scores
