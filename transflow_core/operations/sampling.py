"""Sample, Sweep and Interpolate: new images, drawn from one posterior or on the way between two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from ..evidence import Evidence
from ..images import contact_sheet, labelled_rows, to_pil
from ..limits import SWEEP_LIKENESS, SWEEP_PIECES, SWEEP_RATIOS
from ..posterior import PRIOR_TEMPERATURE, Gaussian, Posterior, Sampler, compose, resolve
from ..posterior import interpolate as path_at
from ..priors.catalogue import example_files
from ..reading import Reader
from ..recipes import Drawing, Interpolate, Method, Sample, Sweep
from .inpaint import ignore, masks_in_frames
from .result import Result
from .source import Call, facts_of, notes_of

__all__ = ["interpolate", "sample", "sampler_of", "sweep", "sweep_of"]

M = TypeVar("M", bound=Method)

_OWN = {"local": "likeness", "bootstrap": "images_per_sample", "posterior": "lam_ratio"}
"""The number that a sweep of each method changes."""


def resolved(engine: Reader, recipe: M, posterior: Posterior) -> tuple[M, str]:
    """The recipe with the numbers of its method, and why. Raises ValueError for another number of levels."""
    recipe, reason = resolve(recipe, posterior, engine.looks)
    levels = len(engine.prior.levels)
    if isinstance(recipe.lam_ratio, tuple) and len(recipe.lam_ratio) != levels:
        raise ValueError(f"lam_ratio has {len(recipe.lam_ratio)} numbers; {engine.prior.name} has {levels} levels.")
    return recipe, reason


def ignored(engine: Reader, call: Call, evidence: Evidence) -> Evidence:
    """Evidence without what masks cover."""
    masks = call.masks(engine)
    if not masks:
        return evidence
    if evidence.saved is not None:
        raise ValueError("masks: a saved posterior takes none. Give images.")
    return ignore(engine, evidence, masks_in_frames(evidence, masks), cancel=call.cancel)


def sampler_of(engine: Reader, recipe: Sample, posterior: Posterior | None) -> Sampler:
    """What the samples of a resolved recipe are drawn from; the prior itself without a posterior.

    Fine and coarse levels may come from different places: the evidence, the prior, or an example set.
    """

    def source(key: str) -> Sampler:
        if key == "prior" or (key == "evidence" and posterior is None):
            return Gaussian.standard(engine.prior.dim, std=PRIOR_TEMPERATURE)
        of = posterior
        if key != "evidence" or of is None:
            of = engine.posterior(example_files(key), align="never")
        return engine.draw(of, recipe)

    if not recipe.mixed:
        return source("evidence")
    style = source(recipe.style)
    structure = style if recipe.style == recipe.structure else source(recipe.structure)
    levels = engine.prior.levels
    fine = min(recipe.style_levels, len(levels))
    return compose([style] * fine + [structure] * (len(levels) - fine), levels)


def sample(engine: Reader, recipe: Sample, call: Call) -> Result:
    """New images, with the closest image of the evidence to each."""
    evidence = ignored(engine, call, call.evidence(engine, recipe))
    posterior = evidence.posterior()
    recipe, reason = resolved(engine, recipe, posterior)
    samples = engine.sample(sampler_of(engine, recipe, posterior), **_draws(recipe), **_how(call))
    pictures = to_pil(samples.images)
    closest = engine.closest(samples.images, posterior, evidence, cancel=call.cancel)
    facts = facts_of(engine, recipe) | {"m": posterior.m, "reason": reason, **samples.counts}
    facts |= {"closest": [one.to_dict() for one in closest], "evidence": evidence.to_dicts()}
    named = {f"sample_{index:04d}": [picture] for index, picture in enumerate(pictures)}
    return Result(recipe, facts, named, contact_sheet(pictures), lines=(*notes_of(evidence), _line(recipe, reason)))


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
    usual: dict[str, Sequence[float]] = {
        "lam_ratio": SWEEP_RATIOS,
        "likeness": SWEEP_LIKENESS,
        "images_per_sample": [*(k for k in SWEEP_PIECES if k < m), max(m, 1)],
    }
    label = {"lam_ratio": "λ/m = {:g}", "likeness": "likeness {:g}", "images_per_sample": "{:g} images each"}[over]
    swept = {value: recipe.replace(**{over: value}) for value in recipe.values or usual[over]}
    named = {label.format(value): one for value, one in swept.items()}
    return {"1 image each" if name == "1 images each" else name: one for name, one in named.items()}


def sweep(engine: Reader, recipe: Sweep, call: Call) -> Result:
    """The same draws at several values of one number."""
    evidence = call.evidence(engine, recipe)
    posterior = evidence.posterior()
    recipe, reason = resolved(engine, recipe, posterior)
    swept = sweep_of(recipe, posterior.m)
    over = _OWN[recipe.method] if recipe.over == "auto" else recipe.over
    recipe = recipe.replace(over=over, values=tuple(getattr(one, over) for one in swept.values()))
    x = engine.series([engine.draw(posterior, one) for one in swept.values()], **_draws(recipe), **_how(call))
    facts = facts_of(engine, recipe) | {"m": posterior.m, "reason": reason, "evidence": evidence.to_dicts()}
    rows = [to_pil(x[:, row]) for row in range(recipe.n)]
    return Result(
        recipe,
        facts,
        overview=labelled_rows(rows, column_labels=list(swept)),
        lines=(*notes_of(evidence), _line(recipe, reason)),
    )


def interpolate(engine: Reader, recipe: Interpolate, call: Call) -> Result:
    """The same draws at posteriors along the path from one set to the other."""
    facts: dict[str, Any] = {}
    ends, made, lines = [], [], []
    for name, ratio in (("a", recipe.lam_ratio_a), ("b", recipe.lam_ratio_b)):
        evidence = call.evidence(engine, recipe, name)
        posterior = evidence.posterior()
        asked = recipe if ratio is None else recipe.replace(lam_ratio=ratio)
        end, reason = resolved(engine, asked, posterior)
        ends.append(engine.draw(posterior, end))
        made.append(end if ratio is None else end.replace(lam_ratio=recipe.lam_ratio))
        method = end.choices.model_dump(exclude_none=True)
        facts[name] = {"m": posterior.m, "reason": reason, **method, "evidence": evidence.to_dicts()}
        lines += [*notes_of(evidence), _line(end, reason)]
    a, b = ends
    path = [path_at(a, b, i / (recipe.steps - 1), method=recipe.interpolation) for i in range(recipe.steps)]
    x = engine.series(path, **_draws(recipe), **_how(call))
    if made[0] == made[1]:  # else each end has the method that suits it
        recipe = made[0]
    labels = [f"{i / (recipe.steps - 1):.2f}" for i in range(recipe.steps)]
    rows = [to_pil(x[:, draw]) for draw in range(recipe.n)]
    strip = labelled_rows(rows, column_labels=labels)
    frames = [contact_sheet([row[step] for row in rows]) for step in range(recipe.steps)]
    return Result(recipe, facts_of(engine, recipe) | facts, overview=strip, frames=frames, lines=tuple(lines))


def _draws(recipe: Drawing) -> dict[str, Any]:
    return {"n": recipe.n, "seed": recipe.seed, "temperature": recipe.temperature}  # type: ignore[attr-defined]


def _how(call: Call) -> dict[str, Any]:
    return {"progress": call.progress, "cancel": call.cancel}


def _line(recipe: Method, reason: str) -> str:
    numbers = [f"{name} {value}" for name, value in recipe.choices.texts().items() if name != "method"]
    return f"Method {recipe.method}, {', '.join(numbers)}. {reason}"
