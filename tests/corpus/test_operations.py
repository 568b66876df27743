"""Every operation still draws what it drew at version 0.2.0: latents by their projections, pictures by thumbnails.

`operations.json` was written by `python -m tests.corpus.test_operations` at commit 51ca188. What a change of a sampler
draws anew, as the change log says, is written again by `python -m tests.corpus.test_operations CASE …`.
"""

import json
import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from transflow_core.engine import Engine
from transflow_core.fewshot import FewShotClassifier
from transflow_core.images import to_pil
from transflow_core.operations.inpaint import ignore, remove
from transflow_core.operations.restyle import level_strengths, restyle_faces
from transflow_core.posterior import Posterior, interpolate, mixed, standard_normal
from transflow_core.priors.catalogue import load_prior
from transflow_core.recipes import Method

FILE = Path(__file__).with_name("operations.json")
BY = {
    "local": Method(method="local"),
    "local, closer": Method(method="local", likeness=1.0),
    "local, newer": Method(method="local", likeness=0.0, lam_ratio=0.1),
    "bootstrap": Method(method="bootstrap"),
    "bootstrap of all": Method(method="bootstrap", images_per_sample=9.0, lam_ratio=0.5),
    "posterior": Method(method="posterior"),
    "posterior at the mean": Method(method="posterior", lam_ratio=0.0),
    "posterior by level": Method(method="posterior", lam_ratio=[0.1, 0.2, 0.5, 1.0, 3.0]),
}


@cache
def engine_of(prior: str) -> Engine:
    return Engine(load_prior(prior, device="cpu"))


@cache
def images_of(prior: str) -> list[Image.Image]:
    """Eight images that the prior made up."""
    model = engine_of(prior).prior
    return to_pil(model.decode(0.6 * standard_normal(8, model.dim, seed=1)))


@cache
def evidence_of(prior: str, first: int = 0, n: int = 5):
    return engine_of(prior).read(images_of(prior)[first : first + n], align="never")


def marks(z: Tensor) -> list[float]:
    """A latent's root mean square, and its parts along eight fixed directions."""
    z = z.double().reshape(-1, z.shape[-1])
    directions = np.random.default_rng(0).choice([-1.0, 1.0], (z.shape[-1], 8))
    along = z.numpy() @ directions / z.shape[-1] ** 0.5
    return [round(value, 4) for value in [*z.square().mean(1).sqrt().tolist(), *along.flatten().tolist()]]


def thumbnails(x: Tensor) -> list[int]:
    """Images as grey 8 × 8 pixels, from 0 to 255."""
    x = x.reshape(-1, *x.shape[-3:])
    return torch.nn.functional.adaptive_avg_pool2d(255 * x.mean(1), 8).round().int().flatten().tolist()


def drawn(engine: Engine, sampler: Any) -> dict[str, list]:
    of = engine.sample(sampler, 2, seed=3)
    return {"latents": marks(of.z), "pixels": thumbnails(of.images)}


def sample(prior: str, method: Method) -> dict[str, list]:
    engine = engine_of(prior)
    return drawn(engine, engine.draw(evidence_of(prior).posterior(engine.ratio(method.lam_ratio)), method))


def sample_of_latents(prior: str, method: Method) -> dict[str, list]:
    """Of latents, not of pictures: at 128 pixels a byte that another processor rounds the other way moves a latent."""
    engine = engine_of(prior)
    z = 0.6 * standard_normal(5, engine.prior.dim, seed=1)
    return drawn(engine, engine.draw(Posterior.condition(z, method.lam_ratio), method))


def path(method: str) -> dict[str, list]:
    engine = engine_of("celeba64")
    ends = ((0, 0.1), (4, 2.0))
    a, b = (
        engine.draw(evidence_of("celeba64", first, 3).posterior(lam), Method(method="posterior", lam_ratio=lam))
        for first, lam in ends
    )
    middle = interpolate(a, b, 0.5, method=method)
    x = torch.stack([engine.sample(interpolate(a, b, t, method=method), 1, seed=3).images for t in (0, 0.5, 1)])
    return {"latents": marks(middle.sample(1, 3)), "pixels": thumbnails(x)}


