"""The rows of `benchmarks.likeness`: real images, ways to draw from given images, and the model alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from transflow_core.compute import unusable
from transflow_core.engine import Engine
from transflow_core.posterior import Gaussian, Guard, Local, Posterior, recommend
from transflow_core.posterior.gaussian import Sampler
from transflow_core.posterior.guard import Looks
from transflow_core.posterior.local import DRAWN_IN, PRIOR_TEMPERATURE, LocalNumbers
from transflow_core.recipes import Method as Sampling

from .features import FEATURES
from .predictive import Predictive

__all__ = ["DEFAULT", "GIVEN", "HELD_OUT", "METHODS", "MIRRORED", "PREDICTIVE", "PRIOR", "Given", "Method", "Shown"]
__all__ += ["prior_features"]

HELD_OUT = "the held-out half"
GIVEN = "the given half"
MIRRORED = "the given half, mirrored"
PREDICTIVE = "predictive, the default before"
PRIOR = f"the model alone, temperature {PRIOR_TEMPERATURE:g}"
_OF_PRIOR = 64
_CUT = 8.0  # how much sharper pixels are cut than latents: one donor has nearly all of a pixel
_DONORS = 2.0


_LOCAL, _BOOTSTRAP = Sampling(method="local").filled(), Sampling(method="bootstrap").filled()


def _posterior(lam_ratio: float) -> Sampling:
    return Sampling(method="posterior", lam_ratio=lam_ratio)


def _text(how: Sampling) -> str:
    numbers = (f"{name}={value}" for name, value in how.texts().items() if name != "method")
    return f"{how.method}:{','.join(numbers)}"


@dataclass(frozen=True)
class Shown:
    """Images, (n, 3, S, S) in [0, 1], and which of them were drawn again, and projected; None where nothing is."""

    images: NDArray[np.float32]
    redrawn: NDArray[np.bool_] | None = None
    projected: NDArray[np.bool_] | None = None


class Given:
    """Given images, from which every method draws n images with one seed. What several methods need is kept."""

    def __init__(self, engine: Engine, z: Tensor, images: NDArray[np.float32], n: int, seed: int) -> None:
        self.engine, self.images, self.n, self.seed = engine, images, n, seed
        self.posterior = Posterior.condition(z, lam_ratio=1.0)

    @cached_property
    def looks(self) -> Looks:
        """What the given images look like."""
        return self.engine.looks(self.posterior)

    def sampler(self, how: Sampling) -> Sampler:
        """As `Engine.draw`."""
        looks = None if how.method == "posterior" else self.looks
        return self.posterior.draw(how, self.engine.prior.levels, looks)

    @cached_property
    def predictive(self) -> Shown:
        """Yesterday's default, decoded as it was: without a guard."""
        return self.shown()

    def shown(self, *guards: Guard) -> Shown:
        """Yesterday's default. What is not finite or saturated is moved to the mean."""
        old = Predictive.of(self.posterior.latents, self.engine.prior)
        z = old.sample(self.n, self.seed)
        moved = unusable(self.engine.decode(z, guards=guards))
        return Shown(self.engine.decode(z, centre=old.mean, guards=guards).numpy(), projected=moved.numpy())


@dataclass(frozen=True)
class Method:
    """A row.

    Attributes:
        name: for people.
        text: all that it depends on; when that changes, it is measured again.
        draw: what it gives.
        every: measured in every split; others only in the first ones.
    """

    name: str
    text: str
    draw: Callable[[Given], Shown]
    every: bool = True


def _drawn(how: Sampling) -> Callable[[Given], Shown]:
    def draw(given: Given) -> Shown:
        found = given.engine.sample(given.sampler(how), given.n, seed=given.seed)
        redrawn = (found.redrawn > 0).numpy() if how.method == "local" else None
        return Shown(found.images.clamp(0, 1).numpy(), redrawn, found.projected.numpy())

    return draw


def _clipped(given: Given) -> Shown:
    shown = given.predictive
    return replace(shown, images=given.looks.guard.coloured(torch.from_numpy(shown.images)).numpy())


