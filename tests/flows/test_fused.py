"""The fused flow gives the numbers of the flow that is trained, whatever the flow and the batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transflow_core.flows import (
    CouplingConfig,
    DetailConfig,
    GlowConfig,
    LevelConfig,
    WaveletConfig,
    build_flow,
    fuse,
    fused,
)

COUPLINGS = (
    CouplingConfig(),
    CouplingConfig(kind="additive", transforms="first"),
    CouplingConfig(scale="sigmoid", order="scale-first", transforms="first"),
    CouplingConfig(scale="sigmoid", plus=1.0, order="scale-first"),
    CouplingConfig(scale="inverse-sigmoid", transforms="first"),
    CouplingConfig(scale="exponential"),
)
levels = st.builds(
    LevelConfig,
    st.integers(1, 2),
    st.sampled_from([4, 6]),
    st.sampled_from([None, *COUPLINGS]),
    st.sampled_from(["blocks", "quarters"]),
)
glows = st.builds(
    GlowConfig,
    st.just(8),
    st.tuples(levels, levels),
    st.sampled_from([1, 3]),
    position=st.booleans(),
    edge=st.booleans(),
    split_prior=st.booleans(),
    coupling=st.sampled_from(COUPLINGS),
)
details = st.just(DetailConfig(2, 6, 4))
grown = st.builds(WaveletConfig, glows, details)


def built(config, scale=0.1):
    """With weights that nothing has trained."""
    generator = torch.Generator().manual_seed(0)
    flow = build_flow(config, generator)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return flow.eval()


def assert_same(flow, form, x):
    with torch.inference_mode():
        z, log_det = flow(x)
        given_x, given_z = x.clone(), z.clone()
        for found, expected in ((form.forward(x), (z, log_det)), (form.inverse(z), flow.inverse(z))):
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)
        assert x.equal(given_x) and z.equal(given_z)  # nobody's tensor is written over


@given(
    st.one_of(glows, grown, st.builds(WaveletConfig, grown, details)),
    st.integers(1, 5),
    st.sampled_from([1, 2**10, 2**30]),
)
@settings(max_examples=60, deadline=None)
def test_it_is_the_same_map_with_the_same_log_det(config, n, cache):
    flow = built(config)
    x = torch.rand(n, config.channels, config.image_size, config.image_size) - 0.5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "_CACHE", cache)  # 1: one image at a time
        form = fuse(flow)
        assert_same(flow, form, x)
    if isinstance(config, WaveletConfig):
        with torch.inference_mode():
            z, _ = flow(x)
            torch.testing.assert_close(form.low_pass(z), flow.low_pass(z), atol=2e-4, rtol=1e-4)
