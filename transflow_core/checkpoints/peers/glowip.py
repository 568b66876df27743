"""CACTuS-AI/GlowIP, also as hosted on the Hub as tristan-deep/glow-celeba.

Every latent's prior is N(0, I). The net reads the second half and the first half changes, scale before shift. The last
level has a single step, which the peer builds with `last_zeros` in the place of `coupling_bias`: with last_zeros its
scale is `sigmoid + 1`. Neither flag leaves a trace in the tensors.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from ...flows import CouplingConfig, Glow, LevelConfig
from ...pixels import PixelConvention
from ..base import CheckpointError, Tensors
from .folding import Assembly, Net, Rotation, after_norm, coupling_kind, glow_config, halves_from_interleaved
from .format import Format
from .options import BITS, IMAGE_SIZE, Setting

__all__ = ["GLOWIP"]


def _read(tensors: Tensors, settings: Mapping[str, Any]) -> tuple[Glow, PixelConvention]:
    where = tensors.where
    plan = _plan(tensors)
    levels, kinds, first_channels = [], set(), 0
    for steps in plan:
        step = f"glow_modules.{steps[0]}."
        channels = tensors.shape(step + "actnorm.b", 1, -1, 1, 1)[1]
        width = tensors.shape(step + "coupling.net.conv1.weight", -1, channels // 2, 3, 3)[0]
        kinds.add(coupling_kind(tensors.shape(step + "coupling.net.conv3.weight", -1, width, 3, 3)[0], channels, where))
        levels.append(LevelConfig(len(steps), width, squeeze="quarters" if settings["squeeze_contig"] else "blocks"))
        first_channels = first_channels or channels
    if len(kinds) != 1:
        raise CheckpointError(f"{where}: its couplings are of different kinds: {sorted(kinds)}")
    affine = kinds == {"affine"}
    if not 0 <= settings["coupling_bias"] < 1e3:
        raise CheckpointError(f"{where}: coupling_bias must be a number from 0, not {settings['coupling_bias']}")
    coupling = CouplingConfig(
        kind="affine" if affine else "additive",
        scale="sigmoid",
        plus=settings["coupling_bias"],
        order="scale-first",
        transforms="first",
    )
    last = replace(coupling, plus=float(settings["last_zeros"]))
    # The last level's squeeze is built without the flag, too.
    levels[-1] = replace(levels[-1], coupling=None if last == coupling else last, squeeze="blocks")
    config = glow_config(where, settings["image_size"], first_channels // 4, levels, coupling, split_prior=False)
    assembly = Assembly(config, tensors)
    for i, steps in enumerate(plan):
        for k, j in enumerate(steps):
            _read_step(tensors, assembly, (i, k, j), config.level_shapes[i][0], config.levels[i].width, affine)
    assembly.plain_top()
    tensors.refuse_unknown()
    return assembly.finish(), PixelConvention(bits=settings["bits"], offset=0.5)


def _plan(tensors: Tensors) -> list[list[int]]:
    """The indices of each level's steps. A split and a squeeze, which have no tensors, stand between two levels."""
    plan: list[list[int]] = [[]]
    expected = 1
    for j in tensors.numbers(r"glow_modules\.(\d+)\.actnorm\.b$"):
        if j == expected + 2 and plan[-1]:
            plan.append([])
        elif j != expected:
            raise CheckpointError(f"{tensors.where}: its modules are not squeeze, steps and split in turn")
        plan[-1].append(j)
        expected = j + 1
    return plan


def _read_step(
    tensors: Tensors, assembly: Assembly, where: tuple[int, int, int], channels: int, width: int, affine: bool
) -> None:
    i, k, j = where
    step, half = f"glow_modules.{j}.", channels // 2
    bias, log_scale = (tensors.take(f"{step}actnorm.{n}", 1, channels, 1, 1).flatten() for n in ("b", "logs"))
    matrix = tensors.take(step + "invconv.W", channels, channels, 1, 1)[:, :, 0, 0]
    net = step + "coupling.net."

    def normed(index: int, *shape: int) -> tuple[Tensor, Tensor]:
        shift, logs = (tensors.take(f"{net}actnorm{index}.{n}", 1, width, 1, 1).flatten() for n in ("b", "logs"))
        weight, conv_bias = (
            tensors.take(f"{net}conv{index}.weight", *shape),
            tensors.take(f"{net}conv{index}.bias", width),
        )
        return after_norm(weight, conv_bias, shift, logs)

    out = channels if affine else half
    folded = Net(
        conv_in=normed(1, width, half, 3, 3),
        conv_mid=normed(2, width, width, 1, 1),
        conv_out=(tensors.take(net + "conv3.weight", out, width, 3, 3), tensors.take(net + "conv3.bias", out)),
        log_gain=tensors.take(net + "logs", out, 1, 1).flatten(),
    )
    if affine:  # the scales are the even channels, the shifts the odd ones
        folded = folded.reordered(halves_from_interleaved(out, first=1))
    assembly.step(i, k, bias, log_scale, Rotation.from_matrix(matrix, tensors.where), folded)


GLOWIP = Format(
    "CACTuS-AI/GlowIP",
    (r"glow_modules\.1\.coupling\.net\.conv1\.weight$", r"glow_modules\.1\.invconv\.W$"),
    (
        IMAGE_SIZE,
        BITS,
        Setting(
            "last_zeros",
            "was the model built with last_zeros (its last scale is then sigmoid + 1)",
            bool,
            ("last_zeros",),
        ),
        Setting("coupling_bias", "what is added to the sigmoid scale", float, ("coupling_bias",), default=0.0),
        Setting("squeeze_contig", "was the model built with squeeze_contig", bool, ("squeeze_contig",), default=False),
    ),
    _read,
)
