"""`mediapool completion`: what a shell needs to complete commands, options and files."""

import click
from click.shell_completion import get_completion_class

# What click asks for the completions of a line by.
_VARIABLE = "_MEDIAPOOL_COMPLETE"
_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS), metavar="|".join(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options and files.

    \b
    Example:
      mediapool completion fish > ~/.config/fish/completions/mediapool.fish
    """
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(ctx.find_root().command, {}, "mediapool", _VARIABLE).source())


commands = [completion]
