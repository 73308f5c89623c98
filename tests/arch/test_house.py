"""The shape of the house: sizes, names, what is imported, and what stands beside what."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ums_core import DualStore, EnhancedMemoryStore, LocalStore, MemoryStore, RemoteStore, errors

ROOT = Path(__file__).parents[2]
CORE = sorted((ROOT / "ums_core").rglob("*.py"))
ADAPTERS = sorted(path for path in (ROOT / "integrations").rglob("*.py") if "tests" not in path.parts)
MAX_FUNCTION_LINES = 60
TOP_LEVEL = {
    "ums_core", "integrations", "tests", "notebooks", "docs", "pyproject.toml", "README.md", "LICENSE", "SECURITY.md",
    "Makefile", "constraints.txt",
}  # fmt: skip
# Each optional package and the one file, or the one folder, that may import it.
OPTIONAL = {
    "faiss": "index/graph.py",
    "sqlcipher3": "storage/connect.py",
    "wordllama": "encoders/static.py",
    "sentence_transformers": "encoders/sentence_transformer.py",
    "httpx": "channels/transport.py",
    "websockets": "channels/streaming.py",
    "fastapi": "service/",
    "limits": "service/rates.py",
    "opentelemetry": "service/tracing.py",
    "prometheus_client": "service/metrics.py",
    "redis": "service/rates.py",
    "starlette": "service/",
    "onnxruntime": "encoders/onnx.py",
    "tokenizers": "encoders/onnx.py",
    "torch": "encoders/onnx_export.py",
    "typer": "cli/",
    "uvicorn": "service/run.py",
    "rich": "cli/",
    "cryptography": "crypto/cipher.py",
    "hvac": "crypto/vault.py",
    "boto3": "crypto/aws_kms.py",
    "botocore": "crypto/aws_kms.py",
}


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_core_file_has_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_adapter_file_has_at_most_200_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 200


@pytest.mark.parametrize("path", CORE + ADAPTERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_function_is_longer_than_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or node.lineno) - node.lineno < MAX_FUNCTION_LINES, node.name


def test_the_top_level_is_what_the_architecture_says() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()  # noqa: S607
    top = {name.split("/")[0] for name in tracked}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL


def test_importing_the_package_loads_nothing_optional() -> None:
    code = "import sys, ums_core; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {*OPTIONAL, "torch", "numpy", "pydantic", "filelock", "langchain_core", "llama_index"}


def test_importing_costs_at_most_half_more_than_its_two_dependencies() -> None:
    def seconds(statement: str) -> float:
        code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
        runs = [
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)
        ]
        return min(float(run.stdout) for run in runs)

    assert seconds("import ums_core") <= 1.5 * seconds("import pydantic_settings, numpy")


def imported(path: Path) -> set[str]:
    """Packages that a file imports when it runs; what only a type checker sees does not count."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
        waiting += ast.iter_child_nodes(node)
    return found


IMPORTED = {path.relative_to(ROOT / "ums_core"): imported(path) for path in CORE}


@pytest.mark.parametrize("package", OPTIONAL)
def test_an_optional_package_is_imported_in_one_file(package: str) -> None:
    places = [str(path) for path, names in IMPORTED.items() if package in names and path.parts[0] != "bench"]
    place = OPTIONAL[package]
    assert places == [place] or (place.endswith("/") and places and all(name.startswith(place) for name in places))


def test_the_door_mirrors_every_verb() -> None:
    for name, verb in inspect.getmembers(LocalStore, inspect.isfunction):
        if name.startswith("_"):
            continue
        mirrored = getattr(EnhancedMemoryStore, name)
        assert inspect.iscoroutinefunction(mirrored), name
        assert inspect.signature(mirrored) == inspect.signature(verb), name


@pytest.mark.parametrize("store", [LocalStore, RemoteStore, DualStore])
def test_a_store_has_the_signatures_of_the_protocol(store: type[MemoryStore]) -> None:
    for name, verb in inspect.getmembers(MemoryStore, inspect.isfunction):
        # A dual store returns a list that says more.
        if not name.startswith("_") and (store, name) != (DualStore, "search"):
            assert inspect.signature(getattr(store, name)) == inspect.signature(verb), name


def test_the_error_tree_is_drawn_as_it_is() -> None:
    drawing = errors.__doc__ or ""
    classes = [getattr(errors, name) for name in errors.__all__]
    assert all(re.search(rf"\b{cls.__name__}\b", drawing) for cls in classes)
    assert len({cls.code for cls in classes}) == len(classes)


def test_every_error_code_is_documented() -> None:
    page = (ROOT / "docs/reference/errors.md").read_text()
    for name in errors.__all__:
        assert f"`{getattr(errors, name).code}`" in page
        assert f"`{name}`" in page
