"""Files from the Hugging Face Hub: `hf://owner/repo/path/to/file[@revision]`, cached, with a checksum where known."""

import fnmatch
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import errors

from .base import CheckpointError
from .peers.options import SIDE_FILES

__all__ = ["fetch", "is_hub_address"]

_ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[^@]+?)(?:@(?P<revision>[\w./-]+))?")


def is_hub_address(name: str | Path) -> bool:
    """Does this name something on the Hub?"""
    return str(name).startswith("hf:")


def fetch(address: str, sha256: str | None = None) -> Path:
    """Download a checkpoint, or find it in the cache, and return where it lies.

    A file that was fetched before is not fetched again. Progress goes to standard error (set
    HF_HUB_DISABLE_PROGRESS_BARS=1 for none). Configurations beside the file come with it. The file's name may hold a
    `*` that one file of the repository fits. For a native folder, name its `model.safetensors`.

    Args:
        address: `hf://owner/repo/path/to/file`, with `@revision` (a commit, tag or branch) to pin it.
        sha256: what the file's digest must be, in hexadecimal.

    Raises:
        FileNotFoundError: the Hub has no such repository, revision or file.
        CheckpointError: the address is malformed, the Hub cannot be reached and the file is not cached, access is
            refused, or the checksum is another.
    """
    match = _ADDRESS.fullmatch(str(address))
    if not match or ".." in match["file"].split("/"):
        raise CheckpointError(f"{address}: expected hf://owner/repo/path/to/file, with @revision to pin it")
    repo, name, revision = match["repo"], match["file"], match["revision"]
    if "*" in name:
        name = _only_match(address, repo, name, revision)
    path = Path(_ask(address, huggingface_hub.hf_hub_download, repo, name, revision=revision))
    if sha256 is not None and (found := _digest(path)) != sha256:
        raise CheckpointError(f"{address}: its sha256 is {found}, expected {sha256}: the file is not the known one")
    return _with_side_files(path, repo, name, revision)


def _with_side_files(path: Path, repo: str, name: str, revision: str | None) -> Path:
    folder, _, base = name.rpartition("/")
    native = base == "model.safetensors"
    folders = {folder} | ({folder.rpartition("/")[0]} if folder.rpartition("/")[2] == "training_checkpoints" else set())
    # The snapshot's folder is the commit, so that a branch that moves meanwhile gives no mixture.
    commit = path.parents[name.count("/")].name
    revision = commit if re.fullmatch(r"[0-9a-f]{40}", commit) else revision
    for side in ("config.json", "typicality.json") if native else SIDE_FILES:
        for place in sorted(folders):
            try:
                huggingface_hub.hf_hub_download(repo, f"{place}/{side}" if place else side, revision=revision)
            except (errors.EntryNotFoundError, errors.LocalEntryNotFoundError):
                continue  # most repositories have none of them
            except (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, OSError):
                continue  # the weights are here; what the side file would have told is asked for
    return path.parent if native and (path.parent / "config.json").is_file() else path


def _only_match(address: str, repo: str, pattern: str, revision: str | None) -> str:
    try:
        names = _ask(address, huggingface_hub.HfApi().list_repo_files, repo, revision=revision)
    except CheckpointError as error:
        try:
            folder = Path(huggingface_hub.snapshot_download(repo, revision=revision, local_files_only=True))
        except Exception:
            raise error from None
        names = [str(p.relative_to(folder).as_posix()) for p in folder.rglob("*") if p.is_file()]
    found = fnmatch.filter(names, pattern)
    if len(found) != 1:
        listed = ", ".join(found[:5]) or "none"
        raise CheckpointError(f"{address}: {len(found)} files fit ({listed}); name one")
    return found[0]


def _ask(address: str, question: Callable[..., Any], *arguments: str, **options: Any) -> Any:
    """Ask the Hub, and put its refusals into words."""
    try:
        return question(*arguments, **options)
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise CheckpointError(
            f"{address}: not in the local cache, and the Hub cannot be reached (no network, or HF_HUB_OFFLINE is set). "
            "Load it once with a connection; after that it works offline"
        ) from error
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"{address}: access must be asked for on the repository's page, and `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{address}: the repository has no such revision") from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(f"{address}: the Hub has no such repository, or it is private") from error
    except errors.EntryNotFoundError as error:
        raise FileNotFoundError(f"{address}: the repository has no such file") from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0][:300]
        raise CheckpointError(f"{address}: the Hub did not give it ({type(error).__name__}: {reason})") from error


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
