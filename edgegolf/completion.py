"""Completion of the command line: what shells offer, and the line that makes them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegolf.errors import EdgegolfError
from edgegolf.files import write_atomically

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

VARIABLE = "_EDGEGOLF_COMPLETE"  # click's; with it the command answers a shell
FISH = ".config/fish/completions/edgegolf.fish"  # read by itself
STARTUP = {"bash": ".bashrc", "zsh": ".zshrc"}  # where a line is added
# Names of nets have colons, which are no breaks between words then.
BEFORE = {"bash": 'COMP_WORDBREAKS="${COMP_WORDBREAKS//:/}"\n'}


def nets(context: Any, parameter: Any, incomplete: str) -> list[CompletionItem]:
    """The nets of the zoo whose names begin so."""
    from edgegolf.zoo import all_names

    return _beginning(all_names(), incomplete)


def models(context: Any, parameter: Any, incomplete: str) -> list[CompletionItem]:
    """The nets that have files and begin so, and the shell's files."""
    from click.shell_completion import CompletionItem

    from edgegolf.workspace import net_names

    return [*_beginning(net_names(), incomplete), CompletionItem(incomplete, type="file")]


def _beginning(names: tuple[str, ...], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def install_completion(command: click.Command, home: Path) -> str:
    """Teach the user's shell to complete the command; once is enough.

    Args:
        command: The command line.
        home: The user's home folder.

    Returns:
        What was done, for people.

    Raises:
        EdgegolfError: The shell is another, or its files cannot be written.
    """
    from click.shell_completion import get_completion_class

    shell = Path(os.environ.get("SHELL", "")).name
    found = get_completion_class(shell) if shell in ("fish", *STARTUP) else None
    if found is None:
        raise EdgegolfError(
            f"the shell {shell or '(unknown)'} cannot be taught to complete",
            hint="SHELL names one of bash, zsh, fish",
        )
    script = BEFORE.get(shell, "") + found(command, {}, "edgegolf", VARIABLE).source()
    if shell == "fish":
        path = home / FISH
    else:
        path = home / ".local/share/edgegolf" / f"completion.{shell}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, script)
        if shell in STARTUP:
            startup, line = home / STARTUP[shell], f'source "{path}"'
            if not startup.is_file() or line not in startup.read_text().splitlines():
                with startup.open("a") as file:  # the last line there may have no end
                    file.write(f"\n{line}\n")
    except OSError as error:
        raise EdgegolfError(f"{error.filename} cannot be written: {error.strerror}") from None
    return f"{path} is there; open a new {shell} to complete names with the tab key"
