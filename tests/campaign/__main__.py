"""``python -m tests.campaign --seconds 60 --seed 1``: exits 1 where something was violated."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.campaign.driver import Campaign, Settings
from tests.campaign.schedule import Kind


def tell(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the schedule; a new one where it is not given")
    parser.add_argument("--seconds", type=float, default=60, help="how long the faults go on at least")
    parser.add_argument("--kills", type=int, default=0, help="go on until there were so many")
    parser.add_argument("--stops", type=int, default=0, help="go on until there were so many stale holders")
    parser.add_argument("--edits", type=int, default=200, help="edits in that time; go on until there were so many")
    parser.add_argument("--networks", type=int, default=50)
    parser.add_argument("--services", type=int, default=2)
    parser.add_argument("--only", choices=[kind.value for kind in Kind], help="faults of this kind only")
    parser.add_argument(
        "--without", nargs="*", default=[], choices=["fence", "owner", "generation"], help="leave out this check"
    )
    parser.add_argument("--keep", action="store_true", help="keep the files, and say where they are")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    settings = Settings(
        seed=seed,
        seconds=options.seconds,
        kills=options.kills,
        stops=options.stops,
        edits=options.edits,
        networks=options.networks,
        services=options.services,
        without=tuple(options.without),
        **({"kinds": {Kind(options.only): 1.0}} if options.only else {}),
    )
    # As an interrupt from the keyboard: the children are ended, be they stopped or not.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    try:
        good = Campaign(settings, folder, tell).run()
    finally:
        if options.keep:
            sys.stderr.write(f"files: {folder}\n")
        else:
            shutil.rmtree(folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
