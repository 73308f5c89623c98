"""The reference of the interface is made of the interface, and every route is in it."""

import runpy
from pathlib import Path

import pytest

from ums_core import UnifiedSettings
from ums_core.service import reference
from ums_core.service.app import create_app
from ums_core.service.reference import markdown

PAGE = Path(__file__).parents[2] / "docs/reference/http-api.md"


def test_every_route_and_schema_is_in_the_reference() -> None:
    page = PAGE.read_text(encoding="utf-8")
    made = markdown(create_app(UnifiedSettings.for_testing()).openapi())
    headings = [line for line in made.splitlines() if line.startswith("## ")]
    assert headings == [line for line in page.splitlines() if line.startswith("## ")]
    assert "## `POST /memory/add`" in headings


def test_the_reference_is_printed_by_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(reference.__file__), run_name="__main__")
    assert capsys.readouterr().out == markdown(create_app(UnifiedSettings.for_testing()).openapi())
