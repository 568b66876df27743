"""Sample, Sweep and Interpolate: new images, drawn from one posterior or on the way between two."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, TypeVar, Unpack

import torch
from PIL import Image

from ..compute import How, Samples, report
from ..evidence import Evidence
from ..images import contact_sheet, labelled_rows, to_pil
from ..images.sheets import enlarge
from ..posterior import Gaussian, Posterior, compose, resolve
from ..posterior import interpolate as path_at
from ..posterior.gaussian import Sampler
from ..posterior.guard import Closest
from ..posterior.local import PRIOR_TEMPERATURE
from ..posterior.transport import turned
from ..priors.catalogue import example
from ..reading import Reader
from ..recipes import Interpolate, Method, Sample, Sweep, within
from .call import Call, Result
from .inpaint import ignore, masks_in_frames

M = TypeVar("M", bound=Method)
_OWN = {"local": "likeness", "bootstrap": "images_per_sample", "posterior": "lam_ratio"}
"""The number that a sweep of each method changes."""
_SWEEP_RATIOS = (0.05, 0.2, 0.3, 0.5, 0.7, 1.0, 3.0)
"""The λ/m of a sweep when nobody says which: those that the paper advises, and what lies beyond at either end."""
_SWEEP_LIKENESS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)
"""Closer towards 1, where samples change more."""
_SWEEP_PIECES = (1, 1.5, 2, 3, 4, 6, 10, 20)
"""Images in a sample, as far as there are as many; all of them come last."""
_DIRECT = "Direct: from the first image of one set to the first of the other. Method and λ/m do not count."
_SIDE = 256
"""Pixels of a morph, at least: what a message shows of one face."""
_AT_ONCE = 128
"""Samples that are drawn at once: with their latents, more fill the memory. One of celeba256 takes seven megabytes."""


def conditioned(call: Call, evidence: Evidence, recipe: M) -> tuple[Posterior, M, dict[str, Any], tuple[str, ...]]:
    """The posterior of evidence, the recipe with the numbers of its method, and facts and lines of both.

    Raises ValueError for another number of levels.
    """
    posterior, levels = evidence.posterior(), len(call.engine.prior.levels)
    recipe, reason = resolve(recipe, posterior, call.engine.looks)
    if isinstance(recipe.lam_ratio, tuple) and len(recipe.lam_ratio) != levels:
        name = call.engine.prior.name
        raise ValueError(
            f"lam_ratio has {len(recipe.lam_ratio)} numbers; {name} has {levels} level{'s' * (levels != 1)}."
        )
    facts = {"m": posterior.m, "reason": reason, "evidence": evidence.to_dicts()}
    numbers = [f"{name} {value}" for name, value in recipe.choices.texts().items() if name != "method"]
    line = f"{counted(posterior.m, len(evidence.used))}; method {recipe.method}, {', '.join(numbers)}. {reason}"
    return posterior, recipe, facts, (line,)


def counted(m: float, images: int = 0) -> str:
    """So many images, in words, and what they count as where that differs."""
    some = images or m
    words = f"{some:g} image{'s' * (some != 1)}"
    return words if some == m else f"{words}, which count as {m:.3g}"


def ignored(call: Call, evidence: Evidence) -> Evidence:
    """Evidence without what masks cover."""
    if not call.inputs.get("masks"):
        return evidence
    if evidence.saved is not None:
        raise ValueError("masks: a saved posterior takes none. Give images.")
    masks = call.masks(len(evidence), "images")
    return ignore(call.engine, evidence, masks_in_frames(evidence.images, masks), **call.how)


def sampler_of(engine: Reader, recipe: Sample, posterior: Posterior | None) -> Sampler:
    """What the samples of a resolved recipe are drawn from; the prior itself without a posterior.

    Fine and coarse levels may come from different places: the evidence, the prior, or an example set. The evidence
    alone moves along its own directions.
    """

    def source(key: str) -> Sampler:
        if key == "prior" or (key == "evidence" and posterior is None):
            return Gaussian.standard(engine.prior.dim, std=PRIOR_TEMPERATURE)
        if key != "evidence" or posterior is None:
            return engine.draw(engine.posterior(example(key), align="never"), recipe)
        return engine.draw(posterior, recipe, recipe.along or ())

    sampler = source("evidence" if not recipe.mixed else recipe.style)
    if recipe.mixed:
        structure = sampler if recipe.style == recipe.structure else source(recipe.structure)
        levels = engine.prior.levels
        fine = min(recipe.style_levels, len(levels))
        sampler = compose([sampler] * fine + [structure] * (len(levels) - fine), levels)
    return engine.around(sampler, recipe.near or (), seed=recipe.seed, temperature=recipe.temperature)


def sample(call: Call[Sample]) -> Result:
    """New images, with the closest image of the evidence to each."""
    engine, evidence = call.engine, ignored(call, call.evidence())
    posterior, recipe, facts, lines = conditioned(call, evidence, call.recipe)
    sampler = sampler_of(engine, recipe, posterior)
    pictures, closest, counts = list[Image.Image](), list[Closest](), Counter[str]()
    frames = pictures
    for samples in _drawn(call, sampler, together=recipe.steps > 1):
        pictures += to_pil(samples.images)
        closest += engine.closest(samples.images, posterior, evidence, **call.how)
        counts.update(samples.counts)
        if recipe.steps > 1:
            frames = morph(engine, sampler, samples, recipe.steps, **call.how)
    facts |= {**counts, "closest": [one.to_dict() for one in closest]}
    named = {f"sample_{index:04d}": [picture] for index, picture in enumerate(pictures)}
    return Result(recipe, facts, named, contact_sheet(pictures), frames, loop=True, lines=lines)


def morph(engine: Reader, sampler: Sampler, samples: Samples, steps: int, **how: Unpack[How]) -> list[Image.Image]:
    """Each sample turns into the next, and the last into the first: `steps` frames for each, of 256 pixels or more."""
    z, mean = samples.z, sampler.mean
    way = [turned(z, z.roll(-1, 0), step / steps, mean) for step in range(1, steps)]
    images = samples.images[:, None]
    if way:
        between, side = torch.stack(way, 1).flatten(0, 1), images.shape[-1]
        between = engine.decode(between, centre=mean, guards=[sampler.guard], side=side, **how)
        images = torch.cat([images, between.reshape(len(z), steps - 1, *images.shape[2:])], 1)
    return [enlarge(frame, max(_SIDE, *frame.size)) for frame in to_pil(images.flatten(0, 1))]


def sweep_of(recipe: Sweep, m: float) -> dict[str, Sweep]:
    """A resolved recipe at several values of one number, by their labels.

    Args:
        recipe: `over` is its method's own number where it is "auto".
        m: images of the evidence: no sample is mixed from more.
    """
    own = _OWN[recipe.method]
    over = own if recipe.over == "auto" else recipe.over
    if over not in ("lam_ratio", own):
        raise ValueError(f"over is {over!r}, which does not belong to the method {recipe.method!r}.")
    most = within(Sweep, "images_per_sample").high
    usual: dict[str, Sequence[float]] = {
        "lam_ratio": _SWEEP_RATIOS,
        "likeness": _SWEEP_LIKENESS,
        "images_per_sample": [*(k for k in _SWEEP_PIECES if k < m), min(max(m, 1), most)],
    }
    label = {"lam_ratio": "λ/m = {:g}", "likeness": "likeness {:g}", "images_per_sample": "{:g} images each"}[over]
    swept = {value: recipe.replace(**{over: value}) for value in recipe.values or usual[over]}
    named = {label.format(value): one for value, one in swept.items()}
    return {"1 image each" if name == "1 images each" else name: one for name, one in named.items()}


def sweep(call: Call[Sweep]) -> Result:
    """The same draws at several values of one number."""
    asked, evidence = call.recipe, call.evidence()
    owner = next((method for method, own in _OWN.items() if own == asked.over != "lam_ratio"), asked.method)
    if asked.method == "auto":
        asked = asked.replace(method=owner)
    posterior, recipe, facts, lines = conditioned(call, evidence, asked)
    swept = sweep_of(recipe, posterior.m)
    over = _OWN[recipe.method] if recipe.over == "auto" else recipe.over
    recipe = recipe.replace(over=over, values=tuple(getattr(one, over) for one in swept.values()))
    samplers = [call.engine.draw(posterior, one) for one in swept.values()]
    columns = [[one for some in _drawn(call, sampler) for one in to_pil(some.images)] for sampler in samplers]
    rows = list(zip(*columns, strict=True))
    named = {f"draw_{draw}_{at}": [picture] for draw, row in enumerate(rows) for at, picture in enumerate(row)}
    return Result(recipe, facts, named, labelled_rows(rows, column_labels=list(swept)), lines=lines)


def interpolate(call: Call[Interpolate]) -> Result:
    """The same draws at posteriors along the path from one set to the other, a row of pictures each."""
    recipe, facts, lines = call.recipe, {}, []
    sets = read = {name: call.evidence(name) for name in ("a", "b")}
    if recipe.interpolation == "direct":
        sets = {name: _first(one) for name, one in sets.items()}
        point = dict(Method(method="posterior", lam_ratio=0.0))
        recipe = recipe.replace(**point, lam_ratio_a=None, lam_ratio_b=None, n=1)
    ends, made = [], []
    for name, ratio in (("a", recipe.lam_ratio_a), ("b", recipe.lam_ratio_b)):
        asked = recipe if ratio is None else recipe.replace(lam_ratio=ratio)
        posterior, end, of_end, lines_of_end = conditioned(call, sets[name], asked)
        ends.append(call.engine.draw(posterior, end))
        made.append(end)
        if recipe.interpolation == "direct":
            of_end["reason"], lines_of_end = _DIRECT, (_DIRECT,) if name == "a" else ()
        facts[name] = of_end | end.choices.model_dump(exclude_none=True) | {"evidence": read[name].to_dicts()}
        lines += lines_of_end
    a, b = ends
    ratios = recipe.lam_ratio_a, recipe.lam_ratio_b
    shared = {end.lam_ratio for end, ratio in zip(made, ratios, strict=True) if ratio is None} or {recipe.lam_ratio}
    made = [end.replace(lam_ratio=next(iter(shared))) for end in made]
    if made[0] == made[1] and len(shared) == 1:  # else each end has the method that suits it
        recipe = made[0]
    places = [i / (recipe.steps - 1) for i in range(recipe.steps)]
    how = "wasserstein" if recipe.interpolation == "wasserstein" else "linear"
    samplers = [path_at(a, b, t, method=how) for t in places]
    # Together, and none drawn again where it is noisy: another face would be a jump.
    z = torch.cat([one.sample(recipe.n, recipe.seed, recipe.temperature) for one in samplers])
    means = torch.cat([one.mean.expand(recipe.n, -1) for one in samplers])
    guards = [one.guard for one in samplers for _ in range(recipe.n)]
    images = to_pil(call.engine.decode(z, centre=means, guards=guards, side=call.side, **call.how))
    rows = [images[draw :: recipe.n] for draw in range(recipe.n)]
    strip = labelled_rows(rows, column_labels=[f"{t:.2f}" for t in places])
    frames = [contact_sheet(step) for step in zip(*rows, strict=True)]
    named = {f"draw_{draw}": row for draw, row in enumerate(rows)}
    return Result(recipe, facts, named, strip, frames, lines=tuple(lines))


def _first(evidence: Evidence) -> Evidence:
    """The first image of a set: at λ = 0 its posterior is a point."""
    point = Posterior.condition(evidence.posterior().single[:1], lam_ratio=0.0)
    return Evidence(prior=evidence.prior, saved=point, saved_name=evidence.title)


def _drawn(call: Call[Any], sampler: Sampler, together: bool = False) -> Iterator[Samples]:
    """The samples of a recipe, a few at a time or all together. Progress is that of all."""
    recipe = call.recipe

    def reported(start: int, done: int, total: int, what: str) -> None:
        report(call.progress, min(start + done, recipe.n), recipe.n, what)  # what is moved decodes four for one

    at_once = recipe.n if together else _AT_ONCE
    for start in range(0, recipe.n, at_once):
        yield call.engine.sample(
            sampler,
            min(at_once, recipe.n - start),
            seed=recipe.seed,
            temperature=recipe.temperature,
            start=start,
            side=call.side,
            progress=partial(reported, start),
            cancel=call.cancel,
        )
