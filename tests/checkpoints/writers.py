"""Small random models in each project's layout, with that project's forward mathematics written out plainly.

These share no code with the reader: each follows the facts in the format's README, in float64 and one step at a time.
`encode` gives the whitened latents, fine to coarse, and the log-determinant of the whole map to them.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[Tensor, Tensor]


@dataclass
class Project:
    """A model of a project: what all have in common, where one has not.

    Args:
        kind: "affine" or "additive".
        lu: factorised 1×1 convolutions.
        learn_top: a learned top prior.
        steps: K of each level.
        extra: what this project alone can be built with.
    """

    kind: str = "affine"
    lu: bool = True
    learn_top: bool = True
    steps: tuple[int, ...] = (2, 2)
    width: int = 6
    size: int = 16
    channels: int = 3
    prefix: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict, init=False)

    format, file, bits = "", "model.pt", 8
    matrix, factors, reads_second = "", ("", "", "", "", ""), False

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.state: dict[str, Tensor] = {}
        self.last = len(self.steps) - 1
        for i, steps in enumerate(self.steps):
            c = self.shape(i)[0]
            for k in range(steps):
                self.build_step(self.at(i, k), i, c, c if self.kind == "affine" else c // 2)
            if i < self.last:
                self.build_split(i, c)
        self.build_top(c)

    # The file.

    def random(self, name: str, *shape: int, std: float = 0.1, mean: float = 0.0) -> None:
        self.state[name] = mean + std * torch.randn(*shape, generator=self.generator)

    def build_rotation(self, s: str, c: int, lu: bool) -> None:
        """What the projects mask away of their factors is filled with rubbish, which must not be read."""
        if not lu:
            self.state[s + self.matrix] = torch.linalg.qr(torch.randn(c, c, generator=self.generator))[0] * 1.1
            return
        lower, upper = 0.3 / math.sqrt(c) * torch.randn(2, c, c, generator=self.generator)  # well conditioned
        sign = torch.randn(c, generator=self.generator).sign()
        found = torch.eye(c)[torch.randperm(c, generator=self.generator)], lower, upper, sign, lower[0].clone()
        self.state |= {s + name: tensor for name, tensor in zip(self.factors, found, strict=True)}

    def build_norm(self, shift: str, logs: str, *shape: int) -> None:
        self.random(shift, *shape)
        self.random(logs, *shape, std=0.05)

    def save(self, folder: Path) -> Path:
        torch.save(self.wrapped({self.prefix + k: v for k, v in self.state.items()}), folder / self.file)
        return folder / self.file

    def wrapped(self, state: dict[str, Tensor]) -> Any:
        return state

    # The mathematics.

    def __getitem__(self, name: str) -> Tensor:
        return self.state[name].double()

    def shape(self, level: int) -> tuple[int, int]:
        """Channels and side inside a level."""
        return 4 * self.channels * 2**level, self.size >> (level + 1)

    def number(self, i: int, k: int) -> int:
        """Where a step stands in a row of squeeze, steps and split of each level; the split follows the last step."""
        return sum(self.steps[:i]) + 2 * i + 1 + k

    def squeeze(self, x: Tensor, level: int) -> Tensor:
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)

    def encode(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        x, latents = x.double(), []
        total = torch.zeros(len(x), dtype=torch.float64)
        for i, steps in enumerate(self.steps):
            x = self.squeeze(x, i)
            for k in range(steps):
                x, log_det = self.step(x, self.at(i, k), i)
                total = total + log_det
            if i < self.last:
                x, z = x.chunk(2, 1)
                mean, log_std = self.prior(x, i)
            else:
                z, (mean, log_std) = x, self.top(x)
            mean, log_std = mean.expand_as(z), log_std.expand_as(z)
            latents.append((z - mean) * torch.exp(-log_std))
            total = total - log_std.sum((1, 2, 3))
        return latents, total

    def step(self, x: Tensor, s: str, i: int) -> Pair:
        shift, scale = self.actnorm(s)
        x, weight = (x + shift) * scale, self.rotation(s)
        total = (scale.abs().log().sum() + torch.linalg.slogdet(weight)[1]) * x.shape[2] * x.shape[3]
        a, b = torch.einsum("dc,nchw->ndhw", weight, x).chunk(2, 1)
        if self.reads_second:
            a, log_s = self.change(a, self.net(b, s), i)
        else:
            b, log_s = self.change(b, self.net(a, s), i)
        return torch.cat([a, b], 1), total + log_s.sum((1, 2, 3))

    def rotation(self, s: str) -> Tensor:
        if s + self.matrix in self.state:
            return self[s + self.matrix].squeeze()
        p, lower, upper, sign, log_s = (self[s + name] for name in self.factors)
        mask = torch.tril(torch.ones_like(lower), -1)
        return p @ (lower * mask + torch.eye(len(p))) @ (upper * mask.T + torch.diag(sign * torch.exp(log_s)))

    def change(self, b: Tensor, h: Tensor, i: int) -> Pair:
        """The half that changes, and log s."""
        if self.kind == "additive":
            return b + h, torch.zeros_like(b)
        shift, raw = self.pairs(h)
        return (b + shift) * torch.sigmoid(raw + 2), torch.sigmoid(raw + 2).log()

    def pairs(self, h: Tensor) -> Pair:
        return h[:, 0::2], h[:, 1::2]


class Rosinality(Project):
    format, bits = "rosinality/glow-pytorch", 5
    matrix = "invconv.weight"
    factors = ("invconv.w_p", "invconv.w_l", "invconv.w_u", "invconv.s_sign", "invconv.w_s")

    def at(self, i: int, k: int) -> str:
        return f"blocks.{i}.flows.{k}."

    def build_step(self, s: str, i: int, c: int, out: int) -> None:
        self.options = {"image_size": self.size, "bits": 5}
        w, n = self.width, s + "coupling.net."
        self.random(s + "actnorm.loc", 1, c, 1, 1)
        self.random(s + "actnorm.scale", 1, c, 1, 1, mean=1.0)
        self.state[s + "actnorm.scale"][:, ::3] *= -1  # a scale may turn negative
        self.state[s + "actnorm.initialized"] = torch.tensor(1, dtype=torch.uint8)
        lu = self.lu or i == self.last  # the project's last block is always factorised
        self.build_rotation(s, c, lu)
        if lu:
            mask = torch.triu(torch.ones(c, c), 1)
            masks = {"u_mask": mask, "l_mask": mask.T, "l_eye": torch.eye(c)}
            self.state |= {f"{s}invconv.{name}": tensor for name, tensor in masks.items()}
        else:
            self.state[s + self.matrix] = self.state[s + self.matrix][:, :, None, None]
        for at, size, channels in ((0, 3, c // 2), (2, 1, w)):
            self.random(f"{n}{at}.weight", w, channels, size, size)
            self.random(f"{n}{at}.bias", w)
        self.build_zeros(n + "4.", w, out)

    def build_zeros(self, name: str, inner: int, outer: int) -> None:
        self.random(name + "conv.weight", outer, inner, 3, 3, std=0.05)
        self.random(name + "conv.bias", outer)
        self.random(name + "scale", 1, outer, 1, 1)

    def build_split(self, i: int, c: int) -> None:
        self.build_zeros(f"blocks.{i}.prior.", c // 2, c)

    def build_top(self, c: int) -> None:
        self.build_zeros(f"blocks.{self.last}.prior.", c, 2 * c)

    def zero_conv(self, x: Tensor, name: str) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), value=1.0)
        x = F.conv2d(padded, self[name + "conv.weight"], self[name + "conv.bias"])
        return x * torch.exp(3 * self[name + "scale"])

    def actnorm(self, s: str) -> Pair:
        return self[s + "actnorm.loc"], self[s + "actnorm.scale"]

    def net(self, a: Tensor, s: str) -> Tensor:
        n = s + "coupling.net."
        h = F.relu(F.conv2d(a, self[n + "0.weight"], self[n + "0.bias"], padding=1))
        return self.zero_conv(F.relu(F.conv2d(h, self[n + "2.weight"], self[n + "2.bias"])), n + "4.")

    def pairs(self, h: Tensor) -> Pair:
        raw, shift = h.chunk(2, 1)
        return shift, raw

    def prior(self, first: Tensor, i: int) -> tuple[Tensor, ...]:
        return self.zero_conv(first, f"blocks.{i}.prior.").chunk(2, 1)

    def top(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.prior(torch.zeros_like(x), self.last)


class Chaiyujin(Project):
    format, file = "chaiyujin/glow-pytorch", "save_5k0.pkg"
    matrix, factors = "invconv.weight", tuple(f"invconv.{name}" for name in ("p", "l", "u", "sign_s", "log_s"))
    block, conv, top_name = "f", "", "learn_top."

    def at(self, i: int, k: int) -> str:
        return f"flow.layers.{self.number(i, k)}."

    def build_step(self, s: str, i: int, c: int, out: int) -> None:
        self.build_norm(s + "actnorm.bias", s + "actnorm.logs", 1, c, 1, 1)
        self.build_rotation(s, c, self.lu)
        for at, size, channels in ((0, 3, c // 2), (2, 1, self.width)):
            n = f"{s}{self.block}.{at}."
            self.random(f"{n}{self.conv}weight", self.width, channels, size, size)
            self.build_norm(n + "actnorm.bias", n + "actnorm.logs", 1, self.width, 1, 1)
        self.build_zeros(f"{s}{self.block}.4.", self.width, out)

    def build_zeros(self, name: str, channels: int, out: int) -> None:
        self.random(f"{name}{self.conv}weight", out, channels, 3, 3)
        self.random(f"{name}{self.conv}bias", out)
        self.random(name + "logs", out, 1, 1)

    def build_split(self, i: int, c: int) -> None:
        self.build_zeros(self.at(i, self.steps[i]) + "conv.", c // 2, c)

    def build_top(self, c: int) -> None:
        side = self.shape(self.last)[1]
        self.state["prior_h"] = torch.zeros(self.extra.get("rows", 3), 2 * c, side, side)
        if self.learn_top:
            self.build_zeros(self.top_name, 2 * c, 2 * c)
        if classes := self.extra.get("classes"):
            self.options = {"label": 1}
            self.random("project_ycond.weight", 2 * c, classes)
            self.random("project_ycond.bias", 2 * c)
            self.random("project_ycond.logs", 2 * c)
            self.random("project_class.weight", classes, c)

    def wrapped(self, state: dict[str, Tensor]) -> Any:
        return {"global_step": 5000, "graph": state, "optim": {"state": {}, "param_groups": []}, "criterion": {}}

    def zero_conv(self, x: Tensor, name: str) -> Tensor:
        x = F.conv2d(x, self[f"{name}{self.conv}weight"], self[f"{name}{self.conv}bias"], padding=1)
        return x * torch.exp(3 * self[name + "logs"])

    def actnorm(self, s: str) -> Pair:
        return self[s + "actnorm.bias"], torch.exp(self[s + "actnorm.logs"])

    def net(self, a: Tensor, s: str) -> Tensor:
        for at, padding in ((0, 1), (2, 0)):
            n = f"{s}{self.block}.{at}."
            shift, scale = self.actnorm(n)
            a = F.relu((F.conv2d(a, self[f"{n}{self.conv}weight"], padding=padding) + shift) * scale)
        return self.zero_conv(a, f"{s}{self.block}.4.")

    def prior(self, first: Tensor, i: int) -> Pair:
        return self.pairs(self.zero_conv(first, self.at(i, self.steps[i]) + "conv."))

    def top(self, x: Tensor) -> tuple[Tensor, ...]:
        h = torch.zeros_like(torch.cat([x, x], 1))
        if self.learn_top:
            h = self.zero_conv(h, self.top_name)
        if self.extra.get("classes"):
            row = self["project_ycond.weight"][:, 1] + self["project_ycond.bias"]
            h = h + (row * torch.exp(3 * self["project_ycond.logs"]))[:, None, None]
        return h.chunk(2, 1)


class Y0ast(Chaiyujin):
    format, file = "y0ast/Glow-PyTorch", "glow_model_250.pth"
    factors = tuple(f"invconv.{name}" for name in ("p", "lower", "upper", "sign_s", "log_s"))
    block, conv, top_name = "block", "conv.", "learn_top_fn."

    def wrapped(self, state: dict[str, Tensor]) -> Any:
        return {"model": state, "optimizer": {"state": {}}} if self.extra.get("ignite") else state


class GlowIP(Project):
    format, file, bits = "CACTuS-AI/GlowIP", "glowmodel.pt", 5
    matrix, reads_second = "invconv.W", True

    def at(self, i: int, k: int) -> str:
        return f"glow_modules.{self.number(i, k)}."

    def build_step(self, s: str, i: int, c: int, out: int) -> None:
        self.flags = {"last_zeros": True, "coupling_bias": 0, "squeeze_contig": False} | self.extra
        self.build_norm(s + "actnorm.b", s + "actnorm.logs", 1, c, 1, 1)
        self.build_rotation(s, c, lu=False)
        self.state[s + self.matrix] = self.state[s + self.matrix][:, :, None, None]
        w, n = self.width, s + "coupling.net."
        for at, size, inner, outer in ((1, 3, c // 2, w), (2, 1, w, w), (3, 3, w, out)):
            self.random(f"{n}conv{at}.weight", outer, inner, size, size)
            self.random(f"{n}conv{at}.bias", outer)
        for at in (1, 2):
            self.build_norm(f"{n}actnorm{at}.b", f"{n}actnorm{at}.logs", 1, w, 1, 1)
        self.random(n + "logs", out, 1, 1)

    def build_split(self, i: int, c: int) -> None: ...

    def build_top(self, c: int) -> None: ...

    def save(self, folder: Path) -> Path:
        document = {"size": self.size, "K": 2, "L": len(self.steps), "n_bits_x": 5, **self.flags}
        (folder / "configs.json").write_text(json.dumps(document))
        return super().save(folder)

    def squeeze(self, x: Tensor, level: int) -> Tensor:
        if self.flags["squeeze_contig"] and level < self.last:
            n, c, h, w = x.shape
            return x.reshape(n, 4 * c, h // 2, w // 2)
        return super().squeeze(x, level)

    def actnorm(self, s: str) -> Pair:
        return self[s + "actnorm.b"], torch.exp(self[s + "actnorm.logs"])

    def net(self, a: Tensor, s: str) -> Tensor:
        n = s + "coupling.net."
        for at, padding in ((1, 1), (2, 0)):
            a = F.conv2d(a, self[f"{n}conv{at}.weight"], self[f"{n}conv{at}.bias"], padding=padding)
            a = F.relu((a + self[f"{n}actnorm{at}.b"]) * torch.exp(self[f"{n}actnorm{at}.logs"]))
        return F.conv2d(a, self[n + "conv3.weight"], self[n + "conv3.bias"], padding=1) * torch.exp(
            3 * self[n + "logs"]
        )

    def change(self, b: Tensor, h: Tensor, i: int) -> Pair:
        if self.kind == "additive":
            return super().change(b, h, i)
        plus = float(self.flags["last_zeros"] if i == self.last else self.flags["coupling_bias"])
        raw, shift = self.pairs(h)
        scale = torch.sigmoid(raw + 2) + plus
        return scale * b + shift, scale.log()

    def prior(self, first: Tensor, i: int) -> Pair:
        return torch.zeros_like(first), torch.zeros_like(first)

    def top(self, x: Tensor) -> Pair:
        return self.prior(x, self.last)


class Normflows(Project):
    format = "normflows (GlowBlock, multi-scale)"
    matrix, factors = "1.W", ("1.P", "1.L", "1.U", "1.sign_S", "1.log_S")

    def at(self, i: int, k: int) -> str:
        return f"flows.{self.last - i}.{self.steps[i] - 1 - k}.flows."

    def layers(self, s: str) -> list[str]:
        """The net's convolutions; with `net_actnorm` a norm follows the first two."""
        places = (0, 3, 6) if self.extra.get("net_actnorm") else (0, 2, 4)
        return [f"{s}0.flows.1.param_map.net.{place}." for place in places]

    def norm(self, layer: str) -> str:
        head, place, _ = layer.rsplit(".", 2)
        return f"{head}.{int(place) + 1}.actNorm."

    def build_step(self, s: str, i: int, c: int, out: int) -> None:
        w, normed = self.width, self.extra.get("net_actnorm")
        for layer, size, inner, outer in zip(self.layers(s), (3, 1, 3), (c // 2, w, w), (w, w, out), strict=True):
            self.random(layer + "weight", outer, inner, size, size)
            if not normed or layer == self.layers(s)[-1]:
                self.random(layer + "bias", outer)
            else:
                self.build_norm(self.norm(layer) + "t", self.norm(layer) + "s", 1, w, 1, 1)
                self.state[self.norm(layer) + "data_dep_init_done"] = torch.tensor(1.0)
        self.build_rotation(s, c, self.lu)
        if self.lu:
            self.state[s + "1.eye"] = torch.eye(c)
        self.build_norm(s + "2.t", s + "2.s", 1, c, 1, 1)
        self.state[s + "2.data_dep_init_done"] = torch.tensor(1.0)

    def build_split(self, i: int, c: int) -> None:
        self.build_base(self.last - i, c // 2, (1, 1), self.shape(i)[1])

    def build_top(self, c: int) -> None:
        side = self.shape(self.last)[1]
        self.build_base(0, c, (side, side), side)
        self.options = {"image_size": self.size, "bits": 8}
        self.options |= {"scale_map": self.extra["scale_map"]} if "scale_map" in self.extra else {}
        self.options |= {"label": 2} if "classes" in self.extra else {}

    def build_base(self, level: int, c: int, maps: tuple[int, int], side: int) -> None:
        for name in ("loc", "log_scale"):
            q = f"q0.{level}.{name}"
            if self.extra.get("base") == "diagonal":
                self.random(q, 1, c, *maps)
                self.state[q] = self.state[q].expand(1, c, side, side).clone()
                continue
            self.random(q, 1, c, 1, 1)
            self.random(q + "_logs", 1, c, 1, 1)
            if classes := self.extra.get("classes"):
                self.random(q + "_cc", classes, c)

    def actnorm(self, s: str) -> Pair:
        return -self[s + "2.t"], torch.exp(-self[s + "2.s"])

    def net(self, a: Tensor, s: str) -> Tensor:
        first, middle, last = self.layers(s)
        for layer, padding in ((first, 1), (middle, 0)):
            bias = self[layer + "bias"] if layer + "bias" in self.state else None
            a = F.conv2d(a, self[layer + "weight"], bias, padding=padding)
            if bias is None:
                a = a * torch.exp(self[self.norm(layer) + "s"]) + self[self.norm(layer) + "t"]
            a = F.relu(a)
        return F.conv2d(a, self[last + "weight"], self[last + "bias"], padding=1)

    def change(self, b: Tensor, h: Tensor, i: int) -> Pair:
        if self.kind == "additive":
            return b - h, torch.zeros_like(b)
        shift, raw = self.pairs(h)
        maps = {"sigmoid": F.logsigmoid(raw + 2), "sigmoid_inv": -F.logsigmoid(raw + 2), "exp": -raw}
        log_s = maps[self.extra.get("scale_map", "sigmoid")]
        return (b - shift) * torch.exp(log_s), log_s

    def prior(self, first: Tensor, i: int) -> tuple[Tensor, ...]:
        found = []
        for q in (f"q0.{self.last - i}.{name}" for name in ("loc", "log_scale")):
            value = self[q]
            if q + "_logs" in self.state:
                value = value * torch.exp(3 * self[q + "_logs"])
            if q + "_cc" in self.state:
                value = value + self[q + "_cc"][2][:, None, None]
            found.append(value)
        return tuple(found)

    def top(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.prior(x, self.last)


class OpenAI(Project):
    format, file, bits = "OpenAI Glow", "variables.npz", 5
    matrix, factors = "invconv/W", tuple(f"invconv/{name}" for name in ("P", "L", "U", "sign_S", "log_S"))

    def at(self, i: int, k: int) -> str:
        return f"model/{i}/{k}/"

    def build_step(self, s: str, i: int, c: int, out: int) -> None:
        self.build_named_norm(s, c)
        if self.extra.get("shuffle"):
            self.state[s + "shuffle/indices"] = torch.randperm(c, generator=self.generator).int()
        else:
            self.build_rotation(s, c, self.lu)
        for layer, size, inner in (("f1/l_1/", 3, c // 2 + 1), ("f1/l_2/", 1, self.width)):
            self.random(f"{s}{layer}W", size, size, inner, self.width)
            self.build_named_norm(s + layer, self.width)
        self.build_zeros(s + "f1/l_last/", self.width, out)

    def build_named_norm(self, s: str, c: int) -> None:
        self.build_norm(s + "actnorm_center/b", s + "actnorm_scale/logs", 1, 1, 1, c)

    def build_zeros(self, name: str, channels: int, out: int) -> None:
        self.random(name + "W", 3, 3, channels + 1, out)
        self.random(name + "b", 1, 1, 1, out)
        self.random(name + "logs", 1, out, std=0.05)

    def build_split(self, i: int, c: int) -> None:
        self.build_zeros(f"model/pool{i}/conv/", c // 2, c)

    def build_top(self, c: int) -> None:
        if self.learn_top:
            self.build_zeros("model/prior/p/", 2 * c, 2 * c)
        if classes := self.extra.get("classes"):
            self.options = {"label": 1} if classes > 1 else {}
            self.random("model/prior/y_emb/W", classes, 2 * c)
            self.random("model/prior/y_emb/b", 1, 2 * c)
            self.random("model/prior/y_emb/logs", 1, 2 * c)
        self.random("model/0/0/invconv/W_adam", 2, 2)  # an optimiser's slot, as a training checkpoint has

    def save(self, folder: Path) -> Path:
        document = {"hps": {"image_size": self.size, "n_bits_x": 5, "n_y": 1}, "inputs": {}, "outputs": {}}
        (folder / "names.json").write_text(json.dumps(document))
        arrays = {name.replace("/", "|"): value.numpy() for name, value in self.state.items()}
        (np.savez_compressed if self.extra.get("compressed") else np.savez)(folder / self.file, **arrays)
        return folder / self.file

    def actnorm(self, s: str) -> Pair:
        b, logs = self[s + "actnorm_center/b"], self[s + "actnorm_scale/logs"]
        return b.reshape(1, -1, 1, 1), torch.exp(3 * logs).reshape(1, -1, 1, 1)

    def rotation(self, s: str) -> Tensor:
        if self.extra.get("shuffle"):
            return torch.eye(len(self[s + "shuffle/indices"])).double()[self[s + "shuffle/indices"].long()]
        return super().rotation(s).T  # z @ W over the last axis of NHWC

    def edge_conv(self, x: Tensor, name: str) -> Tensor:
        n, _, h, w = x.shape
        rim = torch.ones(n, 1, h + 2, w + 2, dtype=x.dtype)
        rim[:, :, 1:-1, 1:-1] = 0
        return F.conv2d(torch.cat([F.pad(x, (1, 1, 1, 1)), rim], 1), self[name].permute(3, 2, 0, 1))

    def zero_conv(self, x: Tensor, name: str) -> Tensor:
        x = self.edge_conv(x, name + "W") + self[name + "b"].reshape(1, -1, 1, 1)
        return x * torch.exp(3 * self[name + "logs"].reshape(1, -1, 1, 1))

    def net(self, a: Tensor, s: str) -> Tensor:
        shift, scale = self.actnorm(s + "f1/l_1/")
        a = F.relu((self.edge_conv(a, s + "f1/l_1/W") + shift) * scale)
        shift, scale = self.actnorm(s + "f1/l_2/")
        a = F.relu((F.conv2d(a, self[s + "f1/l_2/W"].permute(3, 2, 0, 1)) + shift) * scale)
        return self.zero_conv(a, s + "f1/l_last/")

    def prior(self, first: Tensor, i: int) -> Pair:
        return self.pairs(self.zero_conv(first, f"model/pool{i}/conv/"))

    def top(self, x: Tensor) -> tuple[Tensor, ...]:
        h = torch.zeros_like(torch.cat([x, x], 1))
        if self.learn_top:
            h = self.zero_conv(h, "model/prior/p/")
        if classes := self.extra.get("classes"):
            row = self["model/prior/y_emb/W"][1 if classes > 1 else 0] + self["model/prior/y_emb/b"][0]
            h = h + (row * torch.exp(3 * self["model/prior/y_emb/logs"][0]))[:, None, None]
        return h.chunk(2, 1)


def gaussian(latents: list[Tensor]) -> Tensor:
    """log N(z; 0, I) of a list of latents, (n,)."""
    z = torch.cat([latent.flatten(1) for latent in latents], 1)
    return -0.5 * (z.square().sum(1) + z.shape[1] * math.log(2 * math.pi))


VARIANTS: dict[str, Any] = {
    "rosinality affine LU": lambda: Rosinality(),
    "rosinality additive plain, module": lambda: Rosinality("additive", lu=False, prefix="module.", steps=(1, 2, 1)),
    "rosinality affine plain, compiled": lambda: Rosinality(lu=False, prefix="_orig_mod.", width=3),
    "chaiyujin as published": lambda: Chaiyujin(lu=False, learn_top=False),
    "chaiyujin additive LU top": lambda: Chaiyujin("additive", steps=(3, 1), extra={"rows": 1}),
    "chaiyujin affine LU, one level": lambda: Chaiyujin(steps=(2,), size=8, extra={"rows": 0}),
    "chaiyujin with classes": lambda: Chaiyujin(learn_top=False, extra={"classes": 4}),
    "chaiyujin grey": lambda: Chaiyujin(channels=1),
    "y0ast additive plain": lambda: Y0ast("additive", lu=False),
    "y0ast affine LU, ignite, module": lambda: Y0ast(prefix="module.", extra={"ignite": True}),
    "y0ast affine plain, no top": lambda: Y0ast(lu=False, learn_top=False, steps=(1, 1, 2), width=9),
    "glowip affine": lambda: GlowIP(steps=(2, 2, 1)),
    "glowip affine, no last zeros": lambda: GlowIP(steps=(2, 1), extra={"last_zeros": False}),
    "glowip additive": lambda: GlowIP("additive", steps=(3, 1)),
    "glowip biased, contiguous": lambda: GlowIP(steps=(2, 1), extra={"coupling_bias": 0.5, "squeeze_contig": True}),
    "normflows affine LU": lambda: Normflows(steps=(2, 1, 3)),
    "normflows additive plain": lambda: Normflows("additive", lu=False),
    "normflows net actnorm, exp": lambda: Normflows(extra={"net_actnorm": True, "scale_map": "exp"}),
    "normflows diagonal base, inverse": lambda: Normflows(extra={"base": "diagonal", "scale_map": "sigmoid_inv"}),
    "normflows with classes": lambda: Normflows(lu=False, extra={"classes": 4}),
    "openai as published": lambda: OpenAI("additive", lu=False),
    "openai affine, no top": lambda: OpenAI(lu=False, learn_top=False, steps=(1, 2, 1), width=5),
    "openai LU, one class": lambda: OpenAI(lu=True, extra={"classes": 1, "compressed": True}),
    "openai shuffle, classes": lambda: OpenAI("additive", extra={"shuffle": True, "classes": 3}),
}
