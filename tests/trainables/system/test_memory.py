"""A training process keeps its freed memory: measured by the page faults of its own process."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource
import numpy as np
from toprung.trainables.system.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**23)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), faults())
keep_freed_memory()
print(faults(), faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_is_freed_is_used_again() -> None:
    output = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True).stdout
    _, again, _, kept = map(int, output.split())
    assert kept < again / 10
