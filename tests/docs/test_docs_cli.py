"""Every command, its arguments and its options stand in the reference."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ums_core.cli.app import app

PAGE = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text(encoding="utf-8")


def commands(
    command: TyperCommand | TyperGroup, path: tuple[str, ...] = ("ums",)
) -> Iterator[tuple[tuple[str, ...], TyperCommand | TyperGroup]]:
    inner = getattr(command, "commands", {})
    if not inner:
        yield path, command
    for name, child in inner.items():
        yield from commands(child, (*path, name))


ALL = list(commands(get_command(app)))


def section(path: tuple[str, ...]) -> str:
    start = re.search(rf"^## `{' '.join(path)}[` ].*$", PAGE, re.MULTILINE)
    assert start, f"docs/reference/cli.md has no section '## `{' '.join(path)} …`'"
    return start[0] + PAGE[start.end() :].partition("\n## ")[0]


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_a_command_is_documented_with_all_it_takes(path: tuple[str, ...], command: TyperCommand) -> None:
    text = section(path)
    for parameter in command.params:
        names = parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]
        for name in set(names) - {"--help", "-h"}:
            assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text), name


def test_every_section_is_of_a_command() -> None:
    documented = re.findall(r"^## `ums ([a-z -]+[a-z])", PAGE, re.MULTILINE)
    assert sorted(documented) == sorted(" ".join(path[1:]) for path, _ in ALL)
