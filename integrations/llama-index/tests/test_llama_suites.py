"""Memories, blocks, retrievers and rerankers on every kind of store, judged by the published suites."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from llama_index.core.memory import BaseMemory, BaseMemoryBlock
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.retrievers import BaseRetriever
from llama_index.memory.ums import UMSMemory, UMSMemoryBlock
from llama_index.postprocessor.ums import UMSRerank
from llama_index.retrievers.ums import UMSRetriever
from llama_index_ums.testing.memory import MemoryBlockSuite, MemorySuite
from llama_index_ums.testing.retriever import TEXTS, RerankerSuite, RetrieverSuite

from ums_core import Draft, MemoryStore

ADA = ("users", "ada")


class TestUMSMemory(MemorySuite):
    @pytest.fixture
    def memory(self, any_store: MemoryStore) -> BaseMemory:
        return UMSMemory(any_store, session_id="s", namespace=ADA)


class TestUMSMemoryBlock(MemoryBlockSuite):
    @pytest.fixture
    def block(self, any_store: MemoryStore) -> BaseMemoryBlock[Any]:
        return UMSMemoryBlock(any_store, namespace=ADA)


class TestUMSRetriever(RetrieverSuite):
    @pytest.fixture
    def retriever(self, any_store: MemoryStore) -> BaseRetriever:
        any_store.add([Draft(text=text, namespace=ADA) for text in TEXTS])
        return UMSRetriever(any_store, k=2, namespace=ADA)


class Shortest:
    """A small real reader: the shorter a text, the better."""

    def scores(self, question: str, texts: Sequence[str], *, budget_s: float) -> npt.NDArray[np.float64] | None:  # noqa: ARG002  # the port's signature
        return np.array([1 / len(text) for text in texts])

    def close(self) -> None: ...


class TestUMSRerank(RerankerSuite):
    @pytest.fixture
    def reranker(self) -> BaseNodePostprocessor:
        return UMSRerank(Shortest(), top_n=2)
