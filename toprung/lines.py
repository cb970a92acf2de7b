"""Lines for the user, without secrets; rich would take [words] for markup, and break long paths."""

from rich.console import Console

from trainables.system.secrecy import redacted


def show_line(console: Console, text: str) -> None:
    """Show a line, above a live table if there is one."""
    console.print(redacted(text), highlight=False, markup=False, soft_wrap=True)
