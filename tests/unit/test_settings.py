import copy
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from ums_core.errors import SettingsError
from ums_core.settings import DatabaseSettings, DecayWeights, ModelConfig, UnifiedSettings, reference

ROOT = Path(__file__).parents[2]
DEFAULTS = {
    "AI_DATABASE__URL": "sqlite:///./data/memory.db",
    "AI_DATABASE__BACKEND": "faiss",
    "AI_DATABASE__VECTOR_TYPE": "float32",
    "AI_DATABASE__BUSY_TIMEOUT": "10.0",
    "AI_DATABASE__WAL_CHECKPOINT_INTERVAL": "60.0",
    "AI_DATABASE__WAL_CHECKPOINT_WRITES": "1000",
    "AI_MODEL__EMBEDDER": "static",
    "AI_MODEL__VECTOR_DIM": "384",
    "AI_MODEL__MODALITIES": '["text"]',
    "AI_MODEL__VECTOR_DIMS": "{}",
    "AI_PERF__MAX_WORKERS": "4",
    "AI_MONITORING__ENABLE_METRICS": "false",
    "AI_MONITORING__TELEMETRY_LEVEL": "aggregate",
    "AI_MONITORING__LOG_LEVEL": "info",
    "AI_DYNAMICS__DECAY_RATE": "30.0",
    "AI_DYNAMICS__DECAY_CURVE": "exponential",
    "AI_DYNAMICS__DECAY_WEIGHTS__IMPORTANCE": "0.4",
    "AI_DYNAMICS__DECAY_WEIGHTS__EMOTIONAL_INTENSITY": "0.3",
    "AI_DYNAMICS__DECAY_WEIGHTS__VALENCE": "0.3",
    "AI_DYNAMICS__REINFORCEMENT": "0.5",
    "AI_DYNAMICS__MAX_REINFORCEMENT": "6.0",
    "AI_DYNAMICS__SPACING_HOURS": "1.0",
    "AI_LIFETIME__UNDO_DAYS": "30.0",
    "AI_LIFETIME__HISTORY_DAYS": "0.0",
    "AI_LIFETIME__IDEMPOTENCY_DAYS": "0.0",
    "AI_LIFETIME__TTL_S": "{}",
    "AI_LIFETIME__REFRESH_ON_READ": "false",
    "AI_RANKING__KINDS": "{}",
    "AI_MAINTENANCE__INTERVAL": "0.0",
    "AI_MAINTENANCE__STEPS": '["sweep","consolidate","forget","purge","prune","lapse"]',
    "AI_MAINTENANCE__THRESHOLD": "0.8",
    "AI_MAINTENANCE__RETAIN_FRACTION": "1.0",
    "AI_MAINTENANCE__MIN_TOTAL": "1000",
    "AI_MAINTENANCE__LEASE": "60.0",
    "AI_RANKING__USE_CROSS_ENCODER": "false",
    "AI_RANKING__CROSS_ENCODER": "cross-encoder/ms-marco-MiniLM-L6-v2",
    "AI_RANKING__CROSS_ENCODER_TOP_N": "20",
    "AI_RANKING__CROSS_ENCODER_BUDGET_S": "1.0",
    "AI_SECURITY__ENCRYPT_AT_REST": "false",
    "AI_SECURITY__ENCRYPTION_KEY": "",
    "AI_SECURITY__ENCRYPTION_KEY_FILE": "",
    "AI_SECURITY__KMS_BACKEND": "none",
    "AI_SECURITY__KMS_KEY_ID": "",
    "AI_SECURITY__KMS_PARAMS": "{}",
    "AI_SECURITY__ALLOW_UNSEALED": "false",
    "AI_ENV": "development",
    "AI_REMOTE__URL": "",
    "AI_REMOTE__TOKEN": "",
    "AI_REMOTE__TIMEOUT": "10.0",
    "AI_REMOTE__ATTEMPTS": "3",
    "AI_REMOTE__BUDGET": "2.0",
    "AI_REMOTE__CA_FILE": "",
    "AI_REMOTE__ALLOW_INSECURE_TRANSPORT": "false",
    "AI_CHANNEL": "personal",
    "AI_PRIVACY_MODE": "strict",
    "AI_SERVICE__HOST": "127.0.0.1",
    "AI_SERVICE__PORT": "8000",
    "AI_SERVICE__TLS_CERTIFICATE": "",
    "AI_SERVICE__TLS_KEY": "",
    "AI_SERVICE__BEHIND_TLS": "false",
    "AI_SERVICE__WORKERS": "1",
    "AI_SERVICE__MAX_BODY_BYTES": "8388608",
    "AI_SERVICE__MAX_BATCH": "1000",
    "AI_SERVICE__MAX_K": "1000",
    "AI_SERVICE__MAX_FILTER_DEPTH": "16",
    "AI_SERVICE__MAX_FILTER_SIZE": "256",
    "AI_SERVICE__TIME_BUDGET": "30.0",
    "AI_SERVICE__MAX_IN_FLIGHT": "64",
    "AI_SERVICE__MAX_STREAMS": "64",
    "AI_SERVICE__MAX_OPEN_TENANTS": "64",
    "AI_SERVICE__RATE_LIMIT": "6000/minute",
    "AI_SERVICE__AUTH_FAILURE_LIMIT": "30/minute",
    "AI_SERVICE__RATE_STORAGE": "",
    "AI_SUMMARY_STRATEGY": "head2tail",
    "AI_SUMMARY_MAX_CHARS": "1000",
    "AI_SUMMARY_TIMEOUT": "60.0",
}
OTHERS = {
    "AI_DATABASE__URL": ("sqlite:////var/lib/ums/m.db", "sqlite:////var/lib/ums/m.db"),
    "AI_DATABASE__BACKEND": ("exact", "exact"),
    "AI_DATABASE__VECTOR_TYPE": ("int8", "int8"),
    "AI_DATABASE__BUSY_TIMEOUT": ("2.5", 2.5),
    "AI_DATABASE__WAL_CHECKPOINT_INTERVAL": ("1.5", 1.5),
    "AI_DATABASE__WAL_CHECKPOINT_WRITES": ("7", 7),
    "AI_MODEL__EMBEDDER": ("hashing:64", "hashing:64"),
    "AI_MODEL__VECTOR_DIM": ("12", 12),
    "AI_MODEL__MODALITIES": ('["text", "image"]', ["text", "image"]),
    "AI_MODEL__VECTOR_DIMS": ('{"image": 3}', {"image": 3}),
    "AI_PERF__MAX_WORKERS": ("9", 9),
    "AI_MONITORING__ENABLE_METRICS": ("true", True),
    "AI_MONITORING__TELEMETRY_LEVEL": ("none", "none"),
    "AI_MONITORING__LOG_LEVEL": ("debug", "debug"),
    "AI_DYNAMICS__DECAY_RATE": ("15", 15.0),
    "AI_DYNAMICS__DECAY_WEIGHTS__IMPORTANCE": ("0.1", 0.1),
    "AI_DYNAMICS__DECAY_WEIGHTS__EMOTIONAL_INTENSITY": ("0.2", 0.2),
    "AI_DYNAMICS__DECAY_WEIGHTS__VALENCE": ("0", 0.0),
    "AI_DYNAMICS__DECAY_CURVE": ("logarithmic", "logarithmic"),
    "AI_DYNAMICS__REINFORCEMENT": ("0", 0.0),
    "AI_DYNAMICS__MAX_REINFORCEMENT": ("2", 2.0),
    "AI_DYNAMICS__SPACING_HOURS": ("24", 24.0),
    "AI_LIFETIME__UNDO_DAYS": ("7", 7.0),
    "AI_LIFETIME__TTL_S": ('{"users/a": 60}', {"users/a": 60.0}),
    "AI_LIFETIME__REFRESH_ON_READ": ("true", True),
    "AI_RANKING__KINDS": ('{"users/ana": "notes"}', {"users/ana": "notes"}),
    "AI_MAINTENANCE__INTERVAL": ("3600", 3600.0),
    "AI_MAINTENANCE__STEPS": ('["sweep"]', ["sweep"]),
    "AI_MAINTENANCE__THRESHOLD": ("0.9", 0.9),
    "AI_MAINTENANCE__RETAIN_FRACTION": ("0.5", 0.5),
    "AI_MAINTENANCE__MIN_TOTAL": ("0", 0),
    "AI_MAINTENANCE__LEASE": ("5", 5.0),
    "AI_RANKING__USE_CROSS_ENCODER": ("1", True),
    "AI_RANKING__CROSS_ENCODER": ("/models/reader", "/models/reader"),
    "AI_RANKING__CROSS_ENCODER_TOP_N": ("50", 50),
    "AI_RANKING__CROSS_ENCODER_BUDGET_S": ("0.5", 0.5),
    "AI_SECURITY__ENCRYPT_AT_REST": ("true", True),
    "AI_SECURITY__ENCRYPTION_KEY": ("", SecretStr("")),
    "AI_SECURITY__ENCRYPTION_KEY_FILE": ("", ""),
    "AI_SECURITY__KMS_BACKEND": ("local", "local"),
    "AI_SECURITY__KMS_KEY_ID": ("main", "main"),
    "AI_SECURITY__KMS_PARAMS": ('{"path": "/k"}', {"path": "/k"}),
    "AI_SECURITY__ALLOW_UNSEALED": ("true", True),
    "AI_ENV": ("production", "production"),
    "AI_REMOTE__URL": ("https://memory.example.org", "https://memory.example.org"),
    "AI_REMOTE__TOKEN": ("ums_live_a_b", "ums_live_a_b"),
    "AI_REMOTE__TIMEOUT": ("3", 3.0),
    "AI_REMOTE__ATTEMPTS": ("1", 1),
    "AI_REMOTE__BUDGET": ("0.5", 0.5),
    "AI_REMOTE__CA_FILE": ("/etc/ca.pem", "/etc/ca.pem"),
    "AI_REMOTE__ALLOW_INSECURE_TRANSPORT": ("true", True),
    "AI_CHANNEL": ("dual", "dual"),
    "AI_PRIVACY_MODE": ("standard", "standard"),
    "AI_SERVICE__HOST": ("::1", "::1"),
    "AI_SERVICE__PORT": ("9", 9),
    "AI_SERVICE__TLS_CERTIFICATE": ("/c.pem", "/c.pem"),
    "AI_SERVICE__TLS_KEY": ("/k.pem", "/k.pem"),
    "AI_SERVICE__BEHIND_TLS": ("true", True),
    "AI_SERVICE__WORKERS": ("2", 2),
    "AI_SERVICE__MAX_BODY_BYTES": ("2048", 2048),
    "AI_SERVICE__MAX_BATCH": ("9", 9),
    "AI_SERVICE__MAX_K": ("9", 9),
    "AI_SERVICE__MAX_FILTER_DEPTH": ("9", 9),
    "AI_SERVICE__MAX_FILTER_SIZE": ("9", 9),
    "AI_SERVICE__TIME_BUDGET": ("1.5", 1.5),
    "AI_SERVICE__MAX_IN_FLIGHT": ("9", 9),
    "AI_SERVICE__MAX_STREAMS": ("9", 9),
    "AI_SERVICE__MAX_OPEN_TENANTS": ("9", 9),
    "AI_SERVICE__RATE_LIMIT": ("5/second", "5/second"),
    "AI_SERVICE__AUTH_FAILURE_LIMIT": ("2/hour", "2/hour"),
    "AI_SERVICE__RATE_STORAGE": ("redis://h:1/0", "redis://h:1/0"),
    "AI_SUMMARY_STRATEGY": ("extractive", "extractive"),
    "AI_SUMMARY_MAX_CHARS": ("300", 300),
    "AI_SUMMARY_TIMEOUT": ("5", 5.0),
}


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith("AI_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def _value(settings: UnifiedSettings, name: str) -> object:
    value: object = settings
    for part in name.removeprefix("AI_").lower().split("__"):
        value = getattr(value, part)
    return value


def _refusal(act: Callable[[], object]) -> str:
    with pytest.raises(SettingsError) as caught:
        act()
    return str(caught.value)


# Names and defaults


def test_every_setting_has_the_name_and_the_default_it_was_promised() -> None:
    assert {setting.name: setting.default for setting in reference()} == DEFAULTS
    assert len(reference()) == len(DEFAULTS)


def test_every_setting_is_explained() -> None:
    assert all(setting.description and setting.type for setting in reference())
    assert next(s for s in reference() if s.name == "AI_DATABASE__BACKEND").type == "faiss or exact"


def test_settings_without_any_source_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = UnifiedSettings()
    for name, default in DEFAULTS.items():
        monkeypatch.setenv(name, default)
    assert UnifiedSettings() == nothing


@pytest.mark.parametrize("spelling", [str.upper, str.lower])
def test_every_setting_is_read_from_its_variable(
    monkeypatch: pytest.MonkeyPatch, spelling: Callable[[str], str]
) -> None:
    for name, (text, _) in OTHERS.items():
        monkeypatch.setenv(spelling(name), text)
    settings = UnifiedSettings()
    assert {name: _value(settings, name) for name in OTHERS} == {name: value for name, (_, value) in OTHERS.items()}


def test_every_setting_is_read_from_the_dotenv_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("".join(f"{name}={text}\n" for name, (text, _) in OTHERS.items()))
    settings = UnifiedSettings()
    assert {name: _value(settings, name) for name in OTHERS} == {name: value for name, (_, value) in OTHERS.items()}


def test_documentation_lists_every_setting_with_its_default() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{s.name}` | {s.type} | `{s.default}` | {s.description} |" for s in reference()]


def test_dotenv_example_lists_every_setting_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    entries = [place for place, line in enumerate(lines) if re.match(r"# AI_\w+=", line)]
    assert [(lines[place - 1], lines[place]) for place in entries] == [
        (f"# {s.description}", f"# {s.name}={s.default}") for s in reference()
    ]
    assert all(not line or line.startswith("#") for line in lines)


def test_dotenv_example_uncommented_is_the_defaults(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    (tmp_path / ".env").write_text(re.sub(r"(?m)^# (?=AI_\w+=)", "", example))
    settings = UnifiedSettings()
    assert settings == UnifiedSettings(_env_file=None)
    assert settings.model_fields_set == set(UnifiedSettings.model_fields)


# Where values come from


def test_a_keyword_beats_the_environment_which_beats_the_dotenv_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(
        "AI_PERF__MAX_WORKERS=2\nAI_DATABASE__BACKEND=exact\nAI_DATABASE__WAL_CHECKPOINT_WRITES=5\n"
    )
    monkeypatch.setenv("AI_PERF__MAX_WORKERS", "3")
    monkeypatch.setenv("AI_DATABASE__WAL_CHECKPOINT_WRITES", "6")
    settings = UnifiedSettings(database={"wal_checkpoint_writes": 7})
    assert (settings.perf.max_workers, settings.database.backend) == (3, "exact")
    assert settings.database.wal_checkpoint_writes == 7


def test_a_group_given_as_an_object_stands_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_MODEL__EMBEDDER", "none")
    model = ModelConfig(vector_dim=128)
    assert UnifiedSettings(model=model).model is model


def test_another_dotenv_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AI_PERF__MAX_WORKERS=2\n")
    (tmp_path / "other.env").write_text("AI_PERF__MAX_WORKERS=3\n")
    assert UnifiedSettings(_env_file="other.env").perf.max_workers == 3
    assert UnifiedSettings(_env_file=None).perf.max_workers == 4


def test_a_dotenv_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("AI_DATABASE__URL=sqlite:///./gedächtnis.db\n".encode("latin-1"))
    assert ".env is not UTF-8" in _refusal(UnifiedSettings)


def test_settings_survive_copy_and_pickle() -> None:
    settings = UnifiedSettings(model=ModelConfig(modalities=["image"], vector_dims={"image": 3}))
    assert copy.deepcopy(settings) == pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301  # our own bytes


# Unknown keys


@pytest.mark.parametrize(
    ("values", "given", "known"),
    [
        ({"databse": {}}, "databse", "database"),
        ({"database": {"uri": "x"}}, "database.uri", "database.url"),
        ({"vector_dim": 3}, "vector_dim", "model.vector_dim"),
        (
            {"dynamics": {"decay_weights": {"valance": 1}}},
            "dynamics.decay_weights.valance",
            "dynamics.decay_weights.valence",
        ),
    ],
)
def test_an_unknown_keyword_is_refused_with_the_nearest_known_one(
    values: dict[str, object], given: str, known: str
) -> None:
    assert _refusal(lambda: UnifiedSettings(**values)) == (
        f"unknown setting {given!r}; the nearest known one is {known!r}"
    )


def test_an_unknown_keyword_of_a_group_is_refused_with_the_nearest_known_one() -> None:
    refused: dict[str, Any] = {"vector_dimm": 3}
    assert _refusal(lambda: ModelConfig(**refused)) == (
        "unknown setting 'vector_dimm'; the nearest known one is 'vector_dim'"
    )


def test_an_unknown_attribute_is_refused_with_the_nearest_known_one() -> None:
    settings = UnifiedSettings()
    assert "nearest known one is 'dynamics'" in _refusal(lambda: setattr(settings, "dynamic", {}))
    assert "nearest known one is 'decay_rate'" in _refusal(lambda: setattr(settings.dynamics, "decay_rat", 1))
    assert settings == UnifiedSettings()


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("AI_DATABSE__URL", "AI_DATABASE__URL"),
        ("AI_DATABASE_URL", "AI_DATABASE__URL"),
        ("ai_summary_stratgy", "AI_SUMMARY_STRATEGY"),
        ("AI_DATABASE__URL__HOST", "AI_DATABASE__URL"),
        ("AI_MODEL__VECTOR_DIMS__IMAGE", "AI_MODEL__VECTOR_DIMS"),
        ("AI_DYNAMICS__DECAY_WEIGHTS__IMPORTENCE", "AI_DYNAMICS__DECAY_WEIGHTS__IMPORTANCE"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_known_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, known: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert _refusal(UnifiedSettings) == (
        f"unknown environment variable {name.upper()}; the nearest known one is {known}"
    )
    monkeypatch.delenv(name)
    (tmp_path / ".env").write_text(f"{name}=1\n")
    assert _refusal(UnifiedSettings) == f"unknown .env entry {name.upper()}; the nearest known one is {known}"


def test_a_group_given_as_json_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_DATABASE", ' {"url": "sqlite:///./x.db"}')
    assert "unknown environment variable AI_DATABASE; " in _refusal(UnifiedSettings)


def test_variables_of_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = UnifiedSettings()
    for name in ("AI_MODEL", "AI_MODEL_NAME", "AI_DATABASE", "AI_GATEWAY_URL", "AI_TOKEN", "MODEL", "DATABASE__URL"):
        monkeypatch.setenv(name, "something")
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-1\nDATABASE__URL=x\n")
    assert UnifiedSettings() == before


def test_any_unknown_dotenv_entry_with_the_prefix_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AI_TOKEN=sk-secret\nAI_MODEL={}\n")
    refusal = _refusal(UnifiedSettings)
    assert "AI_TOKEN" in refusal
    assert "AI_MODEL;" in refusal
    assert "sk-secret" not in refusal


@pytest.mark.parametrize("name", ["AI_SUMMARY_STRATEGY", "AI_DATABASE__URL"])
def test_a_dotenv_entry_without_a_value_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / ".env").write_text(f"{name}\n")
    assert _refusal(UnifiedSettings) == f".env entry {name} has no value; write {name}=VALUE or remove it"


# Values


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("AI_DATABASE__BACKEND", "annoy"),
        ("AI_DATABASE__WAL_CHECKPOINT_INTERVAL", "0"),
        ("AI_DATABASE__WAL_CHECKPOINT_INTERVAL", "inf"),
        ("AI_DATABASE__BUSY_TIMEOUT", "0"),
        ("AI_DATABASE__WAL_CHECKPOINT_WRITES", "0"),
        ("AI_MODEL__EMBEDDER", ""),
        ("AI_MODEL__VECTOR_DIM", "0"),
        ("AI_MODEL__VECTOR_DIM", "1.5"),
        ("AI_MODEL__MODALITIES", "text,image"),
        ("AI_MODEL__MODALITIES", "[]"),
        ("AI_MODEL__MODALITIES", '["text", "text"]'),
        ("AI_MODEL__MODALITIES", '["text", " "]'),
        ("AI_MODEL__VECTOR_DIMS", "image=3"),
        ("AI_MODEL__VECTOR_DIMS", '{"text": 0}'),
        ("AI_MODEL__VECTOR_DIMS", "[]"),
        ("AI_PERF__MAX_WORKERS", "0"),
        ("AI_PERF__MAX_WORKERS", ""),
        ("AI_MONITORING__ENABLE_METRICS", "maybe"),
        ("AI_SUMMARY_STRATEGY", "HEAD2TAIL"),
        ("AI_DYNAMICS__DECAY_RATE", "0"),
        ("AI_DYNAMICS__DECAY_RATE", "nan"),
        ("AI_DYNAMICS__MAX_REINFORCEMENT", "0.5"),
        ("AI_SUMMARY_MAX_CHARS", "10"),
        ("AI_MAINTENANCE__STEPS", '["sweep", "guess"]'),
        ("AI_MAINTENANCE__THRESHOLD", "0"),
        ("AI_DYNAMICS__DECAY_WEIGHTS__IMPORTANCE", "-0.1"),
        ("AI_DYNAMICS__DECAY_WEIGHTS__EMOTIONAL_INTENSITY", "inf"),
        ("AI_DYNAMICS__DECAY_WEIGHTS__VALENCE", "nan"),
        ("AI_RANKING__USE_CROSS_ENCODER", "2"),
    ],
)
def test_an_unusable_value_is_refused_with_its_variable_and_the_default(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(name, text)
    refusal = _refusal(UnifiedSettings)
    assert f"({name})" in refusal
    assert refusal.endswith(f"; the default is {DEFAULTS[name]}")
    assert "\n" not in refusal


def test_every_bad_key_is_listed_with_its_value() -> None:
    refusal = _refusal(lambda: UnifiedSettings(perf={"max_workers": 0}, model=3, dynamics={"decay_rate": 0}))
    assert refusal.splitlines() == [
        "model = 3: must be a valid dictionary or instance of ModelConfig",
        "perf.max_workers (AI_PERF__MAX_WORKERS) = 0: must be greater than or equal to 1; the default is 4",
        "dynamics.decay_rate (AI_DYNAMICS__DECAY_RATE) = 0: must be greater than 0; the default is 30.0",
    ]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_negative_or_infinite_weight_is_refused(weight: float) -> None:
    assert f"valence = {weight}: must be" in _refusal(lambda: DecayWeights(valence=weight))
    settings = UnifiedSettings()
    assert "valence" in _refusal(lambda: setattr(settings.dynamics.decay_weights, "valence", weight))
    assert settings.dynamics.decay_weights.valence == 0.3


def test_a_long_value_is_shown_in_part() -> None:
    refusal = _refusal(lambda: UnifiedSettings(summary_strategy="x" * 1000))
    assert "…" in refusal
    assert len(refusal) < 300


def test_credentials_are_never_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        UnifiedSettings(database={"url": "postgres://me:hunter2/@:x@host/db"})
    assert "postgres://***@host/db" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(caught.value.__cause__)


def test_a_refusal_is_a_value_error_with_a_stable_code_and_not_pydantics_own() -> None:
    with pytest.raises(ValueError, match="max_workers") as caught:
        UnifiedSettings(perf={"max_workers": 0})
    assert isinstance(caught.value, SettingsError)
    assert not isinstance(caught.value, ValidationError)
    assert caught.value.code == "settings_error"


# Assignment


def test_an_assignment_is_converted_and_checked() -> None:
    settings = UnifiedSettings()
    settings.summary_strategy = "concat"
    settings.dynamics.decay_rate = 15.0
    settings.database = {"backend": "exact"}  # type: ignore[assignment]  # what is converted
    assert (settings.summary_strategy, settings.dynamics.decay_rate) == ("concat", 15.0)
    assert settings.database == DatabaseSettings(backend="exact")
    assert "database.backend (AI_DATABASE__BACKEND)" in _refusal(
        lambda: setattr(settings, "database", {"backend": "annoy"})
    )


@pytest.mark.parametrize(
    ("name", "value"), [("modalities", ["image"]), ("vector_dims", {"image": 3}), ("vector_dim", -1)]
)
def test_a_refused_assignment_changes_nothing(name: str, value: object) -> None:
    model = ModelConfig()
    _refusal(lambda: setattr(model, name, value))
    assert model == ModelConfig()
    assert model.model_fields_set == set()


def test_a_refused_assignment_keeps_what_was_given_before() -> None:
    model = ModelConfig(modalities=["text"])
    _refusal(lambda: setattr(model, "modalities", ["image"]))
    assert model.model_dump(exclude_unset=True) == {"modalities": ["text"]}


# Modalities


def test_text_has_the_vector_dim_unless_it_has_its_own() -> None:
    assert ModelConfig().dim_of("text") == 384
    assert ModelConfig(vector_dim=128).dim_of("text") == 128
    both = ModelConfig(modalities=["text", "image"], vector_dims={"text": 384, "image": 3}, vector_dim=7)
    assert (both.dim_of("text"), both.dim_of("image")) == (384, 3)


def test_a_modality_other_than_text_needs_a_dimension() -> None:
    refusal = _refusal(lambda: ModelConfig(modalities=["text", "image"]))
    assert "no dimension for the modalities ['image']" in refusal
    assert "vector_dims={'image': 512}" in refusal


def test_a_dimension_of_a_modality_that_is_not_kept_is_refused() -> None:
    assert "names ['image']" in _refusal(lambda: ModelConfig(vector_dims={"image": 3}))


def test_the_dimension_of_an_unknown_modality_is_refused() -> None:
    assert "unknown modality 'image'; modalities are ['text']" in _refusal(lambda: ModelConfig().dim_of("image"))
