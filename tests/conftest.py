"""A test that needs an optional package says so by a marker, and is skipped with that reason where it is missing.

Another marker, ``no_cover``, is for what runs the lines of a test beside it, but many times or in other processes:
measuring coverage makes it up to four times as long, and tells nothing new. What hypothesis makes up has it by itself:
which lines that reaches is chance. It comes last: a function whose answers are kept is not called again where coverage
is measured.
"""

import os
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no reason to fail; where nobody watches, every run tries the same examples.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("tests"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "tests")

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
        if _is(item, marker) and find_spec(package) is None:
            pytest.skip(f"{marker}: the package {package} is not installed")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # The plugin of hypothesis has marked them by now.
        if _is(item, "hypothesis"):
            item.add_marker("no_cover")
    # Torch first, which takes ten seconds to import: so one process does it for all.
    items.sort(key=lambda item: (not _is(item, "needs_torch"), _is(item, "no_cover")))


def _is(item: pytest.Item, marker: str) -> bool:
    return item.get_closest_marker(marker) is not None
