"""What pyproject.toml cannot say: which folders become which packages, and what an index shows of the project.

The page and the assets lie beside `transflow_core/` in the checkout, as a Space wants them. Installed they are
`transflow_core.demo` and `transflow_core.assets`, so that nothing called `demo` lands at the top level.

An index shows the README. Its links and pictures need whole addresses: a release is built with the address of the
repository in TRANSFLOW_REPOSITORY. Without it, links are words and pictures are left out.
"""

import os
import re
from pathlib import Path

from setuptools import find_namespace_packages, find_packages, setup

_PAGE = ["demo", *(f"demo.{name}" for name in find_namespace_packages("demo", exclude=["*__pycache__*"]))]
_REPOSITORY = os.environ.get("TRANSFLOW_REPOSITORY", "").rstrip("/")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)")


def _addressed(link: re.Match[str]) -> str:
    picture, words, place = link.groups()
    if not _REPOSITORY:
        return "" if picture else words
    return f"{picture}[{words}]({_REPOSITORY}/{'raw' if picture else 'blob'}/main/{place})"


# Before the title stands what the Space is told.
_README = Path("README.md").read_text(encoding="utf-8").split("---\n", 2)[2].lstrip()
_URLS = {
    "Repository": _REPOSITORY,
    "Documentation": f"{_REPOSITORY}/tree/main/docs",
    "Changelog": f"{_REPOSITORY}/blob/main/CHANGELOG.md",
    "Issues": f"{_REPOSITORY}/issues",
}

setup(
    long_description=_LINK.sub(_addressed, _README),
    long_description_content_type="text/markdown",
    project_urls={"Paper": "https://arxiv.org/abs/1911.13270"} | (_URLS if _REPOSITORY else {}),
    packages=[
        *find_packages(include=["transflow_core*"]),
        *(f"transflow_core.{name}" for name in _PAGE),
        "transflow_core.assets",
    ],
    package_dir={"transflow_core.demo": "demo", "transflow_core.assets": "assets"},
    package_data={
        "transflow_core": ["py.typed", "*.pyi"],
        "transflow_core.priors": ["*.json"],
        "transflow_core.faces": ["centerface.*"],
        "transflow_core.training": ["*.md"],
        "transflow_core.images": ["fonts/*"],
        "transflow_core.demo": ["**/*.html", "**/*.js", "**/*.css", "**/*.svg", "**/*.png", "**/*.jpg"],
        # What a prior and an example need when they are used; conformance data and pictures of samples stay behind.
        "transflow_core.assets": [
            "models/*/config.json",
            "models/*/model.safetensors",
            "models/*/typicality.json",
            "models/*/SHA256SUMS",
            "models/*/MODEL_CARD.md",
            "examples/**/*.png",
            "examples/*.json",
            "examples/**/*.md",
        ],
    },
    include_package_data=False,
)
