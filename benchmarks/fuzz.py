"""Coverage-guided fuzzing of what reads strangers' files, where atheris runs (`pip install atheris`, on Linux).

    python -m benchmarks.fuzz posterior --seconds 300

A reader may refuse a file in words. Whatever else it raises ends the run, and libFuzzer leaves the file that did it in
the folder `--found`: it becomes an `example` of the tests for which Hypothesis makes up the same kinds of files
(`images/test_fuzz.py`, `test_saved.py` and `checkpoints/test_fuzz.py` in `tests/`), which need no atheris and
run in CI. The seeds are the good files of those tests.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["transflow_core"]):
    from tests.checkpoints import test_fuzz as checkpoints
    from tests.checkpoints.test_safety import MAKERS
    from tests.images import test_fuzz as images
    from transflow_core.fewshot import FewShotClassifier
    from transflow_core.posterior import Covariance, Posterior

import torch

_LARGEST = 1 << 16  # bytes: what is read first is what tells sizes


def posterior(path: Path) -> None:
    """A saved posterior, and the first things that are asked of it."""
    try:
        loaded = Posterior.load(path)
    except ValueError as error:
        assert str(error)
        return
    if loaded.dim < 1000:
        assert loaded.with_lam(1.0).sample(1).isfinite().all()


def classifier(path: Path) -> None:
    """A saved classifier."""
    try:
        loaded = FewShotClassifier.load(path, None)
    except ValueError as error:
        assert str(error)
        return
    dim = loaded.parts[-1].slice.stop
    if dim < 1000:
        loaded.judge(torch.zeros(1, dim))


def _seeds(reader: str, folder: Path) -> str:
    """Write good files, each an entry of the corpus; gives how the name of such a file ends."""
    if reader in MAKERS:
        return MAKERS[reader](folder).suffix
    if reader == "image":
        for index, data in enumerate(images.CORPUS.values()):
            (folder / f"{index}").write_bytes(data)
        return ".png"
    evidence = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    if reader == "posterior":
        likelihood = Covariance(torch.ones(6), torch.full((6, 2), 0.3))
        Posterior.condition(evidence, 0.5).save(folder / "plain.safetensors")
        Posterior.condition(evidence, 0.5, likelihood=likelihood).save(folder / "rich.safetensors")
    else:
        classes = {name: evidence + shift for shift, name in enumerate("abc")}
        FewShotClassifier(None, likelihood="low-rank").fit_latents(classes).save(folder / "good.safetensors")
    return ".safetensors"


READERS: dict[str, Callable[[Path], None]] = {
    "image": lambda path: images.read_or_refused(path.read_bytes()),
    "posterior": posterior,
    "classifier": classifier,
    **dict.fromkeys(MAKERS, checkpoints.read),
}


def main() -> None:
    """Fuzz one reader."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--found", type=Path, default=Path("artifacts") / "fuzz", help="where what failed is written")
    given = parser.parse_args()
    given.found.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        path = Path(folder) / f"file{_seeds(given.reader, corpus)}"

        def once(data: bytes) -> None:
            path.write_bytes(data)
            READERS[given.reader](path)

        options = [
            f"-max_total_time={given.seconds}",
            f"-max_len={_LARGEST}",
            f"-artifact_prefix={given.found}/{given.reader}-",
            "-rss_limit_mb=2048",
            "-timeout=60",
        ]
        atheris.Setup([sys.argv[0], *options, str(corpus)], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
