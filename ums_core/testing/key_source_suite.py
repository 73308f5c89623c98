"""What any source of keys must do: give back what it wrapped, to the right database, and nothing else to anybody."""

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ums_core.errors import KeyFailure
from ums_core.ports import Context, KeySource

__all__ = ["KeySourceSuite"]

CONTEXT: Context = {"app": "ums", "database": "ab" * 16, "purpose": "dek:0123456789abcdef"}


class KeySourceSuite(ABC):
    """Inherit it, and give a source by a fixture named ``source``; a test that needs a version more asks ``rotate``."""

    @pytest.fixture
    @abstractmethod
    def source(self) -> KeySource:
        """A source that is reachable."""

    @abstractmethod
    def rotate(self, source: KeySource) -> None:
        """Give the source's key a new version, where it has versions."""

    def test_a_new_key_is_given_back(self, source: KeySource) -> None:
        """What ``generate`` gives is 32 bytes, and what it wraps is the same."""
        key, wrapped = source.generate(CONTEXT)
        assert len(key) == 32
        assert source.unwrap(wrapped, CONTEXT) == key
        assert (wrapped.provider, wrapped.key_id) == (source.provider, source.key_id)

    def test_no_two_keys_are_alike(self, source: KeySource) -> None:
        """Nor are their wrappings."""
        one, other = source.generate(CONTEXT), source.generate(CONTEXT)
        assert one[0] != other[0]
        assert one[1].blob != other[1].blob

    def test_a_key_from_elsewhere_is_given_back(self, source: KeySource) -> None:
        """``wrap`` takes any key of 32 bytes."""
        key = bytes(range(32))
        wrapped = source.wrap(key, CONTEXT)
        assert source.unwrap(wrapped, CONTEXT) == key
        assert key not in wrapped.blob

    @pytest.mark.parametrize(
        "change",
        [{"database": "cd" * 16}, {"purpose": "dek:fedcba9876543210"}, {"app": "other"}, {"more": "x"}],
        ids=lambda change: next(iter(change)),
    )
    def test_a_key_is_bound_to_its_context(self, source: KeySource, change: dict[str, str]) -> None:
        """The wrapped key of another database, or of another purpose, does not unwrap."""
        _, wrapped = source.generate(CONTEXT)
        with pytest.raises(KeyFailure):
            source.unwrap(wrapped, {**CONTEXT, **change})
        assert len(source.unwrap(wrapped, CONTEXT)) == 32

    def test_a_changed_wrapping_does_not_unwrap(self, source: KeySource) -> None:
        """Flipped or cut anywhere, it gives an error of this project, and never a key."""
        _, wrapped = source.generate(CONTEXT)
        step = max(1, len(wrapped.blob) // 7)
        for place in [*range(0, len(wrapped.blob), step), len(wrapped.blob) - 1]:
            flipped = bytearray(wrapped.blob)
            flipped[place] ^= 0x04
            for blob in (bytes(flipped), wrapped.blob[:place]):
                with pytest.raises(KeyFailure):
                    source.unwrap(replace(wrapped, blob=blob), CONTEXT)

    def test_rewrapping_changes_the_wrapping_and_not_the_key(self, source: KeySource) -> None:
        """After a new version of the key too, and what the former one wrapped still unwraps."""
        key, wrapped = source.generate(CONTEXT)
        self.rotate(source)
        fresh = source.rewrap(wrapped, CONTEXT)
        assert fresh.blob != wrapped.blob
        assert fresh.version == source.describe().version
        assert source.unwrap(fresh, CONTEXT) == source.unwrap(wrapped, CONTEXT) == key
        with pytest.raises(KeyFailure):
            source.unwrap(fresh, {**CONTEXT, "database": "cd" * 16})

    def test_status_names_the_key_and_nothing_secret(self, source: KeySource) -> None:
        """It says that the source is reachable."""
        status = source.describe()
        assert (status.provider, status.key_id) == (source.provider, source.key_id)
        assert status.reachable
        assert status.detail == ()

    def test_many_threads_may_ask_at_once(self, source: KeySource) -> None:
        """Each gets its own key back."""

        def once(_number: int) -> bool:
            key, wrapped = source.generate(CONTEXT)
            return source.unwrap(wrapped, CONTEXT) == key

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(once, range(16)))
