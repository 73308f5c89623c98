"""A suite for any LangGraph store, as none is published: inherit ``StoreSuite`` and give a fixture ``make_store``.

.. code-block:: python

    class TestMyStore(StoreSuite):
        @pytest.fixture
        def make_store(self) -> MakeStore:
            return lambda *, index, ttl, clock: MyStore(index=index, ttl=ttl, clock=clock)

Each test is named after what it demands, and most run blocking and awaited. Where published stores differ, the suite
takes a side, which the README of ``langchain-ums`` lists. ``BrokenStore`` puts a defect before a good store: the suite
fails on each of ``DEFECTS``.
"""

from .broken import DEFECTS, BrokenStore
from .case import DIMS, Clock, Face, Make, MakeStore, StoreCase, Words
from .finding import StoreFinding
from .places import StorePlaces
from .times import StoreTimes
from .together import StoreTogether
from .values import StoreValues

__all__ = ["DEFECTS", "DIMS", "BrokenStore", "Clock", "Face", "Make", "MakeStore", "StoreCase", "StoreSuite", "Words"]


class StoreSuite(StoreValues, StoreFinding, StorePlaces, StoreTimes, StoreTogether):
    """Everything that is demanded of a store."""
