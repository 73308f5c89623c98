import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_every_block_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    names: dict[str, object] = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, README.name, "exec"), names)  # noqa: S102  # our own text
    assert list(tmp_path.iterdir()) == []
