"""The steps of the Dockerfile without Docker: a clean environment, its user, a read-only root, the health check."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from thorough import count

ROOT = Path(__file__).parents[2]
USER = 10_001
CONFINED = """
mount --make-rprivate /
mount --bind {data} {data}
mount --bind {scratch} {scratch}
mount -o remount,bind,ro / || exit 9
exec setpriv --reuid {user} --regid {user} --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all {command}
"""

pytestmark = [
    pytest.mark.skipif(not count(0, 1), reason="installs the service from a registry; UMS_THOROUGH=1 lets it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts a root that is read-only, which takes root"),
    pytest.mark.timeout(900),
]


def steps() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile with what it says."""
    text = re.sub(r"\\\n", " ", (ROOT / "docs/deploy/Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


def said(name: str) -> list[str]:
    return [rest for known, rest in steps() if known == name]


def interpreter() -> Path:
    """A Python that another user may start."""
    known = [Path(sys.base_prefix) / "bin/python3", Path("/usr/bin/python3"), Path("/usr/local/bin/python3")]
    for path in (each.resolve() for each in known if each.exists()):
        if all(parent.stat().st_mode & 0o001 for parent in path.parents):
            return path
    pytest.skip("every Python of this machine is root's alone")


class Container:
    """What stands for the image and what runs of it: its paths lie below a directory of their own."""

    def __init__(self, place: Path, port: int) -> None:
        self.place, self.port = place, port
        self.data, self.scratch = place / "data", place / "scratch"
        env = dict(pair.split("=", 1) for pair in " ".join(said("ENV")).split())
        self.env = {name: self.here(value).replace("$PATH", os.environ["PATH"]) for name, value in env.items()}
        self.env |= {"AI_SERVICE__PORT": str(port), "TMPDIR": str(self.scratch), "HOME": str(self.data)}

    def here(self, text: str) -> str:
        """A text of the Dockerfile with its paths and its port as they are here."""
        for path in ("/opt/ums", "/data"):
            text = text.replace(path, f"{self.place}{path}")
        return text.replace(":8000", f":{self.port}")

    def build(self) -> None:
        source = self.place / "src"
        source.mkdir()
        for places in said("COPY"):
            *names, target = places.split()
            if not names[0].startswith("--from"):
                for name in names:
                    copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                    copy(ROOT / name, source / target / ("" if target != "./" else name))
        (installing, making) = said("RUN")
        # The interpreter of this machine stands for the image; nothing of its packages is seen.
        (self.place / "bin").mkdir()
        (self.place / "bin/python").symlink_to(interpreter())
        env = {"PATH": f"{self.place}/bin:/usr/bin:/bin", "HOME": str(self.place)}
        subprocess.run(["sh", "-euc", self.here(installing)], cwd=source, env=env, check=True)  # noqa: S607  # from PATH
        assert "install --directory --owner ums --group ums --mode 0700 /data" in making
        assert f"--uid {USER} " in making
        for directory in (self.data, self.scratch):
            directory.mkdir(mode=0o700)
            os.chown(directory, USER, USER)
        shutil.rmtree(source)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run the entry point under a root that is read-only, without any right."""
        entry = json.loads(said("ENTRYPOINT")[0]) + list(arguments or json.loads(said("CMD")[0]))
        script = CONFINED.format(data=self.data, scratch=self.scratch, user=USER, command=" ".join(entry))
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script],  # noqa: S607  # from PATH
            cwd=self.data,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def healthy(self) -> bool:
        command = json.loads(self.here(said("HEALTHCHECK")[0].partition(" CMD ")[2]))
        return subprocess.run(command, env=self.env, capture_output=True, check=False).returncode == 0

    def ask(self, path: str, token: str, body: object) -> tuple[int, dict[str, list[object]]]:
        fields = {"Authorization": f"Bearer {token}"}
        try:
            with urlopen(Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), fields)) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            return error.code, {}


@pytest.fixture
def container() -> Iterator[Container]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Where another user may look in, as pytest's own places do not let it.
    with tempfile.TemporaryDirectory(prefix="ums-container-") as place:
        Path(place).chmod(0o755)
        yield Container(Path(place), port)


def test_what_the_dockerfile_says_gives_a_service_that_answers(container: Container) -> None:
    assert said("USER") == [str(USER)]
    container.build()
    with container.start("tokens", "create", "--tenant", "acme") as making:
        token = making.communicate(timeout=120)[0].strip()
    with container.start() as service:
        try:
            works(container, service, token)
        finally:
            service.send_signal(signal.SIGTERM if said("STOPSIGNAL") == ["SIGTERM"] else signal.SIGKILL)
        assert service.wait(60) in {0, -signal.SIGTERM}
    written = {path.name for path in container.data.rglob("*") if path.is_file()}
    assert {"memory.db.tokens.json", "memory.db"} <= written


def works(container: Container, service: subprocess.Popen[str], token: str) -> None:
    deadline = time.monotonic() + 120
    while not container.healthy():
        assert service.poll() is None, service.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.5)
    status = [line.split() for line in Path(f"/proc/{service.pid}/status").read_text().splitlines()]
    assert [fields[1:] for fields in status if fields[0] == "Uid:"] == [[str(USER)] * 4]
    assert {fields[1] for fields in status if fields[0].startswith("Cap")} == {"0" * 16}
    assert container.ask("/memory/add", token, {"text": "I moved to Lisbon in May"})[0] == 200
    code, found = container.ask("/memory/search", token, {"query": "where do I live?"})
    assert (code, len(found["hits"])) == (200, 1)
    assert container.ask("/memory/search", "ums_dev_x", {"query": "a"})[0] == 401
