"""Small random models in each project's layout, with that project's forward mathematics written out plainly.

These share no code with the readers: each follows the facts in the format's README, in float64 and one step at a time.
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


@dataclass
class Project:
    """A model of a project.

    Args:
        kind: "affine" or "additive".
        lu: factorised 1×1 convolutions.
        learn_top: a learned top prior.
        steps: K of each level.
    """

    kind: str = "affine"
    lu: bool = True
    learn_top: bool = True
    steps: tuple[int, ...] = (2, 2)
    width: int = 6
    size: int = 16
    channels: int = 3
    prefix: str = ""
    seed: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    file = "model.pt"
    bits = 8

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)
        self.state: dict[str, Tensor] = {}
        self.build()

    # -- random parameters ------------------------------------------------------------------------------------------

    def random(self, name: str, *shape: int, std: float = 0.1, mean: float = 0.0) -> Tensor:
        self.state[name] = mean + std * torch.randn(*shape, generator=self.generator)
        return self.state[name]

    def __getitem__(self, name: str) -> Tensor:
        return self.state[name].double()

    def factors(self, c: int) -> dict[str, Tensor]:
        """P, L, U, sign and log_s; what the projects mask away is filled with rubbish, which must not be read."""
        permutation = torch.eye(c)[torch.randperm(c, generator=self.generator)]
        noise = 0.3 / math.sqrt(c) * torch.randn(2, c, c, generator=self.generator)  # well conditioned
        sign = torch.randn(c, generator=self.generator).sign()
        return {"P": permutation, "L": noise[0], "U": noise[1], "sign": sign, "log_s": noise[0, 0].clone()}

    @staticmethod
    def from_factors(p: Tensor, lower: Tensor, upper: Tensor, sign: Tensor, log_s: Tensor) -> Tensor:
        mask = torch.tril(torch.ones_like(lower), -1)
        eye = torch.eye(len(p), dtype=p.dtype)
        return p @ (lower * mask + eye) @ (upper * mask.T + torch.diag(sign * torch.exp(log_s)))

    def matrix(self, c: int) -> Tensor:
        return torch.linalg.qr(torch.randn(c, c, generator=self.generator))[0] * 1.1

    # -- what every Glow does ---------------------------------------------------------------------------------------

    @property
    def affine(self) -> bool:
        return self.kind == "affine"

    def shape(self, level: int) -> tuple[int, int]:
        """Channels and side inside a level."""
        return 4 * self.channels * 2**level, self.size >> (level + 1)

    def out(self, level: int) -> int:
        c = self.shape(level)[0]
        return c if self.affine else c // 2

    def squeeze(self, x: Tensor, level: int) -> Tensor:
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)

    def encode(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        x, latents = x.double(), []
        total = torch.zeros(len(x), dtype=torch.float64)
        for i, steps in enumerate(self.steps):
            x = self.squeeze(x, i)
            for k in range(steps):
                x, log_det = self.step(x, i, k)
                total = total + log_det
            if i < len(self.steps) - 1:
                x, z = x.chunk(2, 1)
                mean, log_std = self.prior(x, i)
            else:
                z, (mean, log_std) = x, self.top(x)
            mean, log_std = mean.expand_as(z), log_std.expand_as(z)
            latents.append((z - mean) * torch.exp(-log_std))
            total = total - log_std.sum((1, 2, 3))
        return latents, total

    def rotate(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        log_det = torch.linalg.slogdet(weight)[1] * x.shape[2] * x.shape[3]
        return F.conv2d(x, weight[:, :, None, None]), log_det

    def save(self, folder: Path) -> Path:
        path = folder / self.file
        torch.save(self.wrapped({self.prefix + k: v for k, v in self.state.items()}), path)
        return path

    def wrapped(self, state: dict[str, Tensor]) -> Any:
        return state

    options: dict[str, Any] = field(default_factory=dict, init=False)


def sigmoid_scale(x: Tensor, shift: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    scale = torch.sigmoid(raw + 2)
    return (x + shift) * scale, scale.log().sum((1, 2, 3))


class Rosinality(Project):
    format = "rosinality/glow-pytorch"
    bits = 5

    def build(self) -> None:
        self.options = {"image_size": self.size, "bits": 5}
        for i, steps in enumerate(self.steps):
            c, w, out = self.shape(i)[0], self.width, self.out(i)
            for k in range(steps):
                s = f"blocks.{i}.flows.{k}."
                self.random(s + "actnorm.loc", 1, c, 1, 1)
                signs = torch.randn(1, c, 1, 1, generator=self.generator).sign()  # a scale may turn negative
                self.state[s + "actnorm.scale"] = signs * self.random(s + "actnorm.scale", 1, c, 1, 1, mean=1.0)
                self.state[s + "actnorm.initialized"] = torch.tensor(1, dtype=torch.uint8)
                if self.lu or i == len(self.steps) - 1:  # the project's last block is always factorised
                    f = self.factors(c)
                    names = {"w_p": "P", "w_l": "L", "w_u": "U", "s_sign": "sign", "w_s": "log_s"}
                    self.state |= {f"{s}invconv.{name}": f[key] for name, key in names.items()}
                    mask = torch.triu(torch.ones(c, c), 1)
                    self.state |= {
                        s + "invconv.u_mask": mask,
                        s + "invconv.l_mask": mask.T,
                        s + "invconv.l_eye": torch.eye(c),
                    }
                else:
                    self.state[s + "invconv.weight"] = self.matrix(c)[:, :, None, None]
                n = s + "coupling.net."
                self.random(n + "0.weight", w, c // 2, 3, 3)
                self.random(n + "0.bias", w)
                self.random(n + "2.weight", w, w, 1, 1)
                self.random(n + "2.bias", w)
                self.random(n + "4.conv.weight", out, w, 3, 3)
                self.random(n + "4.conv.bias", out)
                self.random(n + "4.scale", 1, out, 1, 1)
            inner, outer = (c, 2 * c) if i == len(self.steps) - 1 else (c // 2, c)
            self.random(f"blocks.{i}.prior.conv.weight", outer, inner, 3, 3, std=0.05)
            self.random(f"blocks.{i}.prior.conv.bias", outer)
            self.random(f"blocks.{i}.prior.scale", 1, outer, 1, 1)

    def zero_conv(self, x: Tensor, name: str) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), value=1.0)
        x = F.conv2d(padded, self[name + "conv.weight"], self[name + "conv.bias"])
        return x * torch.exp(3 * self[name + "scale"])

    def step(self, x: Tensor, i: int, k: int) -> tuple[Tensor, Tensor]:
        s = f"blocks.{i}.flows.{k}."
        scale = self[s + "actnorm.scale"]
        x = scale * (x + self[s + "actnorm.loc"])
        total = scale.abs().log().sum() * x.shape[2] * x.shape[3]
        if s + "invconv.weight" in self.state:
            weight = self[s + "invconv.weight"][:, :, 0, 0]
        else:
            weight = self.from_factors(*(self[f"{s}invconv.{n}"] for n in ("w_p", "w_l", "w_u", "s_sign", "w_s")))
        x, log_det = self.rotate(x, weight)
        a, b = x.chunk(2, 1)
        n = s + "coupling.net."
        h = F.relu(F.conv2d(a, self[n + "0.weight"], self[n + "0.bias"], padding=1))
        h = self.zero_conv(F.relu(F.conv2d(h, self[n + "2.weight"], self[n + "2.bias"])), n + "4.")
        total = total + log_det
        if not self.affine:
            return torch.cat([a, b + h], 1), total
        log_s, t = h.chunk(2, 1)
        b, log_det = sigmoid_scale(b, t, log_s)
        return torch.cat([a, b], 1), total + log_det

    def prior(self, first: Tensor, i: int) -> tuple[Tensor, ...]:
        return self.zero_conv(first, f"blocks.{i}.prior.").chunk(2, 1)

    def top(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.zero_conv(torch.zeros_like(x), f"blocks.{len(self.steps) - 1}.prior.").chunk(2, 1)


class Chaiyujin(Project):
    format = "chaiyujin/glow-pytorch"
    file = "save_5k0.pkg"
    net, conv, factor_names, top_name = "f", "", ("p", "l", "u", "sign_s", "log_s"), "learn_top"
    classes = 0

    def build(self) -> None:
        j = 0
        self.layers: list[list[int]] = []
        for i, steps in enumerate(self.steps):
            c, w, out = self.shape(i)[0], self.width, self.out(i)
            self.layers.append(list(range(j + 1, j + 1 + steps)))
            for layer in self.layers[-1]:
                s = f"flow.layers.{layer}."
                self.random(s + "actnorm.bias", 1, c, 1, 1)
                self.random(s + "actnorm.logs", 1, c, 1, 1)
                if self.lu:
                    f = self.factors(c)
                    keys = ("P", "L", "U", "sign", "log_s")
                    self.state |= {f"{s}invconv.{n}": f[key] for n, key in zip(self.factor_names, keys, strict=True)}
                else:
                    self.state[s + "invconv.weight"] = self.matrix(c)
                for index, (size, channels) in {0: (3, c // 2), 2: (1, w)}.items():
                    n = f"{s}{self.net}.{index}."
                    self.random(f"{n}{self.conv}weight", w, channels, size, size)
                    self.random(n + "actnorm.bias", 1, w, 1, 1)
                    self.random(n + "actnorm.logs", 1, w, 1, 1)
                self.random_zeros(f"{s}{self.net}.4.", w, out)
            j += 1 + steps
            if i < len(self.steps) - 1:
                self.random_zeros(f"flow.layers.{j}.conv.", c // 2, c)
                self.layers[-1].append(j)
                j += 1
        side = self.shape(len(self.steps) - 1)[1]
        self.state["prior_h"] = torch.zeros(self.extra.get("rows", 3), 2 * c, side, side)
        if self.learn_top:
            self.random_zeros(self.top_name + ".", 2 * c, 2 * c)
        if classes := self.extra.get("classes"):
            self.options = {"label": 1}
            self.random("project_ycond.weight", 2 * c, classes)
            self.random("project_ycond.bias", 2 * c)
            self.random("project_ycond.logs", 2 * c)
            self.random("project_class.weight", classes, c)

    def random_zeros(self, name: str, channels: int, out: int) -> None:
        self.random(f"{name}{self.conv}weight", out, channels, 3, 3)
        self.random(f"{name}{self.conv}bias", out)
        self.random(name + "logs", out, 1, 1)

    def wrapped(self, state: dict[str, Tensor]) -> Any:
        return {"global_step": 5000, "graph": state, "optim": {"state": {}, "param_groups": []}, "criterion": {}}

    def zero_conv(self, x: Tensor, name: str) -> Tensor:
        x = F.conv2d(x, self[f"{name}{self.conv}weight"], self[f"{name}{self.conv}bias"], padding=1)
        return x * torch.exp(3 * self[name + "logs"])

    def step(self, x: Tensor, i: int, k: int) -> tuple[Tensor, Tensor]:
        s = f"flow.layers.{self.layers[i][k]}."
        x = (x + self[s + "actnorm.bias"]) * torch.exp(self[s + "actnorm.logs"])
        total = self[s + "actnorm.logs"].sum() * x.shape[2] * x.shape[3]
        if self.lu:
            weight = self.from_factors(*(self[f"{s}invconv.{n}"] for n in self.factor_names))
        else:
            weight = self[s + "invconv.weight"]
        x, log_det = self.rotate(x, weight)
        a, b = x.chunk(2, 1)
        h = a
        for index, padding in ((0, 1), (2, 0)):
            n = f"{s}{self.net}.{index}."
            h = F.conv2d(h, self[f"{n}{self.conv}weight"], padding=padding)
            h = F.relu((h + self[n + "actnorm.bias"]) * torch.exp(self[n + "actnorm.logs"]))
        h = self.zero_conv(h, f"{s}{self.net}.4.")
        total = total + log_det
        if not self.affine:
            return torch.cat([a, b + h], 1), total
        b, log_det = sigmoid_scale(b, h[:, 0::2], h[:, 1::2])
        return torch.cat([a, b], 1), total + log_det

    def prior(self, first: Tensor, i: int) -> tuple[Tensor, ...]:
        h = self.zero_conv(first, f"flow.layers.{self.layers[i][-1]}.conv.")
        return h[:, 0::2], h[:, 1::2]

    def top(self, x: Tensor) -> tuple[Tensor, ...]:
        h = torch.zeros_like(torch.cat([x, x], 1))
        if self.learn_top:
            h = self.zero_conv(h, self.top_name + ".")
        if self.extra.get("classes"):
            row = self["project_ycond.weight"][:, 1] + self["project_ycond.bias"]
            h = h + (row * torch.exp(3 * self["project_ycond.logs"]))[:, None, None]
        return h.chunk(2, 1)


class Y0ast(Chaiyujin):
    format = "y0ast/Glow-PyTorch"
    file = "glow_model_250.pth"
    net, conv, factor_names, top_name = "block", "conv.", ("p", "lower", "upper", "sign_s", "log_s"), "learn_top_fn"

    def wrapped(self, state: dict[str, Tensor]) -> Any:
        return {"model": state, "optimizer": {"state": {}}} if self.extra.get("ignite") else state


class GlowIP(Project):
    format = "CACTuS-AI/GlowIP"
    file = "glowmodel.pt"
    bits = 5

    def build(self) -> None:
        flags = {"last_zeros": True, "coupling_bias": 0, "squeeze_contig": False} | self.extra
        self.flags = flags
        j = 0
        self.modules: list[list[int]] = []
        for i, steps in enumerate(self.steps):
            c, w, out = self.shape(i)[0], self.width, self.out(i)
            self.modules.append(list(range(j + 1, j + 1 + steps)))
            j += steps + 2
            for module in self.modules[-1]:
                s = f"glow_modules.{module}."
                self.random(s + "actnorm.b", 1, c, 1, 1)
                self.random(s + "actnorm.logs", 1, c, 1, 1)
                self.state[s + "invconv.W"] = self.matrix(c)[:, :, None, None]
                n = s + "coupling.net."
                for index, (size, channels) in {1: (3, c // 2), 2: (1, w)}.items():
                    self.random(f"{n}conv{index}.weight", w, channels, size, size)
                    self.random(f"{n}conv{index}.bias", w)
                    self.random(f"{n}actnorm{index}.b", 1, w, 1, 1)
                    self.random(f"{n}actnorm{index}.logs", 1, w, 1, 1)
                self.random(n + "conv3.weight", out, w, 3, 3)
                self.random(n + "conv3.bias", out)
                self.random(n + "logs", out, 1, 1)

    def save(self, folder: Path) -> Path:
        document = {"size": self.size, "K": 2, "L": len(self.steps), "n_bits_x": 5, **self.flags}
        (folder / "configs.json").write_text(json.dumps(document))
        return super().save(folder)

    def squeeze(self, x: Tensor, level: int) -> Tensor:
        n, c, h, w = x.shape
        if self.flags["squeeze_contig"] and level < len(self.steps) - 1:
            return x.reshape(n, 4 * c, h // 2, w // 2)
        return super().squeeze(x, level)

    def step(self, x: Tensor, i: int, k: int) -> tuple[Tensor, Tensor]:
        s = f"glow_modules.{self.modules[i][k]}."
        x = (x + self[s + "actnorm.b"]) * torch.exp(self[s + "actnorm.logs"])
        total = self[s + "actnorm.logs"].sum() * x.shape[2] * x.shape[3]
        x, log_det = self.rotate(x, self[s + "invconv.W"][:, :, 0, 0])
        a, b = x.chunk(2, 1)
        n, h = s + "coupling.net.", b
        for index, padding in ((1, 1), (2, 0)):
            h = F.conv2d(h, self[f"{n}conv{index}.weight"], self[f"{n}conv{index}.bias"], padding=padding)
            h = F.relu((h + self[f"{n}actnorm{index}.b"]) * torch.exp(self[f"{n}actnorm{index}.logs"]))
        h = F.conv2d(h, self[n + "conv3.weight"], self[n + "conv3.bias"], padding=1) * torch.exp(3 * self[n + "logs"])
        total = total + log_det
        if not self.affine:
            return torch.cat([a + h, b], 1), total
        last = i == len(self.steps) - 1
        scale = torch.sigmoid(h[:, 0::2] + 2) + float(self.flags["last_zeros"] if last else self.flags["coupling_bias"])
        return torch.cat([scale * a + h[:, 1::2], b], 1), total + scale.log().sum((1, 2, 3))

    def prior(self, first: Tensor, i: int) -> tuple[Tensor, ...]:
        return torch.zeros_like(first), torch.zeros_like(first)

    def top(self, x: Tensor) -> tuple[Tensor, ...]:
        return torch.zeros_like(x), torch.zeros_like(x)


class Normflows(Project):
    format = "normflows (GlowBlock, multi-scale)"

    def build(self) -> None:
        self.options = {"image_size": self.size, "bits": 8}
        if "scale_map" in self.extra:
            self.options["scale_map"] = self.extra["scale_map"]
        levels = len(self.steps)
        for i, steps in enumerate(self.steps):
            c, side = self.shape(i)
            w, out, theirs = self.width, self.out(i), levels - 1 - i
            half = c if theirs == 0 else c // 2
            if self.extra.get("base") == "diagonal":
                maps = (side, side) if theirs == 0 else (1, 1)
                for name in ("loc", "log_scale"):
                    self.state[f"q0.{theirs}.{name}"] = (
                        self.random("_", 1, half, *maps).expand(1, half, side, side).clone()
                    )
                del self.state["_"]
            else:
                for name in ("loc", "loc_logs", "log_scale", "log_scale_logs"):
                    self.random(f"q0.{theirs}.{name}", 1, half, 1, 1)
                if self.extra.get("classes"):
                    self.options["label"] = 2
                    self.random(f"q0.{theirs}.loc_cc", 4, half)
                    self.random(f"q0.{theirs}.log_scale_cc", 4, half)
            for k in range(steps):
                s = f"flows.{theirs}.{k}.flows."
                n = s + "0.flows.1.param_map.net."
                normed = self.extra.get("net_actnorm")
                for at, size, channels in ((0, 3, c // 2), (3 if normed else 2, 1, w)):
                    self.random(f"{n}{at}.weight", w, channels, size, size)
                    if normed:
                        for letter in "st":
                            self.random(f"{n}{at + 1}.actNorm.{letter}", 1, w, 1, 1)
                        self.state[f"{n}{at + 1}.actNorm.data_dep_init_done"] = torch.tensor(1.0)
                    else:
                        self.random(f"{n}{at}.bias", w)
                self.random(f"{n}{6 if normed else 4}.weight", out, w, 3, 3)
                self.random(f"{n}{6 if normed else 4}.bias", out)
                if self.lu:
                    f = self.factors(c)
                    names = {"P": "P", "L": "L", "U": "U", "sign_S": "sign", "log_S": "log_s"}
                    self.state |= {f"{s}1.{name}": f[key] for name, key in names.items()}
                    self.state[s + "1.eye"] = torch.eye(c)
                else:
                    self.state[s + "1.W"] = self.matrix(c)
                self.random(s + "2.s", 1, c, 1, 1)
                self.random(s + "2.t", 1, c, 1, 1)
                self.state[s + "2.data_dep_init_done"] = torch.tensor(1.0)

    def step(self, x: Tensor, i: int, k: int) -> tuple[Tensor, Tensor]:
        s = f"flows.{len(self.steps) - 1 - i}.{self.steps[i] - 1 - k}.flows."
        x = (x - self[s + "2.t"]) * torch.exp(-self[s + "2.s"])
        total = -self[s + "2.s"].sum() * x.shape[2] * x.shape[3]
        if self.lu:
            weight = self.from_factors(*(self[f"{s}1.{n}"] for n in ("P", "L", "U", "sign_S", "log_S")))
        else:
            weight = self[s + "1.W"]
        x, log_det = self.rotate(x, weight)
        total = total + log_det
        a, b = x.chunk(2, 1)
        n, h = s + "0.flows.1.param_map.net.", a
        normed = self.extra.get("net_actnorm")
        for at, padding in ((0, 1), (3 if normed else 2, 0)):
            h = F.conv2d(h, self[f"{n}{at}.weight"], None if normed else self[f"{n}{at}.bias"], padding=padding)
            if normed:
                h = h * torch.exp(self[f"{n}{at + 1}.actNorm.s"]) + self[f"{n}{at + 1}.actNorm.t"]
            h = F.relu(h)
        last = f"{n}{6 if normed else 4}."
        h = F.conv2d(h, self[last + "weight"], self[last + "bias"], padding=1)
        if not self.affine:
            return torch.cat([a, b - h], 1), total
        shift, raw = h[:, 0::2], h[:, 1::2]
        log_s = {
            "sigmoid": F.logsigmoid(raw + 2),
            "sigmoid_inv": -F.logsigmoid(raw + 2),
            "exp": -raw,
        }[self.extra.get("scale_map", "sigmoid")]
        return torch.cat([a, (b - shift) * torch.exp(log_s)], 1), total + log_s.sum((1, 2, 3))

    def base(self, theirs: int) -> tuple[Tensor, Tensor]:
        q = f"q0.{theirs}."
        loc, log_scale = self[q + "loc"], self[q + "log_scale"]
        if q + "loc_logs" in self.state:
            loc = loc * torch.exp(3 * self[q + "loc_logs"])
            log_scale = log_scale * torch.exp(3 * self[q + "log_scale_logs"])
        if q + "loc_cc" in self.state:
            loc = loc + self[q + "loc_cc"][2][:, None, None]
            log_scale = log_scale + self[q + "log_scale_cc"][2][:, None, None]
        return loc, log_scale

    def prior(self, first: Tensor, i: int) -> tuple[Tensor, ...]:
        return self.base(len(self.steps) - 1 - i)

    def top(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.base(0)


class OpenAI(Project):
    format = "OpenAI Glow"
    file = "variables.npz"
    bits = 5

    def build(self) -> None:
        for i, steps in enumerate(self.steps):
            c, w, out = self.shape(i)[0], self.width, self.out(i)
            for k in range(steps):
                s = f"model/{i}/{k}/"
                self.random_norm(s + "actnorm", c)
                if self.extra.get("shuffle"):
                    self.state[s + "shuffle/indices"] = torch.randperm(c, generator=self.generator).int()
                elif self.lu:
                    f = self.factors(c)
                    names = {"P": "P", "L": "L", "U": "U", "sign_S": "sign", "log_S": "log_s"}
                    self.state |= {f"{s}invconv/{name}": f[key] for name, key in names.items()}
                else:
                    self.state[s + "invconv/W"] = self.matrix(c)
                self.random(s + "f1/l_1/W", 3, 3, c // 2 + 1, w)
                self.random_norm(s + "f1/l_1/actnorm", w)
                self.random(s + "f1/l_2/W", 1, 1, w, w)
                self.random_norm(s + "f1/l_2/actnorm", w)
                self.random_zeros(s + "f1/l_last/", w, out)
            if i < len(self.steps) - 1:
                self.random_zeros(f"model/pool{i}/conv/", c // 2, c)
        if self.learn_top:
            self.random_zeros("model/prior/p/", 2 * c, 2 * c)
        if classes := self.extra.get("classes"):
            self.options = {"label": 1} if classes > 1 else {}
            self.random("model/prior/y_emb/W", classes, 2 * c)
            self.random("model/prior/y_emb/b", 1, 2 * c)
            self.random("model/prior/y_emb/logs", 1, 2 * c)
        self.random("model/0/0/invconv/W_adam", 2, 2)  # an optimiser's slot, as a training checkpoint has

    def random_norm(self, name: str, c: int) -> None:
        self.random(f"{name}_center/b", 1, 1, 1, c)
        self.random(f"{name}_scale/logs", 1, 1, 1, c, std=0.05)

    def random_zeros(self, name: str, channels: int, out: int) -> None:
        self.random(name + "W", 3, 3, channels + 1, out)
        self.random(name + "b", 1, 1, 1, out)
        self.random(name + "logs", 1, out, std=0.05)

    def save(self, folder: Path) -> Path:
        document = {"hps": {"image_size": self.size, "n_bits_x": 5, "n_y": 1}, "inputs": {}, "outputs": {}}
        (folder / "names.json").write_text(json.dumps(document))
        arrays = {name.replace("/", "|"): value.numpy() for name, value in self.state.items()}
        (np.savez_compressed if self.extra.get("compressed") else np.savez)(folder / self.file, **arrays)
        return folder / self.file

    def norm(self, x: Tensor, name: str) -> tuple[Tensor, Tensor]:
        logs = self[f"{name}_scale/logs"].reshape(1, -1, 1, 1) * 3
        x = (x + self[f"{name}_center/b"].reshape(1, -1, 1, 1)) * torch.exp(logs)
        return x, logs.sum() * x.shape[2] * x.shape[3]

    def edge_conv(self, x: Tensor, name: str) -> Tensor:
        n, _, h, w = x.shape
        rim = torch.ones(n, 1, h + 2, w + 2, dtype=x.dtype)
        rim[:, :, 1:-1, 1:-1] = 0
        return F.conv2d(torch.cat([F.pad(x, (1, 1, 1, 1)), rim], 1), self[name].permute(3, 2, 0, 1))

    def zero_conv(self, x: Tensor, name: str) -> Tensor:
        x = self.edge_conv(x, name + "W") + self[name + "b"].reshape(1, -1, 1, 1)
        return x * torch.exp(3 * self[name + "logs"].reshape(1, -1, 1, 1))

    def step(self, x: Tensor, i: int, k: int) -> tuple[Tensor, Tensor]:
        s = f"model/{i}/{k}/"
        x, total = self.norm(x, s + "actnorm")
        if self.extra.get("shuffle"):
            x = x[:, self[s + "shuffle/indices"].long()]
        else:
            lu = (f"{s}invconv/{n}" for n in ("P", "L", "U", "sign_S", "log_S"))
            w = self.from_factors(*map(self.__getitem__, lu)) if self.lu else self[s + "invconv/W"]
            total = total + torch.linalg.slogdet(w)[1] * x.shape[2] * x.shape[3]
            x = torch.einsum("nchw,cd->ndhw", x, w)  # z @ W over the last axis of NHWC
        a, b = x.chunk(2, 1)
        h, _ = self.norm(self.edge_conv(a, s + "f1/l_1/W"), s + "f1/l_1/actnorm")
        h, _ = self.norm(F.conv2d(F.relu(h), self[s + "f1/l_2/W"].permute(3, 2, 0, 1)), s + "f1/l_2/actnorm")
        h = self.zero_conv(F.relu(h), s + "f1/l_last/")
        if not self.affine:
            return torch.cat([a, b + h], 1), total
        b, log_det = sigmoid_scale(b, h[:, 0::2], h[:, 1::2])
        return torch.cat([a, b], 1), total + log_det

    def prior(self, first: Tensor, i: int) -> tuple[Tensor, ...]:
        h = self.zero_conv(first, f"model/pool{i}/conv/")
        return h[:, 0::2], h[:, 1::2]

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
