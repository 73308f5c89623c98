"""``ums models``: the models that embed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ums_core.cli.context import Group
from ums_core.cli.options import AsJson
from ums_core.cli.show import print_json, print_table, tell

if TYPE_CHECKING:
    from ums_core.encoders.onnx_export import Exported

__all__ = ["models"]

models = typer.Typer(cls=Group, help="The models that embed.", no_args_is_help=True)


@models.callback()
def _group() -> None:
    """Stand for the group, which has one command so far."""


@models.command("export")
def export(
    name_or_path: Annotated[str, typer.Argument(help="A Sentence Transformers model: a folder, or a name on the hub.")],
    *,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The folder to make; must not exist.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="Keep the weights in eight bits: a quarter of the size, and faster.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a folder for the embedder onnx:DIR of a model, and check its vectors against the original's."""
    from ums_core.encoders.onnx_export import export as made_of  # noqa: PLC0415  # imports torch

    tell(f"exporting {name_or_path} ...")
    exported = made_of(name_or_path, to, int8=int8)
    show = print_json if as_json else _show
    show(exported)


def _show(exported: "Exported") -> None:
    facts = (
        ("folder", exported.folder),
        ("components", str(exported.dim)),
        ("size", f"{exported.bytes / 1e6:.1f} MB"),
        ("cosine with the original", f"{exported.cosine_mean:.5f}, at least {exported.cosine_min:.5f}"),
    )
    print_table(("", ""), facts)
    tell(f"use it with AI_MODEL__EMBEDDER=onnx:{exported.folder}")
