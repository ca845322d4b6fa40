"""``python -m alchemiscale_strategist`` is the command line."""

from alchemiscale_strategist.cli import main

if __name__ == "__main__":
    main(prog_name="python -m alchemiscale_strategist")
