"""A test that needs an optional package says so by a marker, and is skipped with that reason where it is missing."""

from importlib.util import find_spec

import pytest

PACKAGES = {
    "needs_numpy": "numpy",
    "needs_faiss": "faiss",
    "needs_lite": "wordllama",
    "needs_sqlcipher": "sqlcipher3",
    "needs_torch": "sentence_transformers",
    "needs_langchain": "langchain_ums",
    "needs_llama_index": "llama_index",
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, package in PACKAGES.items():
        if item.get_closest_marker(marker) is not None and find_spec(package) is None:
            pytest.skip(f"{marker}: the package {package} is not installed")
