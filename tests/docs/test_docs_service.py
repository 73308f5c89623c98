"""Every route, metric and log field of the service is documented, and what is documented exists."""

import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from ums_core import UnifiedSettings
from ums_core.service import reference
from ums_core.service.app import create_app
from ums_core.service.logs import FIELDS
from ums_core.service.metrics import Metrics
from ums_core.service.reference import markdown
from ums_core.service.tokens import SCOPES

DOCS = Path(__file__).parents[2] / "docs"
HOW_TO = (DOCS / "howto/run-the-service.md").read_text(encoding="utf-8")
ALERTS = DOCS / "howto/ums-alerts.yml"


def metrics() -> set[str]:
    return {f"{m.name}_total" if m.type == "counter" else m.name for m in Metrics().registry.collect()}


def test_every_route_and_schema_is_in_the_reference() -> None:
    page = (DOCS / "reference/http-api.md").read_text(encoding="utf-8")
    made = markdown(create_app(UnifiedSettings.for_testing()).openapi())
    headings = [line for line in made.splitlines() if line.startswith("## ")]
    assert headings == [line for line in page.splitlines() if line.startswith("## ")]
    assert "## `POST /memory/add`" in headings


def test_the_reference_is_printed_by_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(reference.__file__), run_name="__main__")
    assert capsys.readouterr().out == markdown(create_app(UnifiedSettings.for_testing()).openapi())


def test_every_metric_is_documented_and_no_other() -> None:
    assert set(re.findall(r"^\| `(ums_\w+)` \|", HOW_TO, re.MULTILINE)) == metrics()


@pytest.mark.parametrize("name", ["ums-alerts.yml", "ums-grafana.json"])
def test_alerts_and_dashboard_look_at_metrics_that_exist(name: str) -> None:
    text = (DOCS / "howto" / name).read_text(encoding="utf-8")
    named = {re.sub(r"_(bucket|count|sum)$", "", found) for found in re.findall(r"\bums_[a-z_]+", text)}
    assert named
    assert named <= metrics()
    if name.endswith("json"):
        assert len(json.loads(text)["panels"]) == 8


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed: apt-get install prometheus")
def test_prometheus_takes_the_alerts() -> None:
    run = subprocess.run(["promtool", "check", "rules", ALERTS], capture_output=True, text=True, check=False)  # noqa: S607  # from PATH
    assert run.returncode == 0, run.stderr


def test_every_field_of_a_log_line_and_every_scope_is_documented() -> None:
    assert all(field in HOW_TO for field in FIELDS)
    assert all(f"`{scope}`" in HOW_TO for scope in SCOPES)
