"""The folder that a Hugging Face Space, or a container, is made of: what runs, and what its README names.

    python -m deploy.space build/space                 # the folder alone
    python -m deploy.space build/space --upload OWNER/NAME

It is built from the files that git tracks, so that nobody's photographs or runs slip in. A `git push` of the checkout's
own history would be refused by the Hub, which wants weights in LFS or Xet from the first commit on; `hf upload` sends
the folder by itself, and `.gitattributes` tells a clone which files are large.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

__all__ = ["build", "extra", "main"]

_ROOT = Path(__file__).resolve().parent.parent

#: What a host needs, as patterns of the tracked files' paths.
_WANTED = re.compile(
    r"((app|zero_gpu)\.py|(requirements|overrides)\.txt|[A-Z]+\.md|LICENSE|CITATION\.cff"
    r"|transflow_core/.+|demo/.+|docs/.+\.(md|jpg|svg|ipynb)|examples/.+"
    r"|assets/examples/.+"
    r"|assets/models/[^/]+/(config\.json|model\.safetensors|typicality\.json|SHA256SUMS|MODEL_CARD\.md))"
)
#: The Hub refuses a plain file of more than 10 MB, and binary ones of more than 1 MB.
_ATTRIBUTES = "".join(
    f"*.{kind} filter=lfs diff=lfs merge=lfs -text\n" for kind in ("safetensors", "onnx", "npz", "mp4", "webp")
)


def build(folder: Path, repo: str = "") -> list[Path]:
    """Write the Space's folder; what stood there goes. Returns the files, relative to it.

    The card of a Space whose OWNER/NAME is given shows a picture in links to it.

    Raises ValueError if the folder is not empty and holds no Space that was built here: a clone was not.
    """
    built = (folder / ".gitattributes").is_file() and not (folder / ".git").exists()
    if folder.exists() and any(folder.iterdir()) and not built:
        raise ValueError(f"{folder} is not empty, and was not built by this command: choose another folder")
    shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=_ROOT, capture_output=True, check=True).stdout.decode()
    files = [Path(name) for name in listed.split("\0") if _WANTED.fullmatch(name)]
    for file in files:
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_ROOT / file, target)
    if repo:
        picture = f"thumbnail: https://huggingface.co/spaces/{repo}/resolve/main/docs/images/overview.jpg"
        card = (folder / "README.md").read_text(encoding="utf-8")
        (folder / "README.md").write_text(card.replace("---\n", f"---\n{picture}\n", 1), encoding="utf-8")
    (folder / ".gitattributes").write_text(_ATTRIBUTES, encoding="utf-8")
    # A Space installs one file. What `overrides.txt` has it cannot take, since Gradio asks for an older version.
    pinned = (_ROOT / "constraints.txt").read_text(encoding="utf-8")
    with (folder / "requirements.txt").open("a", encoding="utf-8") as requirements:
        requirements.write("".join(f"{line}\n" for line in [*extra("video"), *pinned.splitlines()]))
    return [*files, Path(".gitattributes")]


def extra(name: str) -> list[str]:
    """The requirements of an extra. Raises KeyError if there is none of that name."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project["project"]["optional-dependencies"][name]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m deploy.space`."""
    parser = argparse.ArgumentParser(prog="python -m deploy.space", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the Space's files go")
    parser.add_argument("--upload", metavar="OWNER/NAME", help="send it there; `hf auth login` comes first")
    options = parser.parse_args(arguments)
    files = build(options.folder, options.upload or "")
    size = sum((options.folder / file).stat().st_size for file in files)
    print(f"{options.folder}: {len(files)} files, {size / 2**20:.0f} MiB")
    if options.upload:
        command = ["hf", "upload", options.upload, str(options.folder), ".", "--repo-type", "space"]
        subprocess.run([*command, "--delete", "*", "--commit-message", "Transflow Studio"], check=True)


if __name__ == "__main__":
    main()