def _guarded(given: Given) -> Shown:
    return given.shown(given.looks.guard)


def _pasted(given: Given) -> Shown:
    """The local weights of two donors, on pixels: what does the model add?"""
    without_the_models = replace(given.looks, own=None)
    sampler = given.posterior.draw(_LOCAL, given.engine.prior.levels, without_the_models)
    assert isinstance(sampler, Local)
    rows, logits, _ = replace(sampler, numbers=replace(sampler.numbers, donors=_DONORS)).mixing(given.n, given.seed)
    images = torch.from_numpy(given.images)
    side = images.shape[-1]
    weights = (_CUT * F.interpolate(logits.float(), size=(side, side), mode="bilinear")).softmax(1)
    donors = torch.cat([images, images.flip(-1)])[rows]
    return Shown(torch.einsum("nkhw,nkchw->nchw", weights, donors).clamp(0, 1).numpy())


@cache
def _prior_images(engine: Engine) -> NDArray[np.float32]:
    return engine.sample(Gaussian.standard(engine.prior.dim), _OF_PRIOR, temperature=PRIOR_TEMPERATURE).images.numpy()


@cache
def prior_features(engine: Engine, space: str) -> NDArray[np.float64]:
    """Of 64 samples of the model alone: the same for all sets and splits."""
    return FEATURES[space](_prior_images(engine))


def _real(name: str, draw: Callable[[Given], Shown]) -> Method:
    return Method(name, "real images", draw)


def _local(likeness: float) -> Method:
    how = _LOCAL.replace(likeness=likeness)
    name = f"local, likeness {likeness:g}"
    text = f"{_text(how)} {LocalNumbers.of(likeness)}, prior at {PRIOR_TEMPERATURE:g}, τ = {DRAWN_IN:g}"
    return Method(name, text, _drawn(how), every=likeness in (0, _LOCAL.likeness))


def _chosen(given: Given) -> Shown:
    return _drawn(recommend(given.posterior, given.looks).method)(given)


def _of(name: str, how: Sampling) -> Method:
    return Method(name, _text(how), _drawn(how), every=False)


assert _LOCAL.likeness is not None  # the default is local
_LIKENESSES = sorted({1.0, 0.75, 0.5, 0.25, 0.0, _LOCAL.likeness}, reverse=True)
DEFAULT = "the default: local, as chosen for the set"
_NUMBERS = replace(LocalNumbers.of(_LOCAL.likeness), donors=_DONORS)
_ALL = (
    _real(HELD_OUT, lambda given: Shown(given.images)),  # its images are not given: see `likeness.turn`
    _real(GIVEN, lambda given: Shown(given.images)),
    _real(MIRRORED, lambda given: Shown(np.ascontiguousarray(given.images[..., ::-1]))),
    Method(PREDICTIVE, "likeness 0.9, lam_ratio 0.01", lambda given: given.predictive),
    Method("predictive, chroma clipped", "likeness 0.9, lam_ratio 0.01", _clipped, every=False),
    Method("predictive, guarded and clipped", "likeness 0.9, lam_ratio 0.01", _guarded, every=False),
    Method(f"pixels cut and pasted, {_DONORS:g} donors", f"{_NUMBERS}, {_CUT:g} times sharper", _pasted),
    Method(DEFAULT, f"{_local(_LOCAL.likeness).text}, closer where images do not fit", _chosen),
    *map(_local, _LIKENESSES),
    _of(f"blends of {_BOOTSTRAP.images_per_sample:g}", _BOOTSTRAP),
    _of("the paper's, λ/m = 0.3", _posterior(0.3)),
    _of("the paper's, λ/m = 0.5", _posterior(0.5)),
    Method(PRIOR, f"temperature {PRIOR_TEMPERATURE:g}", lambda given: Shown(_prior_images(given.engine))),
)
#: Every row by its name, in the order of the page.
METHODS: dict[str, Method] = {method.name: method for method in _ALL}
