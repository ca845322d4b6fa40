"""The command line: ``alchemiscale-strategist``."""

from alchemiscale_strategist.cli.main import main

__all__ = ["main"]
