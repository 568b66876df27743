"""The paper's figures and table, and what else is known of them, by one command.

python -m benchmarks.paper --evidence FOLDER --faces SET --mnist FOLDER    # everything
python -m benchmarks.paper --only fig7 --fast                  # one section, a small subset of it
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from transflow_core.engine import Engine
from transflow_core.priors.catalogue import load_prior

from .report import SECTIONS, render
from .setting import ROOT, Setting

__all__ = ["main"]

_OUT = ROOT / "benchmarks" / "out"
_PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "evidence"
_FACES = ROOT.parent / "shared" / "data" / "celeba.zip"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for, and write results.md, its pictures and results.json."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="these; fig3 draws 3 and 4")
    parser.add_argument("--new-rows", action="store_true", help="of Table 1: keep the rows of the record, add new ones")
    parser.add_argument("--untimed", action="store_true", help="other programs run: keep the times of the record")
    parser.add_argument("--fast", action="store_true", help="few samples and digits, shipped evidence: seconds")
    parser.add_argument("--prior", default="celeba64", help="a shipped name, a file or a folder")
    parser.add_argument("--device", default="cpu", help='"cpu", "cuda" or "auto"')
    parser.add_argument(
        "--evidence",
        type=Path,
        default=_PHOTOGRAPHS if _PHOTOGRAPHS.is_dir() else None,
        help="a folder with a folder of photographs for each set (anime, glasses, greyscale, painted, red_hair, "
        "sketch); for those that are missing, the examples that ship",
    )
    parser.add_argument(
        "--faces",
        type=Path,
        default=_FACES if _FACES.is_file() else None,
        help="a folder, zip or tar of plain faces, of which val*/* are held out, if it has such; else sampled faces",
    )
    parser.add_argument("--mnist", type=Path, help="a folder with MNIST's own test set (t10k-*-ubyte, also .gz)")
    parser.add_argument("--draws", type=int, default=10, help="draws of few-shot evidence")
    parser.add_argument("--splits", type=int, default=6, help="random halves and seeds in the other sections")
    parser.add_argument(
        "--output", type=Path, help="folder for results.md and results/; docs, or with --fast benchmarks/out/fast"
    )
    options = parser.parse_args(arguments)
    output = options.output or (_OUT / "fast" if options.fast else ROOT / "docs")

    prior = load_prior(options.prior, device=options.device)
    pictures = output / "results"
    pictures.mkdir(parents=True, exist_ok=True)
    record = pictures / "results.json"
    results = _earlier(record, prior.fingerprint, options.fast)
    setting = Setting(
        Engine(prior),
        pictures,
        cache=None if options.fast else _OUT,
        photographs=None if options.fast else options.evidence,
        faces=None if options.fast else options.faces,
        mnist=options.mnist,
        most_draws=options.draws,
        most_splits=options.splits,
        fast=options.fast,
        earlier=results if options.new_rows else {},
    )
    for name in options.only:
        start = time.perf_counter()
        results[name] = SECTIONS[name].run(setting)
        seconds = time.perf_counter() - start
        setting.say(f"{name}: {seconds:.0f} s")
        untimed = set(results["run"].get("untimed", ())) - {name}
        if options.untimed:
            untimed.add(name)
        else:
            results["run"]["seconds"][name] = round(seconds, 1)
            results["run"]["threads"] = torch.get_num_threads()
        results["run"]["untimed"] = sorted(untimed)
        known = results["run"]["evidence"]
        for key, words in setting.evidence_used.items():  # "24 photographs (anime)": the most that a section takes
            known[key] = max(known.get(key, words), words, key=lambda words: int(words.split()[0]))
        results["run"] |= {"prior": prior.name, "image_size": prior.image_size, "dim": prior.dim}
        # After each section, so that a run that is stopped keeps what it has.
        record.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        results = json.loads(record.read_text(encoding="utf-8"))
        (output / "results.md").write_text(render(results), encoding="utf-8")


def _earlier(record: Path, fingerprint: str, fast: bool) -> dict[str, Any]:
    """What an earlier run of the same kind found, so that `--only` renews a part of the page."""
    if record.is_file():
        results = json.loads(record.read_text(encoding="utf-8"))
        if (results["run"]["fingerprint"], results["run"]["fast"]) == (fingerprint, fast):
            return results
    run = {"fingerprint": fingerprint, "fast": fast, "threads": torch.get_num_threads()}
    return {"run": run | {"seconds": {}, "evidence": {}}}


if __name__ == "__main__":
    main()
