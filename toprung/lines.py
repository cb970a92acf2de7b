"""Lines for the user, as they are: rich would take [words] for markup, and break long paths."""

from rich.console import Console


def show_line(console: Console, text: str) -> None:
    """Show a line, above a live table if there is one."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)
