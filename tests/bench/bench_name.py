"""What does it cost that this package is called `platform`? Claim: under 10 ms over the standard module.

    python -m tests.bench.bench_name [--repeats N]

Processor time of fresh interpreters, in turn: `import platform` here, of the standard library, and nothing at all.
torch, Ray and pip import the standard module anyway, so the difference of the two is the price of the name.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CASES = {
    "package": (ROOT, "import platform; platform.__path__"),
    "standard": (Path("/"), "import platform; assert not hasattr(platform, '__path__')"),
    "nothing": (Path("/"), "pass"),
}


def once(name: str) -> float:
    """Milliseconds of processor time from the start of an interpreter to its end."""
    folder, code = CASES[name]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], cwd=folder, stdin=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=50)
    repeats = parser.parse_args().repeats
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(repeats):
        for name in CASES:
            times[name].append(once(name))
    for name, values in times.items():
        print(f"{name:10} median {statistics.median(values):6.1f} ms   least {min(values):6.1f} ms   n = {repeats}")
    differences = [a - b for a, b in zip(times["package"], times["standard"], strict=True)]
    low, _, high = statistics.quantiles(differences, n=4)
    print(f"difference median {statistics.median(differences):6.1f} ms   quartiles {low:.1f} to {high:.1f} ms")


if __name__ == "__main__":
    main()
