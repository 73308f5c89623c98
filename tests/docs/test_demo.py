"""The demo runs through, nothing personal leaves, and its sealed files tell nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "docs/demo/demo.py"


@pytest.mark.needs_lite
@pytest.mark.needs_sqlcipher
@pytest.mark.needs_langchain
@pytest.mark.needs_llama_index
def test_the_demo_loses_nothing_and_shows_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, DEMO, "--dir", tmp_path], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "personal questions made no connection, marked ones 1" in " ".join(done.stdout.split())
    assert "0 lost, the same answers" in " ".join(done.stdout.split())
    assert done.stdout.count("FOUND") == done.stdout.count("not found") == 3
