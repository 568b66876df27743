"""The few-shot classifier: fitted from a handful of images a class, in closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from PIL import Image
from torch import Tensor

from ..limits import CLASSES_OF_FILE, choice, class_name
from ..prior import Images, Prior
from ..recipes import Shape
from .augmentation import jitter
from .calibration import NoveltyScale, class_likelihood, signs, temperature
from .likelihood import SHAPES, Scatter, SharedCovariance, predictive_log_prob
from .storage import Header, read_classifier, write_classifier

__all__ = ["NONE", "Answer", "FewShotClassifier", "Part"]

NONE = "none of these"
"""The answer for an image that belongs to none of the classes."""
_FOLDS = 5
# λ against the scatter of the evidence around the means of its classes.
_MULTIPLES = (0.8, 1.0, 1.25, 1.6, 2.0, 3.0)


@dataclass(frozen=True)
class Answer:
    """What one image is.

    Attributes:
        probabilities: of each class, by name, if it is of one of them: they sum to 1.
        novelty: 0 to 1, how likely it is none of them.
        none: whether the novelty is above the classifier's threshold.
    """

    probabilities: Mapping[str, float]
    novelty: float
    none: bool

    @property
    def best(self) -> str:
        """The likeliest class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def word(self) -> str:
        """The answer in a word: the likeliest class, or `NONE`."""
        return NONE if self.none else self.best


@dataclass(frozen=True)
class Part:
    """A part of the latent that has a Σ of its own: a level, or all of it.

    Attributes:
        slice: which numbers of the latent.
        sigma: Σ there, λ included.
        weight: above 0, by which its log densities are multiplied before they are added to other parts'.
    """

    slice: slice
    sigma: SharedCovariance
    weight: float


@dataclass(frozen=True)
class _State:
    """All that was learned: of the evidence only means, and the directions in which it varies."""

    classes: tuple[str, ...]
    counts: Tensor
    means: Tensor
    centre: Tensor
    parts: tuple[Part, ...]
    temperature: float
    novelty: NoveltyScale
    accuracy: float | None


