"""Public priors that are known: where they are, under what words, and what they need. None of them ships with us."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["KNOWN_PRIORS", "KnownPrior", "known_prior"]


@dataclass(frozen=True)
class KnownPrior:
    """A public checkpoint.

    Attributes:
        name: what `load_prior` calls it, where it can be fetched.
        title: what it is.
        address: `hf://…` where it can be fetched by name; otherwise where its authors say it is.
        format: how it is stored; a format of `FORMATS`.
        image_size: side in pixels.
        licence: the words that its authors give, and for what.
        hardware: what it needs.
        size: bytes of the file, or None where nobody has measured it.
        sha256: its digest, or None where it is not known; where it is, a file that differs is refused.
        settings: what its tensors do not tell.
        note: what to know before use.
    """

    name: str
    title: str
    address: str
    format: str
    image_size: int
    licence: str
    hardware: str
    size: int | None = None
    sha256: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def fetchable(self) -> bool:
        """Can `load_prior(name)` fetch it?"""
        return self.address.startswith("hf://")

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self) | {"settings": dict(self.settings), "fetchable": self.fetchable}


KNOWN_PRIORS: tuple[KnownPrior, ...] = (
    KnownPrior(
        name="glow-celeba",
        title="CelebA 64×64: GlowIP's Glow, 4 levels, 18 steps (Stevens et al., 2023)",
        address="hf://tristan-deep/glow-celeba/training_checkpoints/*.pt",
        format="CACTuS-AI/GlowIP",
        image_size=64,
        licence="code: MIT (GlowIP); weights: none stated on their page; data: CelebA, non-commercial research",
        hardware="any laptop",
        settings={"image_size": 64, "bits": 5, "last_zeros": True},
        note="Fetched by name. Its config.yaml tells the same settings.",
    ),
    KnownPrior(
        name="openai-celebahq256",
        title="CelebA-HQ 256×256: OpenAI's Glow of the Glow and the Transflow Learning papers",
        address="glow-demo/large3/graph_unoptimized.pb on OpenAI's public file host (see openai/glow, demo/script.sh)",
        format="OpenAI Glow",
        image_size=256,
        licence="code: MIT; weights: no words of their own found; data: CelebA-HQ, non-commercial research",
        hardware="about 4 GiB of memory; some seconds an image on a CPU; tensorflow only to run the graph itself",
        note="Download graph_unoptimized.pb by hand; the optimized graph needs OpenAI's CUDA operations. "
        "z_manipulate.npy beside it holds 40 attribute directions (load_directions).",
    ),
    KnownPrior(
        name="chaiyujin-celeba64",
        title="CelebA 64×64: chaiyujin's Glow, 3 levels, 32 steps, width 512, 45,000 batches",
        address="the link in the README of chaiyujin/glow-pytorch (Dropbox)",
        format="chaiyujin/glow-pytorch",
        image_size=64,
        licence="code: MIT; weights: no words of their own found; data: CelebA, non-commercial research",
        hardware="about 2 GiB of memory",
        note="Download by hand. Affine coupling, no learned top prior.",
    ),
    KnownPrior(
        name="y0ast-cifar10",
        title="CIFAR-10 32×32: y0ast's Glow with affine coupling, 3.39 bits a dimension",
        address="glow.zip, the link in the README of y0ast/Glow-PyTorch",
        format="y0ast/Glow-PyTorch",
        image_size=32,
        licence="code: MIT; weights: no words of their own found; data: CIFAR-10",
        hardware="about 2 GiB of memory",
        note="Download and unzip by hand. Its authors say that affine coupling samples badly here.",
    ),
)


def known_prior(name: str) -> KnownPrior | None:
    """The known prior of this name, or None."""
    return next((prior for prior in KNOWN_PRIORS if prior.name == name), None)
