"""The few-shot classifier: fitted from a handful of images a class, in closed form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from ..limits import CLASSES_OF_FILE, choice, class_name
from ..posterior.storage import write_tensors
from ..priors.prior import Images, Prior
from ..recipes import Features, Shape
from .calibration import NoveltyScale, class_likelihood, signs, temperature
from .features import hog
from .likelihood import SHAPES, SharedCovariance, predictive_log_prob
from .storage import Header, read_classifier

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


class Part(NamedTuple):
    """A part of the latent, a level or all of it, with Σ there, λ included, and the weight of its log densities."""

    slice: slice
    sigma: SharedCovariance
    weight: float


class FewShotClassifier:
    """Which class an image is of, by the posterior predictive of each class's few examples (sections 3.2 and 5.3).

    Class c with m_c examples has the predictive N(μp, Σp + Σ) of eq. 9-11; Bayes' rule over the classes gives
    probabilities. All classes share Σ = λS. Nothing is trained; fitting is a mean a class, and Σ.

    The paper's rule is `likelihood="paper", lam_ratio=…`: all latent dimensions are alike, and classes shrink towards
    the average *face*. Otherwise Σ may have a shape, estimated from all examples around their class's mean, and the
    prior of the class means is centred at the overall mean: eq. 3-4 with that as μ0. Held-out examples decide (5 folds,
    or as many as there are examples a class): the shape's shrinkage and the temperature are those under which their
    classes are likeliest, λ is the one under which they themselves are. Of a low-rank Σ each level decides for itself,
    and its log densities are divided by its own temperature before they are added.

    Args:
        prior: the flow whose latents are compared; None for a classifier of latents alone.
        lam_ratio: λ/m, above 0, with m the mean number of examples a class. Σ's mean variance is λ. By default λ is
            chosen from the evidence.
        likelihood: the shape of Σ, one of `recipes.Shape`.
        features: what is compared, one of `recipes.FEATURES`. Of others, what `vectors` gives takes the latents' place.

    Attributes:
        classes: names, in the order given; () before anything was fitted.
        counts: examples a class.
        means: (C, D), of their latents.
        centre: (D,), of the prior of the class means.
        parts: Σ of each part of the latent: of each level where it is low-rank and there is a prior, else of all of it.
        temperature: T, by which log densities are divided before Bayes' rule.
        novelty: decides what is of none of the classes.
        held_out_accuracy: share of held-out examples whose class is found; None where each class has one example.
        held_out_likelihood: mean log probability of their classes, in nats; None there too, and of a saved classifier.
        metadata: free text of its file.

    Example:
        >>> from transflow_core import standard_normal
        >>> z = standard_normal(40, 50, seed=0)
        >>> z[:20] += 1.0
        >>> classifier = FewShotClassifier(None).fit_latents({"up": z[:15], "flat": z[20:35]})
        >>> [answer.best for answer in classifier.judge(z[[15, 16, 35, 36]])]
        ['up', 'up', 'flat', 'flat']
    """

    classes: tuple[str, ...]
    counts: tuple[int, ...]
    means: Tensor
    centre: Tensor
    parts: tuple[Part, ...]
    temperature: float
    novelty: NoveltyScale
    held_out_accuracy: float | None
    held_out_likelihood: float | None
    metadata: Mapping[str, str]

    def __init__(
        self,
        prior: Prior | None,
        lam_ratio: float | None = None,
        *,
        likelihood: Shape = "low-rank",
        features: Features = "latents",
    ) -> None:
        if lam_ratio is not None and not 0 < lam_ratio < float("inf"):
            raise ValueError("lam_ratio must be above 0 and finite: a predictive without width cannot be compared")
        self.prior, self.likelihood = prior, choice(likelihood, "the likelihood", get_args(Shape))
        self.features = choice(features, "the features", get_args(Features))
        self._lam_ratio, self.classes, self.metadata = lam_ratio, (), {}
        self.held_out_accuracy = self.held_out_likelihood = None

    def vectors(self, images: Images) -> Tensor:
        """What is compared of aligned images, (n, D); they are as `Prior.encode` takes them."""
        if self.prior is None:
            raise ValueError("this classifier has no prior: it takes latents, not images")
        return self.prior.encode(images) if self.features == "latents" else hog(self.prior.to_unit(images))

    def fit(self, evidence: Mapping[str, Images]) -> "FewShotClassifier":
        """Learn classes from aligned images: class name to what `Prior.encode` takes. See `fit_latents`."""
        return self.fit_latents({name: self.vectors(images) for name, images in evidence.items()})

    def fit_latents(self, evidence: Mapping[str, Tensor]) -> "FewShotClassifier":
        """Learn classes from latents: class name to (m, D), or (m, v, D) with v variants of each example. Returns self.

        The first variant is the example itself; only it is scored. The others, such as distorted copies (see `jitter`),
        show which directions do not matter: from one example a class, nothing else is known of Σ.

        Raises ValueError for no class, an empty class, latents that are not finite, or widths that differ.
        """
        flow = self.prior if self.features == "latents" else None
        groups = _checked(evidence, flow.dim if flow else None)
        slices = tuple(level.slice for level in flow.levels) if flow else (slice(0, groups[0].shape[2]),)
        scores, own, held_out, parts = self._hold_out(groups, slices)
        right = scores[held_out, :-1].argmax(1) == own[held_out]
        size = torch.cat([group[:, 0] for group in groups]).double().square().mean(1)
        self.classes, self.counts = tuple(evidence), tuple(len(group) for group in groups)
        self.means, self.centre = self._means(groups)
        self.parts = parts
        self.temperature = temperature(scores[:, :-1], own, held_out)
        known = signs(size, scores[:, :-1], scores[:, -1])[held_out]
        others = signs(size, scores[:, :-1], scores[:, -1], own) if len(groups) > 1 else known[:0]
        self.novelty = NoveltyScale.fit(known, others)  # of examples held out, and of all without their class
        self.held_out_accuracy = float(right.double().mean()) if len(right) else None
        self.held_out_likelihood = class_likelihood(scores[held_out, :-1], own[held_out]) if len(right) else None
        return self

    @property
    def lam_ratio(self) -> float:
        """λ/m, given or chosen: Σ's mean variance by the mean number of examples a class."""
        variances = [part.sigma.covariance().variance.expand(self.means[0, part.slice].shape) for part in self.parts]
        return float(torch.cat(variances).mean()) * len(self.counts) / sum(self.counts)

    @property
    def threshold(self) -> float:
        """The novelty above which to say "none of these"; see `NoveltyScale`."""
        return self.novelty.threshold

    def score_latents(self, z: Tensor) -> Tensor:
        """Log predictive density of latents under each class, in nats (eq. 9-11): (n, D) -> (n, C + 1) float64.

        The last column is of a class of which nothing was seen. Of several parts it is the sum of theirs, each by its
        weight.
        """
        self._require_classes()
        z = torch.as_tensor(z)
        if z.ndim != 2 or z.shape[1] != self.means.shape[1]:
            raise ValueError(f"latents are (n, {self.means.shape[1]}), not {tuple(z.shape)}")
        z, counts = z.detach().cpu(), torch.tensor(self.counts, dtype=torch.float64)
        scores = torch.zeros(len(z), len(self.classes) + 1, dtype=torch.float64)
        for part in self.parts:
            s = part.slice
            found = predictive_log_prob(z[:, s], self.means[:, s], counts, [part.sigma], self.centre[s])
            scores += part.weight * found[0]
        return scores

    def predict_proba_latents(self, z: Tensor) -> Tensor:
        """Probability of each class, (n, C) float64, rows summing to 1; see `predict_proba`."""
        return torch.softmax(self.score_latents(z)[:, :-1] / self.temperature, dim=1)

    def predict_proba(self, images: Images) -> Tensor:
        """Probability of each class, given that the image is of one of them: (n, C) float64, rows summing to 1.

        Bayes' rule on log density / T: at T = 1 every answer would be certain. Images are as `Prior.encode` takes them.
        """
        return self.predict_proba_latents(self.vectors(images))

    def judge(self, z: Tensor) -> tuple[Answer, ...]:
        """What each latent is, (n, D) to n answers: its class, how sure that is, and whether it is of none.

        Images of another kind are found reliably; a new class among similar ones (a digit never shown, among digits)
        often is not.
        """
        scores, size = self.score_latents(z), torch.as_tensor(z).detach().cpu().double().square().mean(1)
        novelty = self.novelty.novelty(signs(size, scores[:, :-1], scores[:, -1])).tolist()
        probabilities = torch.softmax(scores[:, :-1] / self.temperature, dim=1).tolist()
        return tuple(
            Answer(dict(zip(self.classes, row, strict=True)), new, new > self.threshold)
            for row, new in zip(probabilities, novelty, strict=True)
        )

    def save(self, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write what was learned to one safetensors file: no evidence, though a class's mean of one is just that.

        `metadata` is free text to keep with it.
        """
        self._require_classes()
        tensors = {"counts": torch.tensor(self.counts, dtype=torch.float64), "means": self.means, "centre": self.centre}
        for index, part in enumerate(self.parts):
            named = vars(part.sigma).items()
            tensors |= {f"sigma.{index}.{name}": tensor for name, tensor in named if tensor is not None}
        tensors |= {f"novelty.{name}": getattr(self.novelty, name) for name in ("known", "novel", "covariance")}
        header = Header(
            classes=self.classes,
            parts=tuple((part.slice.stop, part.weight) for part in self.parts),
            likelihood="isotropic" if self.likelihood == "paper" else self.likelihood,
            centred=self.likelihood != "paper",
            features=self.features,
            fingerprint=self.prior.fingerprint if self.prior else "",
            temperature=self.temperature,
            threshold=self.threshold,
            accuracy=self.held_out_accuracy,
            metadata={**self.metadata, **(metadata or {})},
        )
        write_tensors(Path(path), "classifier", tensors, header)

    @classmethod
    def load(cls, path: str | Path, prior: Prior | None) -> "FewShotClassifier":
        """Read a saved classifier. The file is not trusted.

        Raises ValueError with what is wrong with it, or if it was made with another prior; FileNotFoundError.
        """
        tensors, header = read_classifier(Path(path))
        if prior is not None and header.fingerprint != prior.fingerprint:
            name = header.metadata.get("prior", "another prior")
            name = f"another {name}" if name == prior.name else f"{name}, not with {prior.name}"
            raise ValueError(f"{path}: this classifier was made with {name}")
        self = cls(prior, likelihood=header.likelihood if header.centred else "paper", features=header.features)
        self.metadata = header.metadata
        self.classes, self.counts = header.classes, tuple(int(count) for count in tensors["counts"])
        self.means, self.centre = tensors["means"], tensors["centre"]
        sigmas = [
            SharedCovariance(tensors[f"{key}.rest"], tensors.get(f"{key}.basis"), tensors.get(f"{key}.along"))
            for key in (f"sigma.{index}" for index in range(len(header.parts)))
        ]
        weights = [weight for _, weight in header.parts]
        self.parts = tuple(map(Part, header.slices(), sigmas, weights))
        self.temperature, self.held_out_accuracy = header.temperature, header.accuracy
        known, novel, covariance = (tensors[f"novelty.{name}"] for name in ("known", "novel", "covariance"))
        self.novelty = NoveltyScale(known, novel, covariance, header.threshold)
        return self

    def _require_classes(self) -> None:
        if not self.classes:
            raise ValueError("this classifier has no classes yet: fit it on evidence first")

    def _means(self, groups: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        means = torch.stack([group.flatten(0, 1).mean(0) for group in groups])
        return means, torch.zeros_like(means[0]) if self.likelihood == "paper" else means.mean(0)

    def _hold_out(
        self, groups: list[Tensor], slices: tuple[slice, ...]
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Part, ...]]:
        """Choose each part's Σ and weight by held-out examples; their scores under them, the prior's last.

        Returns scores (n, C + 1), own class (n,), held out or not (n,), and the parts for all of the evidence.
        """
        own = torch.arange(len(groups)).repeat_interleave(_counts(groups).long())
        held_out = _counts(groups)[own] > 1  # the only example of a class stays in
        total, parts = torch.zeros(len(own), len(groups) + 1, dtype=torch.float64), []
        of_parts = slices if self.likelihood == "low-rank" else (slice(0, slices[-1].stop),)
        for s in of_parts:
            scores, sigma = self._hold_out_part([group[..., s] for group in groups], own, held_out)
            weight = 1 / temperature(scores[:, :-1], own, held_out) if len(of_parts) > 1 else 1.0
            parts.append(Part(s, sigma, weight))
            total += weight * scores
        return total, own, held_out, tuple(parts)

    def _hold_out_part(self, groups: list[Tensor], own: Tensor, held_out: Tensor) -> tuple[Tensor, SharedCovariance]:
        counts = _counts(groups)
        examples = torch.cat([group[:, 0] for group in groups])
        folds = min(_FOLDS, int(counts.max()))
        fold_of = [torch.arange(len(group)) % min(folds, len(group)) for group in groups]
        final = self._candidates(groups, counts)
        scores = torch.zeros(len(final), len(own), len(groups) + 1, dtype=torch.float64)
        for fold in range(folds) if held_out.any() else ():
            kept = [group if len(group) == 1 else group[of != fold] for group, of in zip(groups, fold_of, strict=True)]
            rows = held_out & (torch.cat(fold_of) == fold)
            means, centre = self._means(kept)
            candidates = self._candidates(kept, counts)
            scores[:, rows] = predictive_log_prob(examples[rows], means, _counts(kept), candidates, centre)
        means, centre = self._means(groups)
        scores[:, ~held_out] = predictive_log_prob(examples[~held_out], means, counts, final, centre)
        multiples = len(_MULTIPLES) if self._lam_ratio is None else 1
        best = _choose(scores[:, held_out, :-1], own[held_out], len(final) // multiples)
        return scores[best], final[best]

    def _candidates(self, groups: Sequence[Tensor], counts: Tensor) -> list[SharedCovariance]:
        """Every Σ that may be chosen, in an order that does not depend on the evidence."""
        within = torch.cat([_residuals(group) for group in groups])
        power = float(within.double().square().mean())
        if power < 1e-12:
            # One example a class and no variants: of Σ it is only known that classes differ at least as much.
            means = torch.stack([group.mean((0, 1)) for group in groups])
            power = max(0.5 * float((means - means.mean(0)).double().square().mean()), 1e-3)
            within = torch.zeros_like(within)
        shapes = SHAPES[self.likelihood](within)
        if self._lam_ratio is not None:
            return [candidate.scaled(self._lam_ratio * float(counts.mean())) for candidate in shapes]
        return [candidate.scaled(power * multiple) for candidate in shapes for multiple in _MULTIPLES]


def _counts(groups: Sequence[Tensor]) -> Tensor:
    return torch.tensor([len(group) for group in groups], dtype=torch.float64)


def _choose(scores: Tensor, own: Tensor, n_shapes: int) -> int:
    """Index of the best candidate, of (S, n, C) held-out scores: the shape by the classes, then λ by the densities.

    Shapes chosen by density were worse: most of it is about directions that no class differs in. Without held-out
    examples it is the middle one of each.
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


def _residuals(group: Tensor) -> Tensor:
    """(m, v, D) to (m · v, D) differences from the class's mean, without the bias of a mean taken from the same m."""
    examples, m = group.mean(1, keepdim=True), len(group)
    between = (examples - examples.mean(0)) * (m / (m - 1)) ** 0.5 if m > 1 else torch.zeros_like(examples)
    return (group - examples + between).flatten(0, 1)


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
        if z.shape[2] != (dim := dim or z.shape[2]):
            raise ValueError(f"class {name!r}: its latents have {z.shape[2]} dimensions, not {dim}")
        if bad := (~z.isfinite().flatten(1).all(1)).nonzero().flatten().tolist():
            raise ValueError(f"class {name!r}: examples {bad} are not finite; leave those images out")
        groups.append(z)
    return groups