def mix(how: Any) -> dict[str, list]:
    a, b = (evidence_of("celeba64", first, 3).posterior(0.5) for first in (0, 4))
    posterior = mixed(a, b, how, 0.4)
    return {"latents": marks(posterior.mean[None]) + marks(posterior.sample(1, 3))}


def weighted() -> dict[str, list]:
    evidence = evidence_of("celeba64").replace(0, weight=3.0).replace(1, weight=0.0)
    posterior = evidence.posterior(0.5)
    return {"latents": marks(posterior.mean[None]), "numbers": [posterior.m]}


def encode() -> dict[str, list]:
    latents = [image.latent for image in evidence_of("celeba64") if image.latent]
    numbers = [value for latent in latents for value in (latent.log_prior, latent.log_prob)]
    return {"latents": marks(torch.stack([latent.z for latent in latents])), "numbers": numbers}


def masked() -> dict[str, list]:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (10, 20, 30, 40))
    image = ignore(engine_of("celeba64"), evidence_of("celeba64"), {1: mask})[1]
    assert image.filled is not None and image.latent is not None
    return {"latents": marks(image.latent.z[None]), "pixels": thumbnails(unit([image.filled]))}


def inpainted() -> dict[str, list]:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (10, 20, 30, 40))
    photograph = images_of("celeba64")[6]
    faces = engine_of("celeba64").read([photograph], align="never")
    return {"pixels": thumbnails(unit([remove(engine_of("celeba64"), photograph, faces, mask)[0]]))}


def restyle(strength: float, kept: int) -> dict[str, list]:
    engine, photographs = engine_of("celeba64"), images_of("celeba64")[5:7]
    faces = engine.read(photographs, align="never")
    style = evidence_of("celeba64", 0, 4).posterior()
    restyled = restyle_faces(engine, faces, style, [level_strengths(strength, kept, len(engine.prior.levels))])
    return {"pixels": thumbnails(restyled.after)}


def classify(likelihood: Any) -> dict[str, list]:
    z = torch.stack([image.latent.z for image in evidence_of("celeba64", 0, 8) if image.latent])
    classifier = FewShotClassifier(engine_of("celeba64").prior, likelihood=likelihood)
    classifier.fit_latents({"first": z[:3], "second": z[3:6]})
    answers = classifier.judge(z[6:])
    return {"numbers": [value for answer in answers for value in (*answer.probabilities.values(), answer.novelty)]}


def unit(images: list[Image.Image]) -> Tensor:
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 for image in images])


CASES: dict[str, Any] = {
    **{f"sample {name}": partial(sample, "celeba64", method) for name, method in BY.items()},
    "sample at 128 pixels": partial(sample_of_latents, "celeba128", Method(method="local", lam_ratio=0.02)),
    **{f"interpolate {path_}": partial(path, path_) for path_ in ("linear", "wasserstein")},
    **{f"mix {how}": partial(mix, how) for how in ("add", "subtract", "move")},
    "weights": weighted,
    "encode": encode,
    "mask": masked,
    "remove": inpainted,
    "restyle": partial(restyle, 1.0, 0),
    "restyle, two levels kept": partial(restyle, 0.7, 2),
    **{f"classify {shape}": partial(classify, shape) for shape in ("low-rank", "isotropic", "paper")},
}


@pytest.mark.parametrize("case", CASES)
def test_draws_as_at_version_0_2(case):
    before, now = json.loads(FILE.read_text())[case], CASES[case]()
    assert before.keys() == now.keys()
    for name, values in before.items():
        apart = {"latents": {"abs": 0.004}, "pixels": {"abs": 2}, "numbers": {"rel": 0.001, "abs": 0.001}}[name]
        assert now[name] == pytest.approx(values, **apart), name


def lines(anew: list[str]) -> Iterator[str]:
    known = json.loads(FILE.read_text())
    for case, make in CASES.items():
        yield f"{json.dumps(case)}: {json.dumps(make() if case in anew or not anew else known[case])}"


if __name__ == "__main__":
    FILE.write_text("{\n" + ",\n".join(lines(sys.argv[1:])) + "\n}\n")
