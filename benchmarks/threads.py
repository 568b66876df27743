"""What a server's threads cost: the same images decoded in the main thread, in a request's, and in a `ComputeWorker`.

A server answers requests in threads of their own. Here two of them take turns, as they do on the page; each also does
small arithmetic of its own. Rounds of the three ways alternate within one run; each way has a process to itself, which
waits while another is measured, since a process's threads cannot be undone.

    python -m benchmarks.threads

The second table is of one `ComputeWorker`, alone and beside something that keeps cores busy, as torch and Python come
and as they are here (`transflow_core/runtime/`): a part of the batch on each core, the time for which OpenMP's threads
spin, and that after which Python changes threads.

    python -m benchmarks.threads --busy

Needs an idle machine.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

WAYS = {
    "main": "the main thread of a program",
    "requests": "the threads of two requests, in turn",
    "compute": "a `ComputeWorker` that the two ask",
}
# Of the second table: GNU's own number of spins, and Python's own seconds; the batch is in one part.
_PLAIN = {"GOMP_SPINCOUNT": "300000", "SWITCHING": "0.005"}
_BESIDE = {
    "alone": "alone",
    "process": "beside a process that keeps a core busy",
    "processes": "beside a process for each core",
    "thread": "beside a thread of Python that is always busy",
}
_DECODES = 10


def _work(way: str, prior_name: str, n: int) -> None:
    """In a process of its own: for each line that comes in, decode ten times and print the median in seconds."""
    from transflow_core.engine import Engine
    from transflow_core.posterior import Gaussian
    from transflow_core.priors import prior as prior_module
    from transflow_core.priors.catalogue import load_prior
    from transflow_core.runtime import tune
    from transflow_core.runtime.worker import ComputeWorker

    tune(server=way == "compute")
    compute = ComputeWorker() if way == "compute" else None
    engine = Engine(load_prior(prior_name, device="cpu"), batch_size=n, compute=compute)
    normal = Gaussian.standard(engine.prior.dim)
    requests = [ThreadPoolExecutor(1) for _ in range(2)]

    def decode() -> float:
        z = normal.sample(n, seed=0).add_(0)  # what a request does itself
        start = time.perf_counter()
        engine.decode(z)
        return time.perf_counter() - start

    run: Callable = (
        (lambda turn: decode()) if way == "main" else (lambda turn: requests[turn % 2].submit(decode).result())
    )
    if "SWITCHING" in os.environ:
        sys.setswitchinterval(float(os.environ["SWITCHING"]))
        prior_module.on_cores = lambda function, batch: [function(batch)]
    for line in sys.stdin:
        with _beside(line.strip()):
            count = 2 if line.strip() in ("processes", "thread") else _DECODES  # up to a quarter of a minute each
            print(statistics.median(run(turn) for turn in range(count)), flush=True)


@contextlib.contextmanager
def _beside(what: str) -> Iterator[None]:
    """With such a neighbour: see `_BESIDE`."""
    if what.startswith("process"):
        command = [sys.executable, "-c", "while True: pass"]
        busy = [subprocess.Popen(command) for _ in range(1 if what == "process" else os.cpu_count() or 1)]
        yield
        for process in busy:
            process.kill()
            process.wait()
    elif what == "thread":
        over = threading.Event()

        def spin() -> None:
            while not over.is_set():
                sum(range(1000))

        thread = threading.Thread(target=spin)
        thread.start()
        yield
        over.set()
        thread.join()
    else:
        yield


def _busy(command: list[str], rounds: int) -> None:
    """Print the second table."""
    processes = [
        subprocess.Popen(
            [*command, "compute"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | changed
        )
        for changed in (_PLAIN, {})
    ]
    seconds: dict[tuple[str, int], list[float]] = {}
    for turn in range(rounds + 1):
        for beside in _BESIDE:
            for index, process in enumerate(processes):
                print(beside, file=process.stdin, flush=True)
                took = float(process.stdout.readline())
                if turn:  # the first warms up
                    seconds.setdefault((beside, index), []).append(took)
    for process in processes:
        process.stdin.close()
        process.wait()
    print("| | as torch and Python come | here | ratio |\n|---|---|---|---|")
    for beside, words in _BESIDE.items():
        theirs, ours = (statistics.median(seconds[beside, index]) for index in range(2))
        print(f"| {words} | {1000 * theirs:.0f} ms | {1000 * ours:.0f} ms | {theirs / ours:.2f} |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--prior", default="celeba64")
    parser.add_argument("-n", type=int, default=16, help="images at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", action="store_true", help="the second table")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        _work(given.way, given.prior, given.n)
        return
    command = [sys.executable, "-m", "benchmarks.threads", "--prior", given.prior, "-n", str(given.n), "--way"]
    if given.busy:
        _busy(command, given.rounds)
        return
    processes = {
        way: subprocess.Popen([*command, way], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for way in WAYS
    }
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(given.rounds + 1):
        for way, process in processes.items():
            print(file=process.stdin, flush=True)
            seconds[way].append(float(process.stdout.readline()))
    for process in processes.values():
        process.stdin.close()
        process.wait()
    print(f"| {given.n} images of {given.prior} decoded in | time | times the main thread's, in the same round |")
    print("|---|---|---|")
    for way, words in WAYS.items():
        ratios = [a / b for a, b in zip(seconds[way][1:], seconds["main"][1:], strict=True)]  # the first warms up
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        print(f"| {words} | {1000 * statistics.median(seconds[way][1:]):.0f} ms | {spread} |")


if __name__ == "__main__":
    main()
