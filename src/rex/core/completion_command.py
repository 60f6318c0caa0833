"""The command `rex completion`: completion of commands and options in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command("completion", short_help="Print a completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands and options of `rex` in a shell.

    Bash must be version 4.4 or newer.

    \b
    Examples:
      rex completion bash >~/.local/share/bash-completion/completions/rex
      rex completion zsh >~/.zfunc/_rex
      rex completion fish >~/.config/fish/completions/rex.fish
      eval "$(rex completion bash)"
    """  # noqa: D301 - click wants the character itself
    made = get_completion_class(shell)
    assert made is not None  # noqa: S101 - click has these three
    click.echo(made(ctx.find_root().command, {}, "rex", "_REX_COMPLETE").source())
