from collections.abc import Iterator
from typing import Any

import pytest
from langchain_kinds import Stores
from langchain_tests import integration_tests
from langchain_ums import UMSRetriever

from ums_core import Draft, MemoryStore


class TestUMSRetriever(integration_tests.RetrieversIntegrationTests):
    _store: MemoryStore

    @pytest.fixture(autouse=True)
    def _filled(self, store_of: Stores) -> Iterator[None]:
        store = store_of()
        store.add([Draft(text=f"Note {number}: the kettle in room {number} is broken.") for number in range(5)])
        type(self)._store = store  # noqa: SLF001  # the suite asks properties for it, which take no fixture
        yield
        del type(self)._store  # noqa: SLF001  # as above

    @property
    def retriever_constructor(self) -> type[UMSRetriever]:
        return UMSRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"store": self._store}

    @property
    def retriever_query_example(self) -> str:
        return "Which kettle is broken?"
