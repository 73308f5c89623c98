import pytest
from llama_index.core.vector_stores.types import BasePydanticVectorStore
from llama_index.vector_stores.ums import UMSVectorStore
from llama_index_ums.testing.vector_modes import FullVectorStoreSuite

from ums_core import LocalStore


class TestUMSVectorStore(FullVectorStoreSuite):
    @pytest.fixture
    def vector_store(self, any_store: LocalStore) -> BasePydanticVectorStore:
        return UMSVectorStore(store=any_store, namespace=("docs",))


def test_class() -> None:
    names_of_base_classes = [b.__name__ for b in UMSVectorStore.__mro__]
    assert BasePydanticVectorStore.__name__ in names_of_base_classes
