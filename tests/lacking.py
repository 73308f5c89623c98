"""An interpreter that lacks a package, as far as it can tell."""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

import pytest

__all__ = ["uninstall", "unload"]


class _Without(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] == self._package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def unload(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Forget until the end of the test that the package was imported."""
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)


def uninstall(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Find nothing of the package until the end of the test."""
    unload(monkeypatch, package)
    monkeypatch.setattr(sys, "meta_path", [_Without(package), *sys.meta_path])
