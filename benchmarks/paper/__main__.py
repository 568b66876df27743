"""Every figure and the table of the paper, by one command: `python -m benchmarks.paper [--fast] [--only fig7]`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transflow_core.engine import Engine
from transflow_core.prior import load_prior

from . import fig2, fig3, fig5, fig6, fig7, fig8, fig9, table1
from .report import render
from .setting import ROOT, Setting

__all__ = ["FIGURES", "main"]

FIGURES = {
    "fig2": fig2.run,
    "fig3": fig3.run,
    "fig5": fig5.run,
    "fig6": fig6.run,
    "fig7": fig7.run,
    "fig8": fig8.run,
    "fig9": fig9.run,
    "table1": table1.run,
}
_OUT = ROOT / "benchmarks" / "out"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for, and write results.md, its pictures and results.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES), help="these; fig3 draws 3 and 4")
    parser.add_argument("--fast", action="store_true", help="few samples and digits, shipped evidence: seconds")
    parser.add_argument("--prior", default="celeba64", help="a shipped name, a file or a folder")
    parser.add_argument("--device", default="cpu", help='"cpu", "cuda" or "auto"')
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
    setting = Setting(Engine(prior), pictures, None if options.fast else _OUT, options.fast)
    for name in options.only:
        start = time.perf_counter()
        results[name] = FIGURES[name](setting)
        seconds = time.perf_counter() - start
        setting.say(f"{name}: {seconds:.0f} s")
        results["run"]["seconds"][name] = round(seconds, 1)
        known = results["run"]["evidence"]
        for key, words in setting.evidence_used.items():  # "24 photographs (anime)": the most that a figure takes
            known[key] = max(known.get(key, words), words, key=lambda words: int(words.split()[0]))
        results["run"] |= {"prior": prior.name, "image_size": prior.image_size, "dim": prior.dim}
        # After each figure, so that a run that is stopped keeps what it has.
        record.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (output / "results.md").write_text(render(results), encoding="utf-8")


def _earlier(record: Path, fingerprint: str, fast: bool) -> dict[str, Any]:
    """What an earlier run of the same kind found, so that `--only` renews a part of the page."""
    if record.is_file():
        results = json.loads(record.read_text(encoding="utf-8"))
        if (results["run"]["fingerprint"], results["run"]["fast"]) == (fingerprint, fast):
            return results
    return {"run": {"fingerprint": fingerprint, "fast": fast, "seconds": {}, "evidence": {}}}


if __name__ == "__main__":
    main()
