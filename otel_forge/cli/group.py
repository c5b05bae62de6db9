"""The root of the command line: its help, its version, and what an error looks like."""

from __future__ import annotations

import sys
from typing import Any

import click

from otel_forge.errors import ForgeError
from otel_forge.version import VERSION


class ForgeGroup(click.Group):
    """A group that shows an error of ours as one message on standard error, with exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except ForgeError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:  # `otel-forge logs | head`
            sys.stderr.close()
            ctx.exit(0)


@click.group(
    cls=ForgeGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done; 1 could not be done, the reason is on standard error; 2 wrong usage.",
)
@click.version_option(VERSION, prog_name="otel-forge")
def main() -> None:
    """Start programs with telemetry on, and the back end that it goes to, on this machine.

    Every port and folder has a setting: OTEL_FORGE_PORT_*, OTEL_FORGE_STATE_DIR, OTEL_FORGE_CACHE_DIR.
    """
