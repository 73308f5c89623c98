"""Settings for tests: a directory of their own, deaf to the machine; and what importing settings costs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ums_core.errors import SettingsError
from ums_core.settings import DatabaseSettings, ModelConfig, UnifiedSettings
from ums_core.settings.unified import _remove

ROOT = Path(__file__).parents[2]


def test_settings_for_testing_have_a_directory_of_their_own() -> None:
    one, other = UnifiedSettings.for_testing(), UnifiedSettings.for_testing()
    assert one.database.path.parent.name.startswith("ums-")
    assert one.database.path.parent.is_dir()
    assert one.database.path.is_absolute()
    assert one.database.path != other.database.path


def test_settings_for_testing_read_neither_the_environment_nor_the_dotenv_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AI_SUMMARY_STRATEGY", "concat")
    monkeypatch.setenv("AI_DATABSE__URL", "x")
    (tmp_path / ".env").write_bytes(b"AI_PERF__MAX_WORKERS=\xff")
    settings = UnifiedSettings.for_testing()
    assert (settings.summary_strategy, settings.perf.max_workers) == ("head2tail", 1)
    assert (settings.model.embedder, settings.model.vector_dim) == ("hashing", 384)
    assert settings.database.backend == "exact"


@pytest.mark.parametrize("model", [{"vector_dim": 8}, ModelConfig(vector_dim=8)])
def test_overrides_are_merged_into_the_settings_for_testing(model: object) -> None:
    settings = UnifiedSettings.for_testing(
        model=model, database={"backend": "faiss"}, dynamics={"decay_rate": 1}, summary_strategy="concat"
    )
    assert settings.model == ModelConfig(embedder="hashing", vector_dim=8)
    assert settings.database.backend == "faiss"
    assert settings.database.path.parent.is_dir()
    assert (settings.dynamics.decay_rate, settings.summary_strategy) == (1.0, "concat")


def test_settings_for_testing_take_another_database() -> None:
    settings = UnifiedSettings.for_testing(database=DatabaseSettings(url="sqlite:///./x.db"))
    assert settings.database.path == Path("x.db")


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"databse": {}}, "nearest known one is 'database'"),
        ({"database": 3}, "database = 3"),
        ({"perf": {"max_workers": 0}}, "perf.max_workers (AI_PERF__MAX_WORKERS) = 0"),
    ],
)
def test_unusable_overrides_are_refused(overrides: dict[str, object], complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        UnifiedSettings.for_testing(**overrides)
    assert complaint in str(caught.value)


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def test_the_directory_for_testing_outlives_its_settings_and_is_removed_at_exit() -> None:
    directory = _run(
        "from ums_core.settings import UnifiedSettings\n"
        "path = UnifiedSettings.for_testing().database.path\n"
        "path.write_bytes(b'x')\n"
        "print(path.parent)"
    )
    assert Path(directory).name.startswith("ums-")
    assert not Path(directory).exists()


def test_a_forked_child_leaves_the_directory_to_its_parent(tmp_path: Path) -> None:
    (tmp_path / "of-the-parent").mkdir()
    _remove(str(tmp_path / "of-the-parent"), os.getpid() + 1)
    assert (tmp_path / "of-the-parent").is_dir()
    _remove(str(tmp_path / "of-the-parent"), os.getpid())
    assert not (tmp_path / "of-the-parent").exists()


def test_importing_settings_loads_pydantic_and_nothing_else() -> None:
    loaded = _run(
        "import sys, ums_core\n"
        "before = set(sys.modules)\n"
        "import ums_core.settings\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(*(name for name in new if not name.startswith('_')))"
    )
    assert set(loaded.split()) <= {
        "annotated_types",
        "dotenv",
        "pydantic",
        "pydantic_core",
        "pydantic_settings",
        "typing_extensions",
        "typing_inspection",
        "ums_core",
    }
