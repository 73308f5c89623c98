"""``python -m ums_core.cli``, and the console script ``ums``."""

import sys

__all__ = ["main"]

_NEEDED = {"rich", "typer"}


def main() -> None:
    """Run one command and end the process with its exit status; 1 where the extra ``cli`` is not installed."""
    try:
        from ums_core.cli.app import app  # noqa: PLC0415  # needs the extra `cli`, and says so
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] not in _NEEDED:
            raise
        sys.exit(f"ums: the command line needs the package {e.name}: pip install 'ums-core[cli]'")
    app(prog_name="ums")


if __name__ == "__main__":
    main()
