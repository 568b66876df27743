"""Memory that is freed stays for what is taken next, and threads share few heaps: each in a process of its own."""

import os
import subprocess
import sys

import pytest

from .helpers import ROOT

# Page faults of taking, touching and freeing 8 MB a hundred times.
FAULTS = """
import ctypes, resource
from transflow_core.allocator import keep_freed
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        block = libc.malloc(8 << 20)
        ctypes.memset(block, 1, 8 << 20)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(keep_freed(), faults())
"""
# Heaps beside the first, of forty threads that are there at once: 64 MB of address space each.
HEAPS = """
import ctypes, threading
from transflow_core.allocator import few_arenas
ours, libc = few_arenas(), ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
met = threading.Barrier(41)
def work():
    libc.malloc(1000)
    met.wait()
    met.wait()
for _ in range(40):
    threading.Thread(target=work).start()
met.wait()
reserved = 0
for line in open("/proc/self/maps"):
    place, rights = line.split()[:2]
    first, last = (int(end, 16) for end in place.split("-"))
    reserved += rights == "---p" and last - first > 32 << 20  # what a heap has not used yet
print(ours, reserved)
met.wait()
"""
# Megabytes that the process has of 200 that it took in blocks of 1 MB and freed, before they are given back and after.
KEPT = """
import ctypes, re
from transflow_core.allocator import give_back, keep_freed
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10
kept, before = keep_freed(), resident()
blocks = [libc.malloc(1 << 20) for _ in range(201)]
for block in blocks:
    ctypes.memset(block, 1, 1 << 20)
for block in blocks[:-1]:
    libc.free(block)
held = resident() - before
print(kept and give_back(), held, resident() - before)
"""


def told(script, **environment):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))} | environment
    run = subprocess.run([sys.executable, "-c", script], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    did, *numbers = run.stdout.split()
    return did == "True", *map(int, numbers)


@pytest.fixture(autouse=True)
def glibc():
    if not told(FAULTS)[0]:
        pytest.skip("no glibc here")


def test_what_is_freed_is_kept():
    _, kept = told(FAULTS)
    # Glibc itself learns to keep blocks of one size; so the environment, which it then obeys, makes it give all back.
    done, given_back = told(FAULTS, MALLOC_MMAP_THRESHOLD_="65536")
    assert not done, "what the environment says goes before"
    assert kept < given_back / 10


def test_many_threads_have_few_heaps():
    done, ours = told(HEAPS)
    left_alone, theirs = told(HEAPS, MALLOC_ARENA_MAX="16")
    assert done and not left_alone
    assert ours < theirs


def test_what_is_kept_is_given_back_when_asked_for():
    done, kept, left = told(KEPT)
    assert done and kept > 150 and left < 50
