"""Write constraints.txt anew: the newest versions that pip finds for what runs, with the extras of a Space.

    python -m deploy.constraints

CI installs these versions, and so do the container and the Space. What `deploy/advisories.json` says of them is tested.
Where a database of advisories can be reached, audit them before a release:

    pip install pip-audit && pip-audit --no-deps --disable-pip -r constraints.txt
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .space import extra

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS, OVERRIDES = ROOT / "constraints.txt", ROOT / "overrides.txt"
_HEAD = "# What CI ran, by `python -m deploy.constraints`: `pip install -r requirements.txt -c constraints.txt`.\n"


def pins(*files: Path) -> dict[str, str]:
    """Package to version, of files of lines `name==version`."""
    lines = [line.partition("#")[0].strip() for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return dict(line.split("==") for line in lines if line)


def main() -> None:
    """Entry point of `python -m deploy.constraints`."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    wanted = ["-r", str(ROOT / "requirements.txt"), *extra("video"), *extra("mcp")]
    report = json.loads(subprocess.run([*command, *wanted], capture_output=True, check=True).stdout)
    found = {one["metadata"]["name"].lower().replace("_", "-"): one["metadata"]["version"] for one in report["install"]}
    # torch's builds for one device are versions such as 2.13.0+cpu.
    lines = [f"{name}=={found[name].partition('+')[0]}\n" for name in sorted(found) if name not in pins(OVERRIDES)]
    CONSTRAINTS.write_text(_HEAD + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
