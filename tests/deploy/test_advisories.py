"""Known holes of what we install: none that a stranger can reach stands in the versions that CI ran."""

import json
import re

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from deploy.constraints import CONSTRAINTS, OVERRIDES, pins

from ..helpers import ROOT

ADVISORIES = json.loads((ROOT / "deploy/advisories.json").read_text(encoding="utf-8"))
PINNED = pins(CONSTRAINTS, OVERRIDES)


@pytest.mark.parametrize("advisory", ADVISORIES, ids=lambda one: one["id"])
def test_no_pinned_version_has_a_hole_that_can_be_reached(advisory: dict) -> None:
    """Also of one that cannot be reached there is a reason, and a package that we install."""
    assert advisory["why"].endswith(".") and advisory["package"] in PINNED
    hole = advisory["reachable"] and Version(PINNED[advisory["package"]]) in SpecifierSet(advisory["range"])
    assert not hole, f"{advisory['package']} {PINNED[advisory['package']]}: {advisory['id']}. {advisory['why']}"


def test_every_requirement_is_pinned_within_its_bounds() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    bounds = dict(re.match(r"([\w-]+)([^;]*)", line).groups() for line in lines if line[:1].isalpha())
    assert set(bounds) >= {"gradio", "torch", "pillow", "starlette"}
    for name, bound in bounds.items():
        assert Version(PINNED[name.replace("_", "-")]) in SpecifierSet(bound), name


def test_the_lowest_versions_allowed_have_no_hole_that_can_be_reached() -> None:
    """But Pillow's, whose bound is Gradio's: the child process stands between."""
    floors = dict(re.findall(r"^([\w-]+)>=([\d.]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M))
    for one in ADVISORIES:
        if one["reachable"] and one["package"] in floors and one["range"] != "<13":
            assert Version(floors[one["package"]]) not in SpecifierSet(one["range"]), one
