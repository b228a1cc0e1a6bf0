"""How results are written on a terminal: tables as wide as it, JSON where a machine reads."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, narrow: bool) -> None:
    """Print rows of cells under their columns.

    Args:
        title: above the table.
        columns: their names.
        rows: cells as text, one for each column.
        narrow: cells stay on one line; otherwise long ones are folded.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left")
    for column in columns:
        shown.add_column(column, no_wrap=narrow, overflow="fold")
    for row in rows:
        # Text, not markup: a name may hold square brackets
        shown.add_row(*(Text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 100).print(shown)
