"""Personal work sends nothing: it needs no route, sends no packet over one, and no system call names an address.

Each way of watching is shown to see a leak as well: a question that is marked global.
"""

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.no_cover, pytest.mark.needs_lite]

WORKFLOW = Path(__file__).with_name("personal_workflow.py")
# An interface with a way out, whose packets go nowhere; without IPv6, which would announce itself.
WITH_ROUTE = """
set -e
for which in all default; do echo 1 > /proc/sys/net/ipv6/conf/$which/disable_ipv6; done
ip link set lo up
ip link add va type veth peer name vb
ip addr add 10.9.0.1/24 dev va
ip link set va up
ip link set vb up
ip route add default via 10.9.0.2 dev va
exec "$@"
"""
WITHOUT_ROUTE = 'set -e; ip link set lo up 2>/dev/null || true; exec "$@"'
ADDRESS = re.compile(r"(?:sin_addr=inet_addr\(|inet_pton\(AF_INET6, )\"([^\"]+)\"")
LOOPBACK = re.compile(r"^(127\.|::1$)")


@cache
def alone() -> tuple[str, ...]:
    """The command that runs another one in a network namespace of its own; skips where there is none to be had."""
    for command in (("unshare", "-n"), ("unshare", "-rn")):
        if (
            shutil.which("unshare")
            and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
        ):
            return command
    pytest.skip("this machine gives no network namespace (unshare -n)")


def needs(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed; .ci/run installs it")


def run(directory: Path, *wanted: str, under: tuple[str, ...] = ()) -> dict[str, Any]:
    command = [*under, sys.executable, str(WORKFLOW), str(directory), *wanted]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr[-2000:]
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def assert_lived(personal: dict[str, Any]) -> None:
    did = personal["did"]
    assert (did["imported"], did["deleted"], did["left"]) == (120, 1, 119)
    assert did["hits"] > 10
    assert personal["events"] == 0


def test_personal_work_passes_where_there_is_no_way_out(tmp_path: Path) -> None:
    told = run(tmp_path, "leak", under=(*alone(), "sh", "-c", WITHOUT_ROUTE, "sh"))
    assert_lived(told["personal"])
    # Without a route, a leak fails, and says so.
    assert "unreachable" in told["leak"]["did"]
    assert told["leak"]["events"] > 0


def test_no_packet_leaves_where_there_is_a_way_out(tmp_path: Path) -> None:
    needs("ip")
    command = (*alone(), "sh", "-c", WITH_ROUTE, "sh")
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine makes no pair of virtual interfaces (ip link add type veth)")
    told = run(tmp_path, "leak", under=command)
    assert_lived(told["personal"])
    assert told["personal"]["sent"] == 0
    assert told["leak"]["sent"] > 0


def test_no_system_call_names_an_address_outside_this_machine(tmp_path: Path) -> None:
    needs("strace")
    log = tmp_path / "calls"
    tracing = ("strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(log))
    if subprocess.run([*tracing, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody trace a process (ptrace)")
    assert_lived(run(tmp_path / "a", under=tracing)["personal"])
    assert addresses(log) == set()
    run(tmp_path / "b", "leak", under=tracing)
    assert addresses(log) == {"192.0.2.1"}


def addresses(log: Path) -> set[str]:
    found = set(ADDRESS.findall(log.read_text(encoding="utf-8", errors="replace")))
    return {address for address in found if not LOOPBACK.match(address)}
