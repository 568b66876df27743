"""The maps that are compared, and the page that says how they did."""

import re

import pytest
import torch

from benchmarks.restyle import DEFAULT, MAPS, STRENGTHS, curves, level_statistics, mean_difference, table
from transflow_core.posterior import standard_normal
from transflow_core.priors.typicality import Typicality

from ..helpers import make_tiny_prior


@pytest.fixture
def prior():
    prior = make_tiny_prior()
    rows = {"latent_log_prior_nats": [-2, -1], "image_log_prob_nats": [1, 2], "level_rms": [[0.8, 1.2]] * 2}
    prior.typicality = Typicality.from_dict({"n": 2, "quantiles_percent": [0, 100], **rows})
    return prior


def test_every_map_moves_photographs_to_latents(prior):
    evidence, z = 1 + standard_normal(6, prior.dim, seed=1), standard_normal(3, prior.dim, seed=2)
    moved = {name: of(evidence, prior)(z) for name, of in MAPS.items()}
    assert all(x.shape == z.shape and torch.isfinite(x).all() for x in moved.values())
    assert torch.allclose(mean_difference(evidence, prior)(z) - z, evidence.mean(0).expand(3, -1), atol=1e-5)


def test_gatys_map_gives_every_channel_the_evidences_mean_and_deviation(prior):
    evidence, z = 1 + standard_normal(6, prior.dim, seed=1), standard_normal(3, prior.dim, seed=2)
    moved = level_statistics(evidence, prior)(z)
    for level in prior.levels:
        here, there = (x[:, level.slice].reshape(len(x), level.shape[0], -1) for x in (moved, evidence))
        assert torch.allclose(here.mean(2), there.mean(2).mean(0).expand(3, -1), atol=1e-4)
        assert torch.allclose(here.std(2), there.std(2).mean(0).expand(3, -1), atol=1e-4)


def test_the_page_has_a_row_and_a_line_for_each_map():
    rows = [{"set": "a", "map": "", "strength": 0.0, "energy": 50.0, "identity": 0.0}]
    rows += [
        {"set": "a", "map": name, "strength": s, "energy": 50 - 20 * s, "identity": 0.5 * s}
        for name in MAPS
        for s in STRENGTHS
    ]
    page = table(rows)
    assert f"| {DEFAULT} | 40.00 / 0.25 | 30.00 / 0.50 |" in page
    drawn = curves(rows)
    assert len(re.findall("<polyline", drawn)) == len(MAPS) and all(name in drawn for name in MAPS)
