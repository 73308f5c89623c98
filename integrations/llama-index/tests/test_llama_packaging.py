"""One distribution, whose leaves stand beside the framework and its other integrations (PEP 420)."""

import tomllib
from importlib import import_module
from pathlib import Path

import llama_index
import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LEAVES = sorted(path.parent.relative_to(ROOT) for path in (ROOT / "llama_index").rglob("__init__.py"))


def test_no_package_stands_above_a_leaf() -> None:
    assert len(LEAVES) == 8
    assert all(leaf.name == "ums" for leaf in LEAVES)
    assert getattr(llama_index, "__file__", None) is None
    assert {path.parent.relative_to(ROOT) for path in (ROOT / "llama_index").rglob("py.typed")} == set(LEAVES)


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_a_leaf_names_what_it_offers_and_who_wrote_it(leaf: Path) -> None:
    module = import_module(".".join(leaf.parts))
    assert set(module.__all__) <= set(PROJECT["tool"]["llamahub"]["class_authors"])
    assert all(getattr(module, name).__name__ == name for name in module.__all__)


def test_the_hub_finds_every_class() -> None:
    hub = PROJECT["tool"]["llamahub"]
    offered = {name for leaf in LEAVES for name in import_module(".".join(leaf.parts)).__all__}
    assert set(hub["class_authors"]) == offered
    assert import_module(hub["import_path"]).UMSVectorStore


def test_both_packages_are_in_the_wheel_and_the_framework_is_bounded() -> None:
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["llama_index", "llama_index_ums"]
    assert "llama-index-core>=0.14.24,<0.15" in PROJECT["project"]["dependencies"]
    assert PROJECT["project"]["readme"] == "README.md"
