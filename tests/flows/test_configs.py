"""Configurations of flows and pixels: to JSON and back, and those that are none, refused."""

import json

import pytest
from hypothesis import given

from transflow_core.flows import GlowConfig, LevelConfig, PixelConvention, WaveletConfig, read_config

from .test_fused import flows

GLOW = GlowConfig(8, (LevelConfig(1, 8), LevelConfig(1, 8), LevelConfig(1, 8))).to_dict()
WAVELET = WaveletConfig(read_config(GLOW)).to_dict()
LEVEL = {"steps": 1, "width": 4}
REFUSED = {
    GlowConfig: [
        {"image_size": 12},
        {"image_size": 2**20},
        {"image_size": True},
        {"levels": []},
        {"levels": ["level"]},
        *({"levels": [LEVEL | wrong]} for wrong in ({"steps": 10**9}, {"width": 0}, {"width": None}, {"bogus": 1})),
        *({"levels": [LEVEL | {"squeeze": wrong}]} for wrong in ("halves", {})),
        {"position": "yes"},
        *({"coupling": {"kind": wrong}} for wrong in ("spline", None)),
        *({"coupling": {"scale": wrong}} for wrong in ("exp", ["tanh"])),
        *({"coupling": {"plus": wrong}} for wrong in (-1.0, True)),
        {"coupling": {"cap": float("nan")}},
    ],
    WaveletConfig: [
        {"details": None},
        *({"details": wrong} for wrong in ({"steps": 0}, {"steps": True}, {"width": 10**9}, {"unknown": 1})),
        {"details": {"cap": float("nan")}},
        {"base": {}},
        {"base": GLOW | {"image_size": 1024}},
    ],
}


@given(flows)
def test_a_configuration_comes_back_from_json(config):
    assert read_config(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(("kind", "change"), [(kind, one) for kind, some in REFUSED.items() for one in some], ids=str)
def test_what_is_no_configuration_is_refused(kind, change):
    good = GLOW if kind is GlowConfig else WAVELET
    assert read_config(good).to_dict() == good
    with pytest.raises(ValueError):
        read_config(good | change)
    for missing in ("base",) if kind is WaveletConfig else ("image_size", "levels"):
        with pytest.raises(ValueError):
            read_config({name: value for name, value in good.items() if name != missing})


@pytest.mark.parametrize("change", [{"scale": 0}, {"scale": "1"}, {"scale": float("nan")}, {"noise": "none"}])
def test_a_wrong_pixel_convention_is_refused(change):
    with pytest.raises(ValueError):
        PixelConvention(**change)
