"""Shell completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command(short_help="Print the script that makes a shell complete commands and options.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete commands, options and their values.

    \b
    bash:  eval "$(alchemiscale-strategist completion bash)"     in ~/.bashrc
    zsh:   eval "$(alchemiscale-strategist completion zsh)"      in ~/.zshrc
    fish:  alchemiscale-strategist completion fish > ~/.config/fish/completions/alchemiscale-strategist.fish
    """  # noqa: D301 - click takes the escape for "do not wrap"
    root = ctx.find_root()
    program = "alchemiscale-strategist"
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"this version of click has no completion for {shell}")
    made = kind(root.command, {}, program, f"_{program.replace('-', '_').upper()}_COMPLETE")
    click.echo(made.source())
