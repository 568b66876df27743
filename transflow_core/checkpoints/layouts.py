"""How five projects store a Glow: one table each, of names, order, signs and factors. `fold.py` reads them all.

The tests of all layouts run on the small models of `tests/checkpoints/projects.py`; a layout that is added needs one.

References:
    rosinality, https://github.com/rosinality/glow-pytorch
    chaiyujin, https://github.com/chaiyujin/glow-pytorch
    y0ast, https://github.com/y0ast/Glow-PyTorch
    GlowIP, https://github.com/CACTuS-AI/GlowIP
    OpenAI, https://github.com/openai/glow
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import Field

from ..flows.glow import GlowConfig
from ..flows.pixels import PixelConvention
from .settings import Labelled, Settings, Sized


@dataclass(frozen=True)
class Norm:
    """One shift and one scale for each channel: `(x + shift) * exp(factor * scale)`, by the names of the two tensors.

    `linear` says that the file holds the scale itself, of either sign, and not its logarithm. `trained` is the name of
    the flag that says that training has set both; "" where the file has none.
    """

    shift: str
    scale: str
    factor: float = 1.0
    linear: bool = False
    trained: str = ""


@dataclass(frozen=True)
class Conv:
    """A convolution: `(conv(x) + bias) * exp(3 * gain)`, or followed by a `Norm`; its names, "" where there is none.

    All of them begin with `prefix`, the norm's too. `border` is what a 3×3 convolution sees outside the image: "zeros",
    "ones", or a "channel" of its own that is 1 there and 0 inside, stored as the weight's last input channel.
    """

    prefix: str
    weight: str = "weight"
    bias: str = "bias"
    gain: str = ""
    norm: Norm | None = None
    border: str = "zeros"


@dataclass(frozen=True)
class Classes:
    """What a class adds to the top prior: `(weight[label] + bias) * exp(3 * gain)`, (2C,).

    `rows` says that the weight is (classes, 2C), and not (2C, classes).
    """

    weight: str
    bias: str
    gain: str
    rows: bool = False


_CENTRED = PixelConvention(offset=0.5)


@dataclass(frozen=True)
class Layout:
    """The table of one project.

    Args:
        name: whose it is, as people know it.
        recognised_by: tensors that every such file has.
        step: what the names of one step begin with. {level} and {step} are its numbers, from 0. Without {level}, all
            layers are numbered in one row: squeeze, steps and split of a level, then the next one's.
        actnorm: its names within a step.
        net: the coupling's net within a step: 3×3, ReLU, 1×1, ReLU, 3×3.
        matrix: name of the 1×1 convolution as a matrix, (C, C) or (C, C, 1, 1).
        factors: or its factors P, L, U (C, C), sign and log_diag (C,).
        shuffle: or the order in which it takes the channels, (C,).
        transposed: the matrix is stored transposed.
        kernels: the axes of a convolution's weight: "OIHW", or "HWIO" as TensorFlow has them.
        interleaved: shifts and scales, and means and log_stds of splits, take turns. Otherwise each has one half.
        scale_first: of a coupling's two parameters, the scale comes first.
        split: prior of a split, with {level} or {step} as above (a row's {step} is the split's own).
        top: prior of the coarsest level, evaluated on an image of zeros.
        top_required: False where the top prior is N(0, I) if the file has none.
        classes: what a class adds to the top prior.
        size_from: a tensor (any, any, S, S) of the coarsest level's size, which gives the image's.
        settings: what the file does not say.
        pixels: how bytes become x; a setting `bits` replaces its bits.
        options: fields of `GlowConfig`.
        configure: changes the configuration by the settings.
        ignored: patterns of tensors that say nothing; None where the file may hold anything else.
    """

    name: str
    recognised_by: tuple[str, ...]
    step: str
    actnorm: Norm
    net: tuple[Conv, Conv, Conv]
    matrix: str
    factors: tuple[str, ...] = ()
    shuffle: str = ""
    transposed: bool = False
    kernels: str = "OIHW"
    interleaved: bool = True
    scale_first: bool = False
    split: Conv | None = None
    top: Conv | None = None
    top_required: bool = False
    classes: Classes | None = None
    size_from: str = ""
    settings: type[Settings] = Labelled
    pixels: PixelConvention = _CENTRED
    options: Mapping[str, Any] = field(default_factory=dict)
    configure: Callable[[GlowConfig, Mapping[str, Any]], GlowConfig] | None = None
    ignored: tuple[str, ...] | None = ()


_ROSINALITY = Layout(
    name="rosinality/glow-pytorch",
    recognised_by=("blocks.0.flows.0.actnorm.loc", "blocks.0.prior.conv.weight"),
    step="blocks.{level}.flows.{step}.",
    actnorm=Norm("actnorm.loc", "actnorm.scale", linear=True, trained="actnorm.initialized"),
    net=(
        Conv("coupling.net.0."),
        Conv("coupling.net.2."),
        Conv("coupling.net.4.", "conv.weight", "conv.bias", "scale", border="ones"),
    ),
    # Whether it is factorised differs from level to level: the last block forgets its `--no_lu`.
    matrix="invconv.weight",
    factors=("invconv.w_p", "invconv.w_l", "invconv.w_u", "invconv.s_sign", "invconv.w_s"),
    interleaved=False,
    scale_first=True,
    split=Conv("blocks.{level}.prior.", "conv.weight", "conv.bias", "scale", border="ones"),
    top=Conv("blocks.{level}.prior.", "conv.weight", "conv.bias", "scale", border="ones"),
    top_required=True,
    settings=Sized,
    options={"edge": True},
    ignored=(r"\.initialized$", r"\.invconv\.(u_mask|l_mask|l_eye)$"),
)


class _GlowIPSettings(Sized):
    last_zeros: bool = Field(description="was the model built with last_zeros? Its last scale is then sigmoid + 1")
    coupling_bias: Literal[0] = Field(0, description="a model with another one is not read")
    squeeze_contig: Literal[False] = Field(False, description="a model built with it is not read")


def _glowip(config: GlowConfig, settings: Mapping[str, Any]) -> GlowConfig:
    """Its last level has one step, of which `last_zeros` moves the scale by 1."""
    coupling = replace(config.coupling, order="scale-first", transforms="first")
    *levels, last = config.levels
    if settings["last_zeros"]:
        last = replace(last, coupling=replace(coupling, plus=1.0))
    return replace(config, levels=(*levels, last), coupling=coupling)


_GLOWIP = Layout(
    name="CACTuS-AI/GlowIP",
    recognised_by=("glow_modules.1.coupling.net.conv1.weight", "glow_modules.1.invconv.W"),
    step="glow_modules.{step}.",
    actnorm=Norm("actnorm.b", "actnorm.logs"),
    net=(
        Conv("coupling.net.", "conv1.weight", "conv1.bias", norm=Norm("actnorm1.b", "actnorm1.logs")),
        Conv("coupling.net.", "conv2.weight", "conv2.bias", norm=Norm("actnorm2.b", "actnorm2.logs")),
        Conv("coupling.net.", "conv3.weight", "conv3.bias", "logs"),
    ),
    matrix="invconv.W",
    scale_first=True,
    settings=_GlowIPSettings,
    options={"split_prior": False},  # every latent is N(0, I)
    configure=_glowip,
)


def _port(name: str, net: str, conv: str, factors: tuple[str, str], top: str, pixels: PixelConvention) -> Layout:
    """chaiyujin's layout, which its descendants share but for some names."""

    def normed(layer: str) -> Conv:
        return Conv(layer, f"{conv}weight", "", norm=Norm("actnorm.bias", "actnorm.logs"))

    def last(layer: str) -> Conv:
        return Conv(layer, f"{conv}weight", f"{conv}bias", "logs")

    return Layout(
        name=name,
        recognised_by=(f"flow.layers.1.{net}.0.{conv}weight", f"flow.layers.1.{net}.4.logs", "prior_h"),
        step="flow.layers.{step}.",
        actnorm=Norm("actnorm.bias", "actnorm.logs"),
        net=(normed(f"{net}.0."), normed(f"{net}.2."), last(f"{net}.4.")),
        matrix="invconv.weight",
        factors=tuple(f"invconv.{factor}" for factor in ("p", *factors, "sign_s", "log_s")),
        split=last("flow.layers.{step}.conv."),
        top=last(top),
        classes=Classes("project_ycond.weight", "project_ycond.bias", "project_ycond.logs"),
        size_from="prior_h",  # all zeros; how many rows it has depends on the training batch
        pixels=pixels,
        ignored=(r"^prior_h$", r"^project_(class|ycond)\."),
    )


