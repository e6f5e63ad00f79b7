"""A reader that ends before the sweep does not end the sweep."""

import subprocess
import sys

from tests.runner.door import ROOT

WRITES = """
import sys
from platform.runner.guards.broken_pipe import outlive_readers
outlive_readers()
print("first", flush=True)
sys.stdin.readline()
for line in range(3):
    print("x" * 100_000, flush=True)
sys.stdin.readline()
print("to the end", file=sys.stderr)
"""


def test_output_that_nobody_reads_is_dropped():
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITES],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout.readline() == "first\n"
    writer.stdout.close()
    writer.stdin.write("\n\n")
    writer.stdin.flush()
    assert writer.stderr.read() == "to the end\n" and writer.wait(20) == 0
