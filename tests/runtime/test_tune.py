"""What `tune` sets for a process, and that nothing is set without it: each in a process of its own."""

import json
import os
import platform
import subprocess
import sys

import pytest

from ..helpers import ROOT

# What `import transflow_core`, the use of each public name, and `tune` change in a process.
CHANGED = """
import json, os, sys
called = []
sys.addaudithook(lambda event, given: event == "ctypes.dlsym" and called.append(given[1]))
def state():
    return [dict(os.environ), sys.getswitchinterval(), [name for name in called if name.startswith("mall")]]
states, threads = [state()], len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 0
import transflow_core
from transflow_core.runtime import tune
assert "torch" not in sys.modules and (not threads or threads == len(os.listdir("/proc/self/task")))
states.append(state())
import torch
threads = torch.get_num_threads()
for name in transflow_core.__all__:
    assert getattr(transflow_core, name).__name__ == name
assert torch.get_num_threads() == threads
states.append(state())
tune(server=True)
print(json.dumps([*states, state()]))
"""
# Megabytes that the process has of 200 that it took in blocks of 1 MB and freed, before they are given back and after.
KEPT = """
import ctypes, re
from transflow_core.runtime import give_back, tune
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10
tune()
before = resident()
blocks = [libc.malloc(1 << 20) for _ in range(201)]
for block in blocks:
    ctypes.memset(block, 1, 1 << 20)
for block in blocks[:-1]:
    libc.free(block)
held = resident() - before
assert give_back()
print(held, resident() - before)
"""


# How many files a process may have open that could have 2,000.
OPENED = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 2000))
from transflow_core.runtime import tune
tune(server=True)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def run(script, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_", "OMP_WAIT", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", script], env=kept | environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


def test_an_import_changes_nothing_nor_does_a_public_name_and_tune_does():
    before, imported, used, tuned = json.loads(run(CHANGED)[0])
    assert before == imported == used
    assert tuned[0] == before[0] | {"GOMP_SPINCOUNT": "10000"} and tuned[1] < before[1]
    assert platform.libc_ver()[0] != "glibc" or tuned[2] == ["mallopt"] * 3


def test_openmp_is_told_not_to_spin_for_long_before_torch_is_there():
    """What waits for a thread that something else keeps from its core would spin most of the time."""
    script = "from transflow_core.runtime import tune; tune(); import torch"
    told = run(script, OMP_DISPLAY_ENV="verbose")[1]
    if "GOMP" not in told:
        pytest.skip("torch computes with another OpenMP here")
    assert "GOMP_SPINCOUNT = '10000'" in told
    assert "GOMP_SPINCOUNT = '7'" in run(script, OMP_DISPLAY_ENV="verbose", GOMP_SPINCOUNT="7")[1]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_is_freed_is_kept_and_given_back_when_asked_for():
    kept, left = map(int, run(KEPT)[0].split())
    assert kept > 150 and left < 50


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such bound")
def test_a_server_may_have_as_many_connections_as_the_system_gives_it():
    """1,100 that nobody uses shut a server that could have 1,024."""
    assert run(OPENED)[0] == "2000\n"
