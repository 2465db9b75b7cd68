"""Write docs/cli.md: of every verb, what `--help` prints at 80 columns.

python benchmarks/cli_page.py
"""

from __future__ import annotations

from pathlib import Path

import click

from edgegolf.cli import cli
from edgegolf.files import write_atomically

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
ABOVE = """# The command line

What `edgegolf VERB --help` prints of every verb. `edgegolf --install-completion` teaches bash, zsh
and fish to complete verbs, options, nets and files; open a new shell after it.
"""


def main() -> None:
    write_atomically(PAGE, cli_page())


def cli_page() -> str:
    """The page, as Markdown."""
    verbs = (_section(f"edgegolf {name}", command) for name, command in cli.commands.items())
    return "\n".join((ABOVE, _section("edgegolf", cli), *verbs))


def _section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name, terminal_width=80, **cli.context_settings)
    return f"## {name}\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    main()
