"""Conditioning a Gaussian prior on evidence: the posterior and its predictive."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from ..recipes import Method
from .bootstrap import MOST_KEPT, BayesianBootstrap
from .covariance import Covariance
from .gaussian import Gaussian, Sampler
from .guard import MANY, Looks, shrunk
from .levels import HasSlice, level_shapes, level_slices, per_level
from .local import COARSE, GRID, PRIOR_TEMPERATURE, Local, LocalNumbers, flatness, help_of
from .shrinkage import ShrinkageCovariance
from .storage import PosteriorHeader, read_posterior, write_tensors

_SINGLE = 1.5  # images, as their weights count: of fewer the mean is one image
_FINEST = 64  # side at most of the level that tells flat drawings: that of larger images may have nothing but noise


@dataclass(frozen=True, eq=False, kw_only=True)
class Posterior(Gaussian):
    """N(μp, Σp): the latents of images that resemble the evidence (section 3.1). Made by `Posterior.condition`.

    It keeps its evidence, so that λ (`with_lam`) and the sampling method (`draw`) can change later, in a file too. So
    a file of it is the images: a prior decodes its latents to them. `moments` has none.

    Attributes:
        mean: μp, (D,).
        covariance: Σp; `variance` has its marginals, () or (D,).
        m: the number of images, or the sum of their weights.
        lam_ratio: r = λ / m, () float64 or (D,), from 0 to infinity.
        evidence_mean: ζ̄, (D,), the weighted mean of the evidence's latents.
        latents: (p, D), of the images, p ≤ `MOST_KEPT`: of more, evenly spaced ones. (0, D) of `moments`.
        likelihood: S, the shape of the likelihood's covariance Σ = λ · S.
        prior: N(μ0, Σ0).
        weights: (p,) float64 on the CPU, of these images, of sum m.
        visible: (p, V, V) in [0, 1], how much each place of these counts under its mask (see `Local`), or None.
        since: (p,) int64 on the CPU, the first number of the latent that each of these has; None where all have all.
        metadata: free text, such as the name and the fingerprint of the flow's prior.
    """

    m: float
    lam_ratio: Tensor
    evidence_mean: Tensor
    latents: Tensor
    likelihood: Covariance
    prior: Gaussian
    weights: Tensor
    visible: Tensor | None = None
    since: Tensor | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def condition(
        cls,
        z: Tensor,
        lam_ratio: float | Tensor | None = None,
        *,
        lam: float | Tensor | None = None,
        likelihood: Covariance | float | Tensor = 1.0,
        weights: Tensor | Sequence[float] | None = None,
        visible: Tensor | None = None,
        since: Tensor | None = None,
        prior: Gaussian | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> "Posterior":
        """Bayes' rule with a Gaussian prior and likelihood, in closed form.

        Eq. 3-4:   Σp = (Σ0⁻¹ + m Σ⁻¹)⁻¹,   μp = Σp (Σ0⁻¹ μ0 + m Σ⁻¹ ζ̄).
        Eq. 5-6 are the same with the prior N(0, I). Eq. 7-8 also have Σ = λ I, with r = λ/m:
        μp = ζ̄ / (1 + r),   Σp = r / (1 + r) · I.

        No Σ0 or Σ is inverted, so both ends are exact: r = 0 gives the evidence's mean and no variance, r = ∞ the
        prior. The paper recommends r in [0.3, 0.7].

        An image of few pixels has no fine levels, which are the first numbers of a latent. With since_i, the first that
        image i has, number d has the evidence m_d = Σ w_i [since_i ≤ d], ζ̄_d = Σ w_i [since_i ≤ d] ζ_id / m_d, and the
        rule holds with r_d = λ / m_d. Where no image has it, r_d = ∞: it is the prior's, given the coarser ones.

        Args:
            z: (m, D) latents of the evidence, m ≥ 1, float32 or float64 (half precision is widened).
            lam_ratio: r = λ/m, 0 to infinity: one number, or (D,) for one a dimension (see `per_level`).
            lam: λ itself, in place of `lam_ratio`.
            likelihood: S, the shape of Σ = λ^½ S λ^½: 1 for the paper's λ I, (D,) for a diagonal, or a `Covariance`.
            weights: (m,) at least 0 and not all 0: image i counts as w_i images. m is then Σ w_i. A weight of 0 leaves
                the image out.
            visible: (m, V, V) in [0, 1]: 0 where an image does not count.
            since: (m,), from which number of the latent on each image counts; by default all from the first.
            prior: N(μ0, Σ0); by default N(0, I), the prior of a flow's whitened latent. It may be a posterior: under
                one `lam`, conditioning step by step is conditioning at once.
            metadata: free text to keep with it.

        Raises ValueError unless one of `lam` and `lam_ratio` is given, for a shape that does not fit, a λ or weight
        below 0 or NaN, and for evidence that is not finite (it names the rows).

        Example:
            >>> evidence = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
            >>> posterior = Posterior.condition(evidence, lam_ratio=1.0)
            >>> posterior.mean, posterior.variance.item()
            (tensor([1., 1.]), 0.5)
        """
        z = torch.as_tensor(z)
        if z.ndim != 2 or not z.numel():
            raise ValueError(f"evidence is (m, D) with at least one row, not {tuple(z.shape)}")
        z = z if z.dtype == torch.float64 else z.float()
        z = z.cpu() if z.device.type == "mps" else z  # Apple's GPUs have no float64
        (images, dim), likelihood = z.shape, Covariance.of(likelihood).to(z.device, z.dtype)
        prior = Gaussian.standard(dim) if prior is None else prior
        if prior.dim != dim or likelihood.dim not in (None, dim):
            raise ValueError(f"dimensions differ: evidence {dim}, prior {prior.dim}, likelihood {likelihood.dim}")
        prior = Gaussian(prior.mean.to(z.device, z.dtype), prior.covariance)
        weights = _checked(weights, images)
        if since is not None and (since.shape != (images,) or not ((since >= 0) & (since <= dim)).all()):
            raise ValueError(f"since is (m,), one number of the {dim} of each of {images} images")
        if visible is not None and (visible.shape[:-2] != (images,) or not ((visible >= 0) & (visible <= 1)).all()):
            raise ValueError(f"visible is (m, V, V) in [0, 1], of {images} images, not {tuple(visible.shape)}")
        since = None if since is None or not since.any() else since.long().cpu()
        if since is not None and (prior.covariance.factor is not None or likelihood.factor is not None):
            raise ValueError("images without fine levels need a diagonal prior and likelihood")
        m, evidence_mean = _weighted_mean(z, weights, since, prior.mean)
        latents, weights, visible, since = kept(z, weights, visible, since, m)
        unseen = cls(  # at an infinite λ, where the evidence counts nothing: the prior itself
            mean=prior.mean,
            covariance=prior.covariance,
            m=m,
            lam_ratio=torch.tensor(math.inf, dtype=torch.float64),
            evidence_mean=evidence_mean,
            latents=latents,
            likelihood=likelihood,
            prior=prior,
            weights=weights,
            visible=visible,
            since=since,
            metadata=dict(metadata or {}),
        )
        return unseen.with_lam(lam_ratio, lam=lam)

    @property
    def lam(self) -> Tensor:
        """λ = r · m: () float64 or (D,)."""
        return self.lam_ratio * self.m

    def with_lam(self, lam_ratio: float | Tensor | None = None, *, lam: float | Tensor | None = None) -> "Posterior":
        """The same evidence and prior under another λ: what a slider moves. It takes λ as `condition` does.

        Example:
            >>> posterior = Posterior.condition(torch.ones(3, 2), lam_ratio=0.5)
            >>> posterior.with_lam(lam=9.0).mean
            tensor([0.2500, 0.2500])
        """
        ratio = _ratio(lam_ratio, lam, self.m, self.evidence_mean)
        gain, covariance = self._update(ratio)
        mean = self.prior.mean + gain(self.evidence_mean - self.prior.mean)
        return replace(self, mean=mean, covariance=covariance, lam_ratio=ratio)

    @property
    def single(self) -> Tensor:
        """`latents`, for what needs them. Raises ValueError where there are moments only."""
        if not len(self.latents):
            raise ValueError(
                "this set has moments only, and this needs its single images. Only the method 'posterior' draws from it"
            )
        return self.latents

    def moments(self) -> "Posterior":
        """Without single images: μp, Σp, m, ζ̄, λ and the prior are all that the paper's rule needs (eq. 3-8).

        Only the method "posterior" draws from it. Whoever has all images but one can still work out the last.

        Raises ValueError where the mean is one image: there is one alone, or one weighs most, at some level.
        """
        if not len(self.latents):
            return self
        since = torch.zeros(len(self.weights)) if self.since is None else self.since
        some = (self.weights[since <= start] for start in since.unique())
        if any(weights.sum() ** 2 < _SINGLE * weights.square().sum() for weights in some):
            raise ValueError("the mean of one image is that image: moments need two images or more, of like weights")
        return replace(self, latents=self.latents[:0], visible=None)

    @property
    def seen(self) -> Tensor:
        """m_d / m, the share of the evidence that has each number of the latent: () of 1, or (D,). See `condition`."""
        if self.since is None:
            return torch.tensor(1.0, dtype=torch.float64, device=self.evidence_mean.device)
        shares = torch.zeros(len(self.evidence_mean) + 1, dtype=torch.float64)
        shares.index_add_(0, self.since, self.weights / self.weights.sum())
        return shares[:-1].cumsum(0).clamp(0, 1).to(self.evidence_mean.device)

    def _update(self, ratio: Tensor) -> tuple[Callable[[Tensor], Tensor], Covariance]:
        """Eq. 3-4 at λ/m: see `_update`."""
        if self.since is not None:
            ratio = torch.where(self.seen > 0, ratio / self.seen, math.inf)
        return _update(self.prior, ratio, self.likelihood)

    def predictive(self) -> Gaussian:
        """The posterior predictive of one more latent: N(μp, Σp + Σ), Σ = λ S of one image (eq. 9-11).

        Raises ValueError at an infinite λ, where it is flat.
        """
        if self.lam_ratio.isinf().any():
            raise ValueError("at an infinite λ the posterior predictive is flat; take a finite λ")
        return Gaussian(self.mean, self.covariance + self.likelihood.scaled(self.lam))

    def draw(
        self,
        how: Method,
        levels: Sequence[HasSlice | slice] = (),
        looks: Looks | None = None,
        along: Sequence[float] = (),
    ) -> Sampler:
        """What samples are drawn from by a method, at the λ/m of the method.

        - "posterior" is this posterior itself, with that λ.
        - "local", the default, draws new members of the set: N(μp(w), 0.6² Σp), with weights w that differ from place
          to place (see `Local`).
        - "bootstrap" is N(μp(w), Σp), with Dirichlet weights w of each draw's own (see `BayesianBootstrap`).

        Args:
            how: a method and its numbers.
            levels: `prior.levels` or slices, needed where λ/m is one number a level; without them all is one level.
            looks: `prior.looks(posterior.latents)`: with them the last two know mirror images, seams and a guard,
                and "local" faces of the model.
            along: how far all draws move along the set's own directions, in standard deviations (see `directions`); it
                needs looks.

        Raises ValueError if the levels do not fit, or the images have fewer directions.

        Example:
            >>> posterior = Posterior.condition(torch.tensor([[1.0, 2.0], [3.0, 2.0], [2.0, 5.0]]), lam_ratio=0.5)
            >>> posterior.draw(Method(method="bootstrap", images_per_sample=1, lam_ratio=0)).sample(2)
            tensor([[3., 2.],
                    [3., 2.]])
        """
        slices = level_slices(levels, self.dim)
        how = (how.replace(method="local") if how.method == "auto" else how).filled()
        ratio = how.lam_ratio
        assert ratio is not None  # it is filled
        posterior = self.with_lam(per_level(ratio, slices) if isinstance(ratio, tuple) else ratio)
        # μp is linear in the evidence's mean, and so in the weights.
        gain = self._update(posterior.lam_ratio)[0]
        if any(along):
            if looks is None or len(along) >= 2 * len(self.latents):
                raise ValueError(f"{len(self.latents)} images do not have {len(along)} directions; give more images")
            still, found = self.draw(how, levels, looks), self.directions(looks, levels)[: len(along)]
            return replace(still, mean=still.mean + gain(torch.tensor(along).to(found) @ found))  # type: ignore[type-var]
        if how.method == "posterior":
            return posterior
        guard = looks and looks.of(self.counting).guard.grown(posterior.lam_ratio.max().item())
        mean = self.evidence_mean
        if how.images_per_sample is not None:
            shrinkage = ShrinkageCovariance.of(self.single, self.weights)
            return BayesianBootstrap(
                mean=posterior.mean,
                covariance=posterior.covariance,
                guard=guard,
                directions=gain(shrinkage.deviations if self.since is None else self._had(self.latents, mean)),
                shares=shrinkage.weights,
                count=shrinkage.count,
                images_per_sample=how.images_per_sample,
            )
        assert how.likeness is not None  # it is filled
        images = self.single if looks is None else torch.cat([self.single, looks.mirrored.to(self.latents)])
        shares = self.weights.double().cpu() / self.weights.sum().item()
        mean, shapes = self._mean(images, shares), level_shapes(levels, self.dim)
        fine = [part for part, (_, side, _) in zip(slices, shapes, strict=True) if side <= _FINEST] or slices
        fine, have = fine[0], torch.ones(len(self.latents), dtype=torch.bool)
        if self.since is not None:
            fine = next((part for part in slices if part.start >= max(fine.start, self.since.min())), slices[-1])
            have = self.since <= max(fine.start, self.since.min())
        flat = flatness(self.latents[have.to(self.latents.device)][:, fine])
        directions, helped, own = self._had(images, mean), 0.0, 0
        pictures = None if looks is None else looks.small(2 * GRID)
        if pictures is not None and looks and looks.own and len(self.latents) < MANY and how.likeness < 1:
            faces = looks.own()
            small = shrunk(faces.pictures, 2 * GRID).to(pictures)
            if helped := help_of(small, pictures):
                own, guard = len(faces.latents), guard and guard.with_faces(faces.pictures)
                directions = torch.cat([directions, faces.latents.to(mean) - mean])
                pictures = torch.cat([pictures, small])
        return Local(
            mean=self.prior.mean + gain(mean - self.prior.mean),
            covariance=posterior.covariance.scaled(PRIOR_TEMPERATURE**2),
            guard=guard,
            directions=gain(directions),
            shares=shares,
            shapes=shapes,
            numbers=LocalNumbers.of(how.likeness, flat, helped),
            pictures=pictures,
            own=own,
            visible=self.visible,
            since=self.since,
        )

    def directions(self, looks: Looks, levels: Sequence[HasSlice | slice] = ()) -> Tensor:
        """(2p, D) eigenvectors of the set's covariance, each as long as one standard deviation, the largest first.

        The set is the p images and their mirror images, of weights w. Their latents are nearly at right angles, so that
        all directions of latents are about as large; seen as small pictures, a few make up most of what differs. So
        with the eigenvectors u of √w (x - x̄) (x - x̄)ᵀ √w, of pictures x, direction k is Σ u_ki √w_i (ζ_i - ζ̄), at the
        coarse levels: fine ones would add noise. Its sign makes the image that has most of it a positive one.
        """
        z = torch.cat([self.latents, looks.mirrored.to(self.latents)])
        weights = self.weights.repeat(2) / (2 * self.weights.sum())
        seen = looks.small(GRID).flatten(1).double().cpu()
        seen = weights.sqrt()[:, None] * (seen - weights @ seen)
        u = torch.linalg.eigh(seen @ seen.T).eigenvectors.T.flip(0)
        most = u[:, : len(self.latents)].abs().argmax(1, keepdim=True)
        u = (u * u.gather(1, most).sign() * weights.sqrt()).to(z)
        found = u @ (z - weights.to(z) @ z)
        slices, shapes = level_slices(levels, self.dim), level_shapes(levels, self.dim)
        for part, (_, height, _) in zip(slices, shapes, strict=True):
            if height > COARSE:
                found[:, part] = 0
        return found

    def _mean(self, images: Tensor, shares: Tensor) -> Tensor:
        """The mean of images, or of images and their mirror images, each number of those that have it."""
        copies = len(images) // len(self.latents)
        each = shares.to(images).repeat(copies)
        if self.since is None:
            return (each @ images) / each.sum()
        mean, since = self.prior.mean.clone(), self.since.to(images.device).repeat(copies)
        for start, end in pairwise(sorted({*self.since.tolist(), self.dim})):
            has = since <= start
            mean[start:end] = (each[has] @ images[has, start:end]) / each[has].sum()
        return mean

    def _had(self, images: Tensor, mean: Tensor) -> Tensor:
        """Deviations of images, or of images and their mirror images, from a mean: 0 at the numbers that one lacks."""
        rows = images - mean
        if self.since is not None:
            for row, start in zip(rows, self.since.repeat(len(rows) // len(self.since)).tolist(), strict=True):
                row[:start] = 0
        return rows

    @property
    def counting(self) -> Tensor:
        """(p,) bool: images of a tenth of the largest weight or more. Others, such as noise, say nothing of the set."""
        return (self.weights >= 0.1 * self.weights.max()).to(self.latents.device)

    def save(self, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write it as one safetensors file, with its λ, evidence, prior and metadata; `metadata` adds to the latter.

        The file is the images, unless it is of `moments`: share it with whom you would show them.
        Other programs can use its tensors "mean", "covariance.diagonal" and "covariance.factor" as they are.
        """
        tensors = {name: getattr(self, name) for name in ("mean", "evidence_mean", "lam_ratio")}
        covariances = {"covariance": self.covariance, "likelihood": self.likelihood}
        if len(self.latents):
            tensors["latents"] = self.latents
        if not (self.weights == 1).all():
            tensors["weights"] = self.weights
        if self.visible is not None:
            tensors["visible"] = self.visible.float()
        if self.since is not None:
            tensors["since"] = self.since.double()
        prior = self.prior.covariance
        if prior.factor is not None or prior.diagonal.ndim or prior.diagonal != 1 or self.prior.mean.any():
            tensors["prior.mean"], covariances["prior"] = self.prior.mean, prior
        tensors |= {f"{name}.diagonal": one.diagonal for name, one in covariances.items()}
        tensors |= {f"{name}.factor": one.factor for name, one in covariances.items() if one.factor is not None}
        header = PosteriorHeader(m=self.m, metadata={**self.metadata, **(metadata or {})})
        write_tensors(Path(path), "posterior", tensors, header)

    @classmethod
    def load(cls, path: str | Path) -> "Posterior":
        """Read a saved posterior, on the CPU. The file is not trusted.

        Raises ValueError with what is wrong with it, FileNotFoundError if there is none.
        """
        tensors, header = read_posterior(Path(path))
        try:
            mean = tensors["evidence_mean"]
            likelihood, prior = (
                Covariance(tensors.get(f"{name}.diagonal", 1.0), tensors.get(f"{name}.factor"))
                for name in ("likelihood", "prior")
            )
            moments = mean.expand(len(tensors.get("weights", tensors.get("since", [1]))), -1)
            posterior = cls.condition(
                tensors.get("latents", moments).to(mean.dtype),
                math.inf,
                likelihood=likelihood,
                weights=tensors.get("weights"),
                visible=tensors["visible"].clamp(0, 1) if "visible" in tensors else None,
                since=tensors["since"].clamp(0, len(mean)) if "since" in tensors else None,
                prior=Gaussian(tensors.get("prior.mean", torch.zeros_like(mean)), prior),
                metadata=header.metadata,
            )
            latents = posterior.latents if "latents" in tensors else posterior.latents[:0]
            # Of more images than are kept, their mean and number are the file's. μp and Σp follow from it.
            posterior = replace(posterior, m=header.m, evidence_mean=mean, latents=latents)
            return posterior.with_lam(tensors["lam_ratio"])
        except (ValueError, torch.linalg.LinAlgError) as error:
            raise ValueError(f"{path}: {error}") from error


