"""Coverage-guided fuzzing of what reads strangers' files, where atheris runs (`pip install atheris`, on Linux).

    python -m benchmarks.fuzz posterior --seconds 300

A reader may refuse a file in words. Whatever else it raises ends the run, and libFuzzer leaves the file that did it in
the folder `--found`: it becomes an `example` of the tests for which Hypothesis makes up the same kinds of files
(`images/test_fuzz.py`, `test_untrusted_fuzz.py` and `checkpoints/test_fuzz.py` in `tests/`), which need no atheris and
run in CI. The seeds are the good files of those tests.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["transflow_core"]):
    from transflow_core.checkpoints import CheckpointError, convert
    from transflow_core.fewshot import FewShotClassifier
    from transflow_core.images import ImageError, load_image
    from transflow_core.posterior import Covariance, Posterior

import torch
from safetensors.torch import save_file

from tests.checkpoints.peers import OpenAI, Rosinality, Y0ast
from tests.helpers import make_tiny_prior
from tests.images.test_fuzz import CORPUS

_LARGEST = 1 << 16  # bytes: what is read first is what tells sizes
_GRAPHS = Path(__file__).parent.parent / "tests" / "checkpoints" / "tensorflow" / "data"


def image(path: Path) -> None:
    """A picture."""
    try:
        load_image(path.read_bytes(), name="broken", max_pixels=1_000_000)
    except ImageError as error:
        assert str(error)


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
    loaded.class_means()


def checkpoint(path: Path) -> None:
    """A file of weights, of the kind that its name tells."""
    try:
        convert(path, options={"check": False} if path.suffix == ".pb" else {})
    except CheckpointError as error:
        assert str(path.parent) not in str(error)


def _seeds(reader: str, folder: Path) -> None:
    """Good files, each as an entry of the corpus."""
    if reader == "image":
        for index, data in enumerate(CORPUS.values()):
            (folder / f"{index}").write_bytes(data)
    elif reader == "posterior":
        evidence = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
        likelihood = Covariance(torch.ones(6), torch.full((6, 2), 0.3))
        Posterior.condition(evidence, 0.5).save(folder / "plain.safetensors")
        Posterior.condition(evidence, 0.5, likelihood=likelihood).save(folder / "rich.safetensors")
    elif reader == "classifier":
        evidence = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
        classes = {name: evidence + shift for shift, name in enumerate("abc")}
        FewShotClassifier(None, likelihood="low-rank").fit_latents(classes).save(folder / "good.safetensors")
    elif reader == "pickle":
        torch.save(Y0ast((1,), 8, 3).state, folder / "old.pth", _use_new_zipfile_serialization=False)
    elif reader == "npz":
        OpenAI("additive", lu=False, steps=(1,), size=8, width=3).save(folder)
    elif reader == "graph":
        for path in _GRAPHS.glob("*.pb.gz"):
            (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    else:
        state = Rosinality((1,), 8, 3).state
        save_file({key: value.contiguous().clone() for key, value in state.items()}, folder / "peer.safetensors")
        make_tiny_prior().save(folder / "native.safetensors")


READERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "image": (".png", image),
    "posterior": (".safetensors", posterior),
    "classifier": (".safetensors", classifier),
    "safetensors": (".safetensors", checkpoint),
    "pickle": (".pth", checkpoint),
    "npz": (".npz", checkpoint),
    "graph": (".pb", checkpoint),
}


def main() -> None:
    """Fuzz one reader."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--found", type=Path, default=Path("artifacts") / "fuzz", help="where what failed is written")
    given = parser.parse_args()
    suffix, read = READERS[given.reader]
    given.found.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        corpus, path = Path(folder) / "corpus", Path(folder) / f"file{suffix}"
        corpus.mkdir()
        _seeds(given.reader, corpus)

        def once(data: bytes) -> None:
            path.write_bytes(data)
            read(path)

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