_CHAIYUJIN = _port(
    "chaiyujin/glow-pytorch",
    net="f",
    conv="",
    factors=("l", "u"),
    top="learn_top.",
    pixels=PixelConvention(offset=0.5 / 255, scale=256 / 255, noise="gaussian"),  # x is u / 255
)
_Y0AST = _port(
    "y0ast/Glow-PyTorch",
    net="block",
    conv="conv.",
    factors=("lower", "upper"),
    top="learn_top_fn.",
    pixels=_CENTRED,
)


_LOGS = Norm("actnorm_center/b", "actnorm_scale/logs", factor=3)


class _OpenAISettings(Sized, Labelled):
    pass


OPENAI = Layout(
    name="OpenAI Glow",
    recognised_by=("model/0/0/actnorm_center/b", "model/0/0/f1/l_1/W", "model/0/0/f1/l_last/logs"),
    step="model/{level}/{step}/",
    actnorm=_LOGS,
    net=(
        Conv("f1/l_1/", "W", "", norm=_LOGS, border="channel"),
        Conv("f1/l_2/", "W", "", norm=_LOGS),
        Conv("f1/l_last/", "W", "b", "logs", border="channel"),
    ),
    matrix="invconv/W",
    factors=("invconv/P", "invconv/L", "invconv/U", "invconv/sign_S", "invconv/log_S"),
    shuffle="shuffle/indices",
    transposed=True,  # theirs is z @ W
    kernels="HWIO",
    split=Conv("model/pool{level}/conv/", "W", "b", "logs", border="channel"),
    top=Conv("model/prior/p/", "W", "b", "logs", border="channel"),
    classes=Classes("model/prior/y_emb/W", "model/prior/y_emb/b", "model/prior/y_emb/logs", rows=True),
    settings=_OpenAISettings,
    options={"edge": True},
    ignored=None,  # training also saves the optimiser's slots and moving averages
)

LAYOUTS: tuple[Layout, ...] = (_ROSINALITY, _CHAIYUJIN, _Y0AST, _GLOWIP, OPENAI)
"""The layouts of other projects, in the order in which they are tried."""
