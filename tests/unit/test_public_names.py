"""What the package has to offer by name."""

import pytest

import ums_core


def test_public_names_are_exact_and_sorted() -> None:
    assert ums_core.__all__ == sorted(ums_core.__all__)
    for name in ums_core.__all__:
        assert getattr(ums_core, name) is not None
    assert dir(ums_core) == ums_core.__all__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ums_core.nonsense