def _checked(weights: Tensor | Sequence[float] | None, images: int) -> Tensor:
    """Weights of so many images as a tensor; each counts once where none are given."""
    if weights is None:
        return torch.ones(images, dtype=torch.float64)
    weights = torch.as_tensor(weights, dtype=torch.float64).cpu()
    if weights.shape != (images,):
        raise ValueError(f"{images} images need as many weights, not {tuple(weights.shape)}")
    if not torch.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError("weights must be finite, at least 0, and not all 0")
    return weights


def kept(
    z: Tensor, weights: Tensor, visible: Tensor | None, since: Tensor | None, m: float
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """At most MOST_KEPT images of some weight, evenly spaced; their weights, of sum m, masks and first numbers."""
    chosen = (weights > 0).nonzero().flatten()  # an image of no weight may be broken
    if len(chosen) > MOST_KEPT:
        chosen = chosen[torch.linspace(0, len(chosen) - 1, MOST_KEPT).round().long()]
        weights = weights * (m / weights[chosen].sum())
    visible = None if visible is None else visible[chosen.to(visible.device)]
    return z[chosen.to(z.device)], weights[chosen], visible, None if since is None else since[chosen]


def _weighted_mean(z: Tensor, weights: Tensor, since: Tensor | None, otherwise: Tensor) -> tuple[float, Tensor]:
    """m, and ζ̄ in z's precision; `otherwise` at the numbers that no image has."""
    rows = weights.nonzero().flatten().tolist()
    if bad := [i for i in rows if not torch.isfinite(z[i]).all()]:
        raise ValueError(f"the evidence is not finite in rows {bad}; leave those images out")
    total = torch.zeros(z.shape[1], dtype=torch.float64, device=z.device)
    m, count = weights.sum().item(), torch.zeros_like(total)
    for i in rows:  # row by row: a float64 copy of all evidence at once could take half a gigabyte
        start = 0 if since is None else int(since[i])
        total[start:] += weights[i].item() * z[i, start:].double()
        count[start:] += weights[i].item()
    if since is None:
        return m, (total / m).to(z.dtype)
    return m, torch.where(count > 0, total / count, otherwise.double()).to(z.dtype)


def _ratio(lam_ratio: float | Tensor | None, lam: float | Tensor | None, m: float, like: Tensor) -> Tensor:
    """r = λ/m as a tensor: () float64, or (D,) in the precision of `like` and on its device."""
    if (lam_ratio is None) == (lam is None):
        raise ValueError("give either lam or lam_ratio (= lam / m), not both and not neither")
    name, value = ("lam", lam) if lam_ratio is None else ("lam_ratio", lam_ratio)
    value = torch.as_tensor(value, dtype=torch.float64, device=like.device)
    if value.ndim and value.shape != like.shape:
        raise ValueError(f"{name} is one number or ({len(like)},), not {tuple(value.shape)}")
    if value.isnan().any() or (value < 0).any():
        raise ValueError(f"{name} must be at least 0")
    ratio = (value / m if lam_ratio is None else value).abs()  # -0.0 is 0
    return ratio.to(like.dtype) if ratio.ndim else ratio


def _update(prior: Gaussian, ratio: Tensor, likelihood: Covariance) -> tuple[Callable[[Tensor], Tensor], Covariance]:
    """Eq. 3-4 without an inverse of Σ0 or Σ, finite for every r in [0, ∞]: the map ζ̄ - μ0 -> μp - μ0, and Σp.

    With Σ0 = diag(d0) + F0 F0ᵀ, Σ/m = diag(r d) + (√r F)(√r F)ᵀ, e = 1 / (r d + d0), write z = F0 u + noise and
    ζ̄ = z + √r F v + noise. Given the k0 + k numbers (u, v) all is diagonal. Their posterior precision is

        M = I + Vᵀ V,   V = [√e F0, -√(r e) F],

    and with P = [r d e F0, √e d0 √(r e) F] and b = ζ̄ - μ0,

        Σp = diag(r d d0 e) + P M⁻¹ Pᵀ,   μp = μ0 + d0 e b + P M⁻¹ Vᵀ √e b.

    All terms of Σp are positive, so that nothing cancels. The map takes (D,), or (n, D) row by row.
    """
    r, d0, d = ratio.double(), prior.covariance.diagonal.double(), likelihood.diagonal.double()
    scale = torch.where(r.isinf(), math.inf, r * d)
    # The share of the evidence, d0 e, and of the prior, r d e. A dimension that the prior knows exactly stays there.
    to_evidence = torch.where(d0 == 0, 0, 1 / (1 + scale / d0))
    to_prior = torch.where(d0 == 0, 1, 1 / (1 + d0 / scale))
    diagonal = d0 * to_prior
    dtype = prior.mean.dtype
    diagonal = diagonal.to(dtype) if diagonal.ndim else diagonal
    if prior.covariance.factor is None and likelihood.factor is None:
        share = to_evidence.to(dtype)  # without a copy of all images in float64, since sliders wait for this
        return lambda shift: shift * share, Covariance(diagonal)

    e_root = torch.where(scale + d0 > 0, (scale + d0).rsqrt(), 0)
    blocks = []
    if prior.covariance.factor is not None:
        blocks.append((prior.covariance.factor, to_prior, e_root))
    if likelihood.factor is not None:
        # √(r e) = 1 / √(d + d0 / r), which has a limit at both ends. Where d = 0, F is 0 as well.
        re_root = torch.where((d > 0) & (r + d0 > 0), (d + d0 / r).rsqrt(), 0)
        blocks.append((likelihood.factor, d0 * e_root * re_root, -re_root))
    # The scales are float64 columns, and so are the products.
    p = torch.cat([factor * scale.unsqueeze(-1) for factor, scale, _ in blocks], 1)
    v = torch.cat([factor * scale.unsqueeze(-1) for factor, _, scale in blocks], 1)
    cholesky = torch.linalg.cholesky(torch.eye(v.shape[1], dtype=v.dtype, device=v.device) + v.T @ v)

    def gain(shift: Tensor) -> Tensor:
        rows = shift.double().reshape(-1, len(prior.mean))
        inner = torch.cholesky_solve(((rows * e_root) @ v).T, cholesky)
        return (to_evidence * rows + (p @ inner).T).reshape(shift.shape).to(dtype)

    factor = torch.linalg.solve_triangular(cholesky, p.T, upper=False).T.to(dtype)
    # At the ends, columns vanish, and leave exactly the prior or a point. A diagonal may underflow before its factor.
    factor = torch.where((diagonal > 0).unsqueeze(-1), factor, 0)
    return gain, Covariance(diagonal, factor[:, factor.ne(0).any(0)])
