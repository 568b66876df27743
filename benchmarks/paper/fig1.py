"""Fig. 1: evidence of two domains, and samples of the same flow conditioned on it."""

from __future__ import annotations

from typing import Any

from transflow_core.images import to_pil

from .near import Pictures, default, measured, samplers
from .samples import SEED
from .setting import Setting
from .words import Result, difference, sign

__all__ = ["run", "words"]

_DOMAINS = ("cartoon", "sepia")
_SPACE = "energy, colour and texture"


def run(setting: Setting) -> dict[str, Any]:
    """The two shipped domains: evidence, the paper's samples at λ/m = 0.5, and the default's; distances of each."""
    shown, rows, labels, found = setting.count(8), [], [], {}
    for name in _DOMAINS:
        evidence = setting.evidence(name, 18)
        posterior = evidence.posterior(lam_ratio=0.5)
        rows.append([image.face.image for image in evidence.used[:shown] if image.face])
        labels.append(name)
        for label, sampler in (("λ/m = 0.5", posterior), ("our default", default(setting.engine, posterior))):
            rows.append(to_pil(setting.engine.sample(sampler, shown, seed=SEED).images))
            labels.append(label)
        measures = measured(setting, setting.engine, Pictures(name, evidence), samplers(setting.engine, (0.5,)))
        found[name] = {"m": len(evidence.used), "measures": {k: v[_SPACE] for k, v in measures.items()}}
    picture = setting.show("fig1", [row + [row[0]] * (shown - len(row)) for row in rows], row_labels=labels)
    return {"picture": picture, "domains": found, "splits": setting.splits}


def words(r: Result) -> str:
    """The section of the page."""
    domains = r["domains"]
    labels = list(next(iter(domains.values()))["measures"])
    names = [f"λ/m = {label}" if label == "0.5" else label for label in labels]
    prior = labels[-1]
    nearer = {
        label: [
            name
            for name, domain in domains.items()
            if sign(difference(domain["measures"][label], domain["measures"][prior])) < 0
        ]
        for label in labels[1:-1]
    }
    told = "; ".join(
        f"{name} on {len(nearer[label])} of {len(domains)}"
        for name, label in zip(names[1:-1], labels[1:-1], strict=True)
    )
    return f"""## Figure 1: one flow, two domains

![Figure 1](results/{r["picture"]})

The paper's evidence may not be shown here. In its place are {len(domains)} sets that ship
({", ".join(f"{name}, m = {domain['m']}" for name, domain in domains.items())}): faces drawn from shapes, and samples of
the prior as old prints. By the energy distance to the held-out half of a set, in colour and texture, over {r["splits"]}
splits, these are nearer than the prior's own samples: {told}."""
