"""The one reader of other projects' Glows: a table of `layouts.py` and a file's tensors become the native flow.

Whatever is linear is folded into the weights, once, in float64.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from ..flows.base import reason
from ..flows.glow import Glow, GlowConfig, LevelConfig
from ..flows.layers import CouplingConfig, factors_of
from ..flows.pixels import PixelConvention
from .layouts import Conv, Layout, Norm
from .memory import require_memory
from .native import require_invertible
from .tensors import CheckpointError, Tensors

# A matrix becomes three factors, and some maps are made where a file has none. Beyond that, shapes and settings alone
# must not make a large flow.
_MOST_FOLD, _SPARE_NUMBERS = 4, 1 << 22


def fold(layout: Layout, tensors: Tensors, settings: Mapping[str, Any]) -> tuple[Glow, PixelConvention]:
    """Read a file's tensors by a layout's table: the flow, frozen, and how bytes become its x.

    `settings` has a value for each of the layout's settings. Raises CheckpointError if a tensor is missing, unknown,
    not finite or of another shape; if the flow cannot be inverted, or needs more memory than there is.
    """
    flow = _Fold(layout, tensors, settings).flow()
    return flow, replace(layout.pixels, bits=settings.get("bits", layout.pixels.bits))


class _Fold:
    """One file being folded.

    Attributes:
        steps: of each level, fine to coarse, what the names of each step begin with.
        numbers: of each level, the number in the names of its split.
        config: of the native flow.
    """

    def __init__(self, layout: Layout, tensors: Tensors, settings: Mapping[str, Any]) -> None:
        self.layout, self.tensors, self.settings = layout, tensors, settings
        self.steps, self.numbers = self._plan()
        self.config = self._config()
        with torch.device("meta"):
            self._flow = Glow(self.config)
        needed = sum(t.numel() for t in self._flow.state_dict().values())
        if needed > _SPARE_NUMBERS + _MOST_FOLD * tensors.declared:
            raise self._wrong(f"its settings make a flow of {needed:,} numbers, but the file has {tensors.declared:,}")
        require_memory(self._flow, tensors.where)
        self._state: dict[str, Tensor] = {}

    def _wrong(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.tensors.where}: {what}")

    def flow(self) -> Glow:
        """Fold every layer. See `fold`."""
        last = len(self.steps) - 1
        for i, steps in enumerate(self.steps):
            for k, prefix in enumerate(steps):
                self._step(f"levels.{i}.steps.{k}.", prefix, i)
            if i < last and self.config.split_prior:
                self._split(i)
        self._top(last)
        if self.layout.ignored is not None:
            self.tensors.refuse_unknown(self.layout.ignored)
        self._flow.load_state_dict(self._state, assign=True)
        require_invertible(self._flow, self.tensors.where)
        return self._flow.requires_grad_(False).eval()

    # The shape of the flow.

    def _plan(self) -> tuple[list[list[str]], list[int]]:
        """`steps` and `numbers`, by the names of the actnorms."""
        layout, found = self.layout, set()
        pattern = re.escape(layout.step + layout.actnorm.shift) + "$"
        for number in ("level", "step"):
            pattern = pattern.replace(rf"\{{{number}\}}", rf"(?P<{number}>\d{{1,6}})")
        for name in self.tensors.state:
            if match := re.match(pattern, name):
                found.add((int(match.groupdict().get("level", 0)), int(match["step"])))
        if not found:
            raise self._wrong(f"no tensor is called like {layout.step}{layout.actnorm.shift}")
        if "{level}" not in layout.step:
            levels: list[list[int]] = []
            for n in sorted(step for _, step in found):
                before = levels[-1][-1] if levels else -2
                if n == before + 3:  # a split and a squeeze, or before the first level a squeeze alone
                    levels.append([n])
                elif n == before + 1:
                    levels[-1].append(n)
                else:
                    raise self._wrong("its layers are not squeeze, steps and split in turn")
            return [[layout.step.format(step=n) for n in level] for level in levels], [x[-1] + 1 for x in levels]
        each = Counter(level for level, _ in found)
        counts = [each[i] for i in range(len(each))]
        if found != {(i, k) for i, count in enumerate(counts) for k in range(count)}:
            raise self._wrong("its levels and steps are not numbered in turn")
        plan = [[layout.step.format(level=i, step=k) for k in range(count)] for i, count in enumerate(counts)]
        return plan, list(range(len(counts)))

    def _config(self) -> GlowConfig:
        layout, tensors, levels, kinds = self.layout, self.tensors, [], set()
        channels = [math.prod(tensors.shape(steps[0] + layout.actnorm.shift)) for steps in self.steps]
        for c, steps in zip(channels, self.steps, strict=True):
            first, _, last = layout.net
            width, out = (self._shape(steps[0] + conv.prefix + conv.weight)[0] for conv in (first, last))
            kinds.add({c: "affine", c // 2: "additive"}.get(out, f"of {c} channels and {out} numbers"))
            levels.append(LevelConfig(len(steps), width))
        if len(kinds) != 1 or not kinds <= {"affine", "additive"}:
            found = " and ".join(sorted(kinds))
            raise self._wrong(f"its couplings must all be affine, or all additive. They are {found}")
        size: int = self.settings.get("image_size", 0)
        if layout.size_from:
            _, _, size, width = tensors.shape(layout.size_from, -1, -1, -1, -1)
            tensors.shape(layout.size_from, -1, 2 * channels[-1], size, size)
            size <<= len(levels)
        try:
            coupling = CouplingConfig(kind=kinds.pop(), scale="sigmoid")
            sizes = {"image_size": size, "levels": tuple(levels), "channels": channels[0] // 4}
            config = GlowConfig(**sizes, coupling=coupling, **layout.options)
            return layout.configure(config, self.settings) if layout.configure else config
        except ValidationError as error:
            raise self._wrong(reason(error)) from error

    def _shape(self, name: str) -> tuple[int, ...]:
        """A convolution's (out, in, height, width)."""
        shape = self.tensors.shape(name, -1, -1, -1, -1)
        return shape if self.layout.kernels == "OIHW" else (shape[3], shape[2], shape[0], shape[1])

    # Tensors.

    def _put(self, name: str, tensor: Tensor) -> None:
        tensor = tensor.to(torch.float32, copy=True).contiguous()  # a tensor of its own, whatever it was a view of
        if not tensor.sum(dtype=torch.float64).isfinite():
            raise self._wrong(f"{name} is too large for float32 when it is folded: it overflows")
        self._state[name] = tensor

    def _vector(self, name: str, count: int) -> Tensor:
        """`count` numbers, whatever their axes."""
        if math.prod(shape := self.tensors.shape(name)) != count:
            raise self._wrong(f"{name} has shape {shape}, expected {count} numbers")
        return self.tensors.take(name).flatten()

    def _norm(self, prefix: str, norm: Norm, channels: int) -> tuple[Tensor, Tensor, Tensor]:
        """(shift, log_scale, signs) of `(x + shift) * signs * exp(log_scale)`, (C,) each."""
        trained = prefix + norm.trained
        if norm.trained and trained in self.tensors and not self._vector(trained, 1).all():
            raise self._wrong("an actnorm was never initialised: this model has not been trained")
        shift = self._vector(prefix + norm.shift, channels)
        scale = self._vector(prefix + norm.scale, channels)
        signs = scale.sign() if norm.linear else torch.ones_like(scale)
        if (signs == 0).any():
            raise self._wrong(f"{prefix}{norm.scale} has a scale of zero: it cannot be inverted")
        log_scale = norm.factor * (scale.abs().log() if norm.linear else scale)
        return shift, log_scale, signs

    def _conv(self, prefix: str, conv: Conv, inputs: int, outputs: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Weight (outputs, inputs, size, size) with the native edge channel if there is one, bias, log of the gain."""
        prefix, stored = prefix + conv.prefix, inputs + (conv.border == "channel" and inputs >= 0)
        if self.layout.kernels == "OIHW":
            weight = self.tensors.take(prefix + conv.weight, outputs, stored, size, size)
        else:
            weight = self.tensors.take(prefix + conv.weight, size, size, stored, outputs).permute(3, 2, 0, 1)
        if self.config.edge and size == 3 and conv.border != "channel":
            # Ones around every channel are an edge whose weight is the sum over the channels. Zeros are no edge at all.
            edge = weight.sum(1, keepdim=True) if conv.border == "ones" else torch.zeros_like(weight[:, :1])
            weight = torch.cat([weight, edge], 1)
        zeros = torch.zeros(outputs, dtype=torch.float64)
        bias = self._vector(prefix + conv.bias, outputs) if conv.bias else zeros
        if conv.norm is not None:
            shift, log_scale, signs = self._norm(prefix, conv.norm, outputs)
            scale = signs * log_scale.exp()
            weight, bias = weight * scale[:, None, None, None], (bias + shift) * scale
        return weight, bias, self._vector(prefix + conv.gain, outputs) if conv.gain else zeros

    # Layers.

    def _step(self, name: str, prefix: str, level: int) -> None:
        channels, width = self.config.level_shapes[level][0], self.config.levels[level].width
        half, affine = channels // 2, self.config.coupling.kind == "affine"
        shift, log_scale, signs = self._norm(prefix, self.layout.actnorm, channels)
        self._put(name + "actnorm.bias", shift)
        self._put(name + "actnorm.log_scale", log_scale)
        factors = self._rotation(prefix, channels)
        factors["U"], factors["sign"] = factors["U"] * signs, factors["sign"] * signs  # a flipped channel is a column
        for key, tensor in factors.items():
            self._put(f"{name}conv1x1.{key}", tensor)
        out = channels if affine else half
        sizes = ((half, width, 3), (width, width, 1), (width, out, 3))
        convs = [self._conv(prefix, conv, *size) for conv, size in zip(self.layout.net, sizes, strict=True)]
        weight, bias, gain = convs[-1]
        if affine:
            order = self._halves(out).roll(half if self.layout.scale_first else 0)
            weight, bias, gain = weight[order], bias[order], gain[order]
        convs[-1] = weight, bias, gain
        for key, (weight, bias, _) in zip(("conv_in", "conv_mid", "conv_out"), convs, strict=True):
            self._put(f"{name}coupling.net.{key}.weight", weight)
            self._put(f"{name}coupling.net.{key}.bias", bias)
        self._put(name + "coupling.net.log_gain", gain)

    def _halves(self, count: int) -> Tensor:
        """The order that turns pairs which take turns into two halves."""
        index = torch.arange(count)
        return torch.cat([index[0::2], index[1::2]]) if self.layout.interleaved else index

    def _rotation(self, prefix: str, channels: int) -> dict[str, Tensor]:
        """The native factors of a 1×1 convolution, `W = P L (U + diag(sign * exp(log_diag)))`."""
        layout, tensors, eye = self.layout, self.tensors, torch.eye(channels, dtype=torch.float64)
        if prefix + layout.matrix in tensors:
            shape = tensors.shape(prefix + layout.matrix)
            weight = tensors.take(prefix + layout.matrix, channels, channels, *(1 for _ in shape[2:]))
            weight = weight.reshape(channels, channels)
        elif layout.factors and prefix + layout.factors[0] in tensors:
            P, L, U = (tensors.take(prefix + n, channels, channels) for n in layout.factors[:3])
            sign, log_diag = (self._vector(prefix + n, channels) for n in layout.factors[3:])
            permutes = P.sum(0).eq(1).all() and P.sum(1).eq(1).all() and P.square().sum().eq(channels)
            if not permutes or sign.abs().ne(1).any():
                raise self._wrong(f"the factors of the 1×1 convolution in {prefix} are not a permutation and signs")
            L, U = L.tril(-1), U.triu(1)  # what lies beyond is masked there
            if not layout.transposed:
                return {"P": P, "L": L, "U": U, "sign": sign, "log_diag": log_diag}
            weight = P @ (L + eye) @ (U + torch.diag(sign * log_diag.exp()))
        elif layout.shuffle and prefix + layout.shuffle in tensors:
            order = self._vector(prefix + layout.shuffle, channels).long()
            if order.sort().values.ne(torch.arange(channels)).any():
                raise self._wrong(f"{prefix}{layout.shuffle} is not an order of the channels")
            weight = eye[:, order] if layout.transposed else eye[order]
        else:
            raise self._wrong(
                f"{prefix} has no 1×1 convolution. A flow that shuffles or reverses its channels cannot be read: its "
                "file does not say in which order"
            )
        try:
            return factors_of(weight.T if layout.transposed else weight)
        except ValueError as error:
            raise self._wrong(f"{prefix}{error}") from error

    def _split(self, level: int) -> None:
        channels, split = self.config.level_shapes[level][0], self.layout.split
        assert split is not None
        weight, bias, gain = self._conv("", _numbered(split, self.numbers[level]), channels // 2, channels, 3)
        order, gain = self._halves(channels), (3 * gain).exp()
        weight, bias = (weight * gain[:, None, None, None])[order], (bias * gain)[order]
        self._put(f"levels.{level}.split.prior.weight", weight)
        self._put(f"levels.{level}.split.prior.bias", bias)

    def _top(self, level: int) -> None:
        channels, height, width = self.config.level_shapes[level]
        layout, number, count = self.layout, self.numbers[level], 2 * channels
        maps = torch.zeros(count, height, width, dtype=torch.float64)
        if layout.top is not None:
            top = _numbered(layout.top, number)
            if layout.top_required or top.prefix + top.bias in self.tensors:
                weight, bias, gain = self._conv("", top, -1, count, 3)
                maps = maps + bias[:, None, None]
                if self.config.edge:  # of an image of zeros, a convolution sees the edge alone
                    edge = F.pad(torch.zeros(1, 1, height, width, dtype=torch.float64), (1, 1, 1, 1), value=1.0)
                    maps = maps + F.conv2d(edge, weight[:, -1:])[0]
                maps = maps * (3 * gain).exp()[:, None, None]
        if layout.classes is not None and layout.classes.weight in self.tensors:
            maps = maps + self._class(count)[:, None, None]
        mean, log_std = maps.chunk(2)
        self._put("top.mean", mean)
        self._put("top.log_std", log_std)

    def _class(self, count: int) -> Tensor:
        """What the chosen class adds to the top prior, (count,)."""
        classes, tensors = self.layout.classes, self.tensors
        assert classes is not None
        weight = tensors.take(classes.weight, *((-1, count) if classes.rows else (count, -1)))
        weight = weight if classes.rows else weight.T
        label, known = self.settings["label"], len(weight)
        if label is None and known != 1:
            raise self._wrong(f"this flow draws one class at a time. Please give label, 0 to {known - 1}")
        if not 0 <= (label or 0) < known:
            raise self._wrong(f"label must be 0 to {known - 1}, not {label}")
        row = weight[label or 0] + self._vector(classes.bias, count)
        return row * (3 * self._vector(classes.gain, count)).exp()


def _numbered(conv: Conv, number: int) -> Conv:
    """The layer of one level, or of one place in a row."""
    return replace(conv, prefix=conv.prefix.format(level=number, step=number))
