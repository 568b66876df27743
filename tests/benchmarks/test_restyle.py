"""The maps that are compared, and the page that says how they did."""

import pytest
import torch

from benchmarks.restyle import MAPS, level_statistics, mean_difference
from transflow_core.posterior import standard_normal
from transflow_core.priors.typicality import Typicality

from ..helpers import make_tiny_prior


@pytest.fixture
def prior():
    prior = make_tiny_prior()
    prior.typicality = Typicality(2, (0.0, 100.0), (-2.0, -1.0), (1.0, 2.0), ((0.8, 1.2),) * 2)
    return prior


def test_every_map_moves_photographs_to_latents_and_to_what_it_promises(prior):
    evidence, z = 1 + standard_normal(6, prior.dim, seed=1), standard_normal(3, prior.dim, seed=2)
    for of in MAPS.values():
        x = of(evidence, prior)(z)
        assert x.shape == z.shape and torch.isfinite(x).all()
    assert torch.allclose(mean_difference(evidence, prior)(z) - z, evidence.mean(0).expand(3, -1), atol=1e-5)
    moved = level_statistics(evidence, prior)(z)
    for level in prior.levels:  # Gatys': every channel has the evidence's mean and deviation
        here, there = (x[:, level.slice].reshape(len(x), level.shape[0], -1) for x in (moved, evidence))
        for found, expected in ((here.mean(2), there.mean(2)), (here.std(2), there.std(2))):
            assert torch.allclose(found, expected.mean(0).expand(3, -1), atol=1e-4)
