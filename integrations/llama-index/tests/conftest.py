from collections.abc import Iterator

import pytest

from ums_core import LocalStore, UnifiedSettings, open_store


@pytest.fixture
def store() -> Iterator[LocalStore]:
    with open_store(UnifiedSettings.for_testing()) as store:
        yield store