class FewShotClassifier:
    """Which class an image is of, by the posterior predictive of each class's few examples (sections 3.2 and 5.3).

    Class c with m_c examples has the predictive N(μp, Σp + Σ) of eq. 9-11; Bayes' rule over the classes gives
    probabilities. All classes share Σ = λS. Nothing is trained; fitting is a mean a class, and Σ.

    The paper's rule is `likelihood="paper", lam_ratio=…`: all latent dimensions are alike, and classes shrink towards
    the average *face*. Here Σ may have a shape, estimated from all examples around their class's mean, and the prior
    of the class means is centred at the overall mean: eq. 3-4 with that as μ0. Held-out examples decide (5 folds, or
    as many as there are examples a class): the shape's shrinkage and the temperature are those under which their
    classes are likeliest, λ is the one under which they themselves are. Of a low-rank Σ each level decides for itself,
    and its log densities are divided by its own temperature before they are added.

    Args:
        prior: the flow whose latents are compared; None for a classifier of latents alone.
        lam_ratio: λ/m, above 0, with m the mean number of examples a class. Σ's mean variance is λ.
        lam: λ itself instead, above 0. With neither, λ is chosen from the evidence.
        likelihood: the shape of Σ, one of `recipes.SHAPES`: "low-rank", "levels", "diagonal", "isotropic", and
            "paper", which is "isotropic" with `centre=False`.
        centre: whether the prior of class means is centred at the evidence's overall mean, or at 0 as in the paper.

    Example:
        >>> from transflow_core import standard_normal
        >>> z = standard_normal(40, 50, seed=0)
        >>> z[:20] += 1.0
        >>> classifier = FewShotClassifier(None).fit_latents({"up": z[:15], "flat": z[20:35]})
        >>> classifier.predict_latents(z[[15, 16, 35, 36]])
        ['up', 'up', 'flat', 'flat']
    """

    def __init__(
        self,
        prior: Prior | None,
        lam_ratio: float | None = None,
        *,
        lam: float | None = None,
        likelihood: Shape = "low-rank",
        centre: bool = True,
    ) -> None:
        if lam_ratio is not None and lam is not None:
            raise ValueError("give lam or lam_ratio (= lam / m), not both")
        for name, value in (("lam_ratio", lam_ratio), ("lam", lam)):
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be above 0 and finite: a predictive without width cannot be compared")
        choice(likelihood, "the likelihood", get_args(Shape))
        self.prior, self.likelihood, self.centred = prior, likelihood, centre
        if likelihood == "paper":
            self.likelihood, self.centred = "isotropic", False
        self._lam_ratio, self._lam = lam_ratio, lam
        self._fitted: _State | None = None

    def fit(self, evidence: Mapping[str, Images], *, augment: int = 0, seed: int = 0) -> FewShotClassifier:
        """Learn classes from images in the prior's frame, as `Prior.encode` takes them. Returns self.

        Args:
            evidence: class name to images, at least one each.
            augment: distorted copies of each image that count as the same example (PIL images only; see `jitter`).
                They show which directions do not matter. From one example a class, nothing else is known of Σ.
            seed: of the distortions.

        Raises ValueError as `fit_latents` does; what `Prior.encode` refuses is refused.
        """
        prior = self._require_prior()
        latents = {}
        for name, images in evidence.items():
            pictures = [image for image in images if isinstance(image, Image.Image)] if augment else []
            if augment and len(pictures) < len(images):
                raise ValueError("augmentation needs PIL images")
            variants = [variant for group in jitter(pictures, augment, seed=seed) for variant in group]
            z = prior.encode(variants if augment else images)
            latents[name] = z.reshape(len(pictures), 1 + augment, -1) if augment else z
        return self.fit_latents(latents)

    def fit_latents(self, evidence: Mapping[str, Tensor]) -> FewShotClassifier:
        """Learn classes from latents: class name to (m, D), or (m, v, D) with v variants of each example. Returns self.

        The first variant is the example itself; only it is held out and scored. Raises ValueError for no class, an
        empty class, latents that are not finite, or widths that differ.
        """
        groups = _checked(evidence, self.prior.dim if self.prior else None)
        dim = groups[0].shape[2]
        slices = tuple(level.slice for level in self.prior.levels) if self.prior else (slice(0, dim),)
        counts = torch.tensor([len(group) for group in groups], dtype=torch.float64)
        scores, own, held_out, parts = self._hold_out(groups, slices)
        rows = scores[held_out, :-1]
        right = (rows.argmax(1) == own[held_out]).double().mean() if held_out.any() else None
        means, centre = self._means(groups)
        size = torch.cat([group[:, 0] for group in groups]).double().square().mean(1)
        self._fitted = _State(
            classes=tuple(evidence),
            counts=counts,
            means=means,
            centre=centre,
            parts=parts,
            temperature=temperature(scores[:, :-1], own, held_out),
            novelty=_novelty_scale(size, scores, own, held_out),
            accuracy=None if right is None else float(right),
        )
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order given; () before anything was fitted."""
        return self._fitted.classes if self._fitted else ()

    @property
    def counts(self) -> tuple[int, ...]:
        """Examples a class."""
        return tuple(int(count) for count in self._state.counts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Σ of each part of the latent: of each level where it is low-rank and there is a prior, else of all of it."""
        return self._state.parts

    @property
    def lam_ratio(self) -> float:
        """λ/m, given or chosen: Σ's mean variance by the mean number of examples a class."""
        state = self._state
        variances = [part.sigma.covariance().variance.expand(state.means[0, part.slice].shape) for part in state.parts]
        return float(torch.cat(variances).mean()) * len(state.counts) / float(state.counts.sum())

    @property
    def temperature(self) -> float:
        """T, by which log densities are divided before Bayes' rule; see `calibration.temperature`."""
        return self._state.temperature

    @property
    def threshold(self) -> float:
        """The novelty above which to say "none of these"; see `NoveltyScale`."""
        return self._state.novelty.threshold

    @property
    def held_out_accuracy(self) -> float | None:
        """Share of the examples whose class is found when they are held out; None where each class has one."""
        return self._state.accuracy

    def score_latents(self, z: Tensor) -> Tensor:
        """Log predictive density of each latent under each class, in nats (eq. 9-11): (n, D) -> (n, C) float64.

        Of several parts it is the sum of theirs, each by its weight.
        """
        return self._scores(z)[:, :-1]

    def predict_proba_latents(self, z: Tensor, class_prior: Sequence[float] | None = None) -> Tensor:
        """Probability of each class, (n, C) float64, rows summing to 1; see `predict_proba`."""
        return self._probabilities(self.score_latents(z), class_prior)

    def predict_proba(self, images: Images, class_prior: Sequence[float] | None = None) -> Tensor:
        """Probability of each class, given that the image is of one of them: (n, C) float64, rows summing to 1.

        Bayes' rule on log density / T: at T = 1 every answer would be certain. See `calibration.temperature`.

        Args:
            images: as `Prior.encode` takes them.
            class_prior: (C,) positive weights of the classes, equal by default.
        """
        return self.predict_proba_latents(self._require_prior().encode(images), class_prior)

    def predict_latents(self, z: Tensor) -> list[str]:
        """The likeliest class of each latent."""
        return [self.classes[index] for index in self.score_latents(z).argmax(1).tolist()]

    def predict(self, images: Images) -> list[str]:
        """The likeliest class of each image."""
        return self.predict_latents(self._require_prior().encode(images))

    def novelty(self, z: Tensor) -> Tensor:
        """How likely each latent belongs to none of the classes: (n, D) -> (n,) float64 in [0, 1]; see `NoveltyScale`.

        Above `threshold`, say "none of these". Images of another kind are found reliably; a new class among similar
        ones (a digit never shown, among digits) often is not.
        """
        return self._novelty(z, self._scores(z))

    def _novelty(self, z: Tensor, scores: Tensor) -> Tensor:
        size = z.detach().cpu().double().square().mean(1)
        return self._state.novelty.novelty(signs(size, scores[:, :-1], scores[:, -1]))

    def judge(self, z: Tensor) -> tuple[Answer, ...]:
        """What each latent is, (n, D) to n answers: its class, how sure that is, and whether it is of none."""
        scores = self._scores(z)
        rows = zip(self._probabilities(scores[:, :-1], None).tolist(), self._novelty(z, scores).tolist(), strict=True)
        return tuple(
            Answer(dict(zip(self.classes, row, strict=True)), novelty, novelty > self.threshold)
            for row, novelty in rows
        )

    def save(self, path: str | Path) -> None:
        """Write what was learned to one safetensors file: no evidence, though a class's mean of one is just that."""
        state = self._state
        tensors = {"counts": state.counts, "means": state.means, "centre": state.centre}
        for index, part in enumerate(state.parts):
            tensors |= part.sigma.tensors(index)
        tensors |= {f"novelty.{name}": getattr(state.novelty, name) for name in ("known", "novel", "covariance")}
        header = Header(
            classes=state.classes,
            parts=tuple((part.slice.stop, part.weight) for part in state.parts),
            likelihood=self.likelihood,  # type: ignore[arg-type]  # "paper" became "isotropic"
            centred=self.centred,
            fingerprint=self.prior.fingerprint if self.prior else "",
            temperature=state.temperature,
            threshold=state.novelty.threshold,
            accuracy=state.accuracy,
        )
        write_classifier(path, tensors, header)

    @classmethod
    def load(cls, path: str | Path, prior: Prior | None) -> FewShotClassifier:
        """Read a saved classifier. The file is not trusted.

        Raises ValueError with what is wrong with it, or if it was made with another prior; FileNotFoundError.
        """
        tensors, header = read_classifier(path)
        if prior is not None and header.fingerprint != prior.fingerprint:
            raise ValueError(f"{path}: this classifier was made with another prior than {prior.name}")
        self = cls(prior, likelihood=header.likelihood, centre=header.centred)
        novelty = {name: tensors[f"novelty.{name}"] for name in ("known", "novel", "covariance")}
        parts = zip(header.slices(), header.parts, strict=True)
        self._fitted = _State(
            classes=header.classes,
            counts=tensors["counts"],
            means=tensors["means"],
            centre=tensors["centre"],
            parts=tuple(
                Part(part, SharedCovariance.of_tensors(tensors, index), weight)
                for index, (part, (_, weight)) in enumerate(parts)
            ),
            temperature=header.temperature,
            novelty=NoveltyScale(**novelty, threshold=header.threshold),
            accuracy=header.accuracy,
        )
        return self

    @property
    def _state(self) -> _State:
        if self._fitted is None:
            raise ValueError("this classifier has no classes yet: fit it on evidence first")
        return self._fitted

    def _require_prior(self) -> Prior:
        if self.prior is None:
            raise ValueError("this classifier has no prior: it takes latents, not images")
        return self.prior

    def _scores(self, z: Tensor) -> Tensor:
        state = self._state
        if z.ndim != 2 or z.shape[1] != state.means.shape[1]:
            raise ValueError(f"latents are (n, {state.means.shape[1]}), not {tuple(z.shape)}")
        z, total = z.detach().cpu(), 0
        for part in state.parts:
            s = part.slice
            found = _with_prior(z[:, s], state.means[:, s], state.counts, [part.sigma], state.centre[s])[0]
            total = total + part.weight * found
        return torch.as_tensor(total)

    def _probabilities(self, scores: Tensor, class_prior: Sequence[float] | None) -> Tensor:
        logits = scores / self._state.temperature
        if class_prior is not None:
            weights = torch.as_tensor(class_prior, dtype=torch.float64)
            if weights.shape != (len(self.classes),) or not (weights > 0).all() or not weights.isfinite().all():
                raise ValueError(f"class_prior is {len(self.classes)} positive numbers")
            logits = logits + weights.log()
        return torch.softmax(logits, dim=1)

    def _means(self, groups: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        means = torch.stack([group.flatten(0, 1).mean(0) for group in groups])
        return means, means.mean(0) if self.centred else torch.zeros_like(means[0])

    def _hold_out(
        self, groups: list[Tensor], slices: tuple[slice, ...]
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Part, ...]]:
        """Choose each part's Σ and weight by held-out examples; their scores under them, the prior's last.

        Returns scores (n, C + 1), own class (n,), held out or not (n,), and the parts for all of the evidence.
        """
        if self.likelihood != "low-rank" or len(slices) == 1:
            scores, own, held_out, sigma = self._hold_out_part(groups, slices)
            return scores, own, held_out, (Part(slice(0, groups[0].shape[2]), sigma, 1.0),)
        found = [
            self._hold_out_part([group[..., s] for group in groups], (slice(0, s.stop - s.start),)) for s in slices
        ]
        weights = [1 / temperature(scores[:, :-1], own, held_out) for scores, own, held_out, _ in found]
        total = torch.stack([w * scores for w, (scores, _, _, _) in zip(weights, found, strict=True)]).sum(0)
        parts = zip(slices, (sigma for _, _, _, sigma in found), weights, strict=True)
        return total, found[0][1], found[0][2], tuple(Part(*part) for part in parts)

    def _hold_out_part(
        self, groups: list[Tensor], slices: tuple[slice, ...]
    ) -> tuple[Tensor, Tensor, Tensor, SharedCovariance]:
        counts = torch.tensor([len(group) for group in groups], dtype=torch.float64)
        own = torch.cat([torch.full((len(group),), index) for index, group in enumerate(groups)])
        position = torch.cat([torch.arange(len(group)) for group in groups])
        examples = torch.cat([group[:, 0] for group in groups])
        folds = min(_FOLDS, int(counts.max()))
        # The only example of a class stays in.
        held_out = counts[own] > 1
        final = self._candidates(groups, slices, counts)
        scores = torch.zeros(len(final), len(own), len(groups) + 1, dtype=torch.float64)
        if held_out.any():
            for fold in range(folds):
                kept = [
                    group if len(group) == 1 else group[torch.arange(len(group)) % min(folds, len(group)) != fold]
                    for group in groups
                ]
                size = torch.minimum(counts[own], torch.tensor(float(folds))).long()
                rows = held_out & (position % size == fold)
                kept_counts = torch.tensor([len(group) for group in kept], dtype=torch.float64)
                means, centre = self._means(kept)
                candidates = self._candidates(kept, slices, counts)
                scores[:, rows] = _with_prior(examples[rows], means, kept_counts, candidates, centre)
        means, centre = self._means(groups)
        if not held_out.all():
            scores[:, ~held_out] = _with_prior(examples[~held_out], means, counts, final, centre)
        best = _choose(scores[:, held_out, :-1], own[held_out], len(final) // self._multiples)
        return scores[best], own, held_out, final[best]

    def _candidates(
        self, groups: Sequence[Tensor], slices: tuple[slice, ...], counts: Tensor
    ) -> list[SharedCovariance]:
        """Every Σ that may be chosen, in an order that does not depend on the evidence."""
        within = torch.cat([_residuals(group) for group in groups])
        power = float(within.double().square().mean())
        if power < 1e-12:
            # One example a class and no variants: of Σ it is only known that classes differ at least as much.
            means = torch.stack([group.mean((0, 1)) for group in groups])
            power = max(0.5 * float((means - means.mean(0)).double().square().mean()), 1e-3)
            scatter = Scatter.flat(means.shape[1], slices)
        else:
            scatter = Scatter.of(within, slices, directions=self.likelihood == "low-rank")
        shapes = SHAPES[self.likelihood](scatter)
        lam = self._lam if self._lam_ratio is None else self._lam_ratio * float(counts.mean())
        if lam is not None:
            return [candidate.scaled(lam) for candidate in shapes]
        return [candidate.scaled(power * multiple) for candidate in shapes for multiple in _MULTIPLES]

    @property
    def _multiples(self) -> int:
        """Candidates for λ a shape."""
        return 1 if self._lam is not None or self._lam_ratio is not None else len(_MULTIPLES)


def _choose(scores: Tensor, own: Tensor, n_shapes: int) -> int:
    """Index of the best candidate, of (S, n, C) held-out scores: the shape by the classes, then λ by the densities.

    Most of an image's density is about directions that no class differs in: on digits, shapes chosen by it were worse
    by up to 15 points of accuracy. Without held-out examples it is the middle one of each.
    """
    candidates = torch.arange(len(scores)).reshape(n_shapes, -1)
    shape, lam = n_shapes // 2, candidates.shape[1] // 2
    if len(own):
        density = scores.gather(2, own.reshape(1, -1, 1).expand(len(scores), -1, 1)).sum((1, 2))[candidates]
        if scores.shape[2] > 1:
            likelihoods = [class_likelihood(scores[row[lam]], own) for row in candidates]
            shape = max(range(n_shapes), key=likelihoods.__getitem__)
        else:
            shape = int(density.max(1).values.argmax())
        lam = int(density[shape].argmax())
    return int(candidates[shape, lam])


def _with_prior(z: Tensor, means: Tensor, counts: Tensor, sigmas: Sequence[SharedCovariance], centre: Tensor) -> Tensor:
    """(S, n, C + 1): scores under each class, and in a last column under a class of which nothing was seen."""
    everything = torch.cat([means, centre.unsqueeze(0)]), torch.cat([counts, counts.new_zeros(1)])
    return predictive_log_prob(z, *everything, sigmas, centre)


def _residuals(group: Tensor) -> Tensor:
    """(m, v, D) to (m · v, D) differences from the class's mean, without the bias of a mean taken from the same m."""
    examples = group.mean(1, keepdim=True)
    m = len(group)
    between = (examples - examples.mean(0)) * (m / (m - 1)) ** 0.5 if m > 1 else torch.zeros_like(examples)
    return (group - examples + between).flatten(0, 1)


def _novelty_scale(size: Tensor, scores: Tensor, own: Tensor, held_out: Tensor) -> NoveltyScale:
    """From held-out examples (known), and from all of them without their class (novel)."""
    classes, prior = scores[:, :-1], scores[:, -1]
    known = signs(size, classes, prior)[held_out]
    novel = signs(size, classes, prior, own) if classes.shape[1] > 1 else known[:0]
    return NoveltyScale.fit(known, novel)


def _checked(evidence: Mapping[str, Tensor], dim: int | None) -> list[Tensor]:
    """(m, v, D) float32 on the CPU, a class each."""
    if not evidence:
        raise ValueError("there are no classes: give a mapping from class names to evidence")
    if len(evidence) not in CLASSES_OF_FILE:
        raise ValueError(f"at most {CLASSES_OF_FILE.high} classes, not {len(evidence)}")
    groups = []
    for name, z in evidence.items():
        class_name(name)
        z = torch.as_tensor(z).detach().cpu().float()
        z = z.unsqueeze(1) if z.ndim == 2 else z
        if z.ndim != 3 or not z.numel():
            raise ValueError(f"class {name!r}: latents are (m, D) or (m, variants, D), m ≥ 1, not {tuple(z.shape)}")
        dim = z.shape[2] if dim is None else dim
        if z.shape[2] != dim:
            raise ValueError(f"class {name!r}: its latents have {z.shape[2]} dimensions, not {dim}")
        bad = (~z.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
        if bad:
            raise ValueError(f"class {name!r}: examples {bad} are not finite; leave those images out")
        groups.append(z)
    return groups
