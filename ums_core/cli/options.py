"""Options that several commands share, so that they are called and explained alike."""

from typing import Annotated

import typer

__all__ = ["AsJson", "Exactly", "Under"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Exactly = Annotated[
    str, typer.Option("--namespace", "-n", metavar="A/B", help="The exact namespace; %2F is a slash in a label.")
]
Under = Annotated[
    str, typer.Option("--namespace", "-n", metavar="A/B", help="Only under this prefix; %2F is a slash in a label.")
]
