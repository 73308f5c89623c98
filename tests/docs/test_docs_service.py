"""Every metric and log field of the service is documented, and what is documented exists."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ums_core.service.logs import FIELDS
from ums_core.service.metrics import Metrics
from ums_core.service.tokens import SCOPES

DOCS = Path(__file__).parents[2] / "docs"
HOW_TO = (DOCS / "howto/run-the-service.md").read_text(encoding="utf-8")
ALERTS = DOCS / "howto/ums-alerts.yml"


def metrics() -> set[str]:
    return {f"{m.name}_total" if m.type == "counter" else m.name for m in Metrics().registry.collect()}


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


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    command = [hadolint, "--failure-threshold", "style", DOCS / "deploy/Dockerfile"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


def test_the_compose_file_confines_what_it_starts_and_names_what_exists() -> None:
    compose = yaml.safe_load((DOCS / "deploy/compose.yml").read_text(encoding="utf-8"))
    assert set(compose["services"]) == {"ums", "prometheus", "qdrant"}
    ours = compose["services"]["ums"]
    assert (ours["read_only"], ours["cap_drop"], ours["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert (DOCS / "deploy" / ours["build"]["context"] / ours["build"]["dockerfile"]).is_file()
    places = [place.partition(":")[0] for service in compose["services"].values() for place in service["volumes"]]
    assert {place for place in places if not place.startswith(".")} == set(compose["volumes"])
    made = {"./prometheus.token"}  # by the command in the README
    assert all((DOCS / "deploy" / place).is_file() for place in places if place.startswith(".") and place not in made)
    # Reached from this machine alone, and Qdrant not even from there.
    assert all(
        port.startswith("127.0.0.1:") for service in compose["services"].values() for port in service.get("ports", ())
    )
    assert "ports" not in compose["services"]["qdrant"]
