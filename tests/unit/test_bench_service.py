import asyncio
import re
import runpy
import socket
import sys

import pytest

from ums_core.bench.__main__ import main
from ums_core.bench.bare import bare


@pytest.mark.bench
def test_the_cost_of_http_is_printed_by_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["service", "--memories", "30", "--dim", "8", "--searches", "4"])
    lines = capsys.readouterr().out.splitlines()
    ratios = [float(found[1]) for line in lines if (found := re.search(r"HTTP / core = ([0-9.]+)", line))]
    assert list(dict.fromkeys(line.partition(":")[0] for line in lines)) == ["search", "add"]
    assert all(part in lines[0] for part in ("core", "HTTP", "network", "JSON"))
    # Printed to two digits, so a ratio at the goal itself may go either way.
    assert status in (
        {0, 1}
        if any(abs(r - g) < 0.01 for r, g in zip(ratios, (2.5, 2.0), strict=True))
        else {int(ratios[0] > 2.5 or ratios[1] > 2.0)}
    )


def test_with_nothing_behind_as_many_bytes_are_answered_as_the_path_says() -> None:
    parts = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.request", "body": b"y"}]
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return parts.pop(0)

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    asyncio.run(bare({"type": "http", "path": "/7"}, receive, send))  # type: ignore[arg-type]  # plain dicts
    assert not parts
    assert [message.get("body", message.get("status")) for message in sent] == [200, b" " * 7]


def test_the_bare_application_ends_where_its_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(sys, "argv", ["bare", str(taken.getsockname()[1])])
        monkeypatch.delitem(sys.modules, "ums_core.bench.bare")
        with pytest.raises(SystemExit):
            runpy.run_module("ums_core.bench.bare", run_name="__main__")
