"""python -m tests.fuzz [--files 5000] [--data 500] [--seed 0] [--real 10] [--keep DIR]

Exit code 1 where an input broke the promise; each kind of failure is printed once with the input that is kept.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import Campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=5000, help="sweep files to try")
    parser.add_argument("--data", type=int, default=500, help="data sets to try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", type=int, default=10, help="of both, to try again each in a process of its own")
    parser.add_argument("--keep", type=Path, default=Path("results/fuzz"), help="folder for inputs that break it")
    options = parser.parse_args()
    memory = next((place for place in ("/dev/shm",) if os.access(place, os.W_OK)), None)  # every data set is synced
    with tempfile.TemporaryDirectory(prefix="kurabe-fuzz-", dir=memory) as folder:
        os.environ["KURABE_CACHE"] = f"{folder}/cache"
        campaign = Campaign(Path(folder), options.seed, options.keep)
        campaign.sweep_files(options.files, real=options.real // 2)
        campaign.data_sets(options.data, real=options.real - options.real // 2)
        print(campaign.summary())
    return 1 if campaign.failures else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
