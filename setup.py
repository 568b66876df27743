"""Which folders of the checkout become which packages; all else is in pyproject.toml.

The page and the assets lie beside `transflow_core/` in the checkout, as a Space wants them. Installed they are
`transflow_core.demo` and `transflow_core.assets`, so that nothing called `demo` lands at the top level.
"""

from setuptools import find_namespace_packages, find_packages, setup

_PAGE = ["demo", *(f"demo.{name}" for name in find_namespace_packages("demo", exclude=["*__pycache__*"]))]

setup(
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
