"""Files of the Hugging Face Hub, there and back: `hf://owner/repo/file[@revision]`, cached and checked."""

import fnmatch
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import constants, errors

from .native import sha256_of
from .settings import LARGEST_SIDE_FILE, SIDE_FILES
from .tensors import CheckpointError

__all__ = ["OWNER", "VISITOR", "HubAccess", "discard", "fetch", "is_hub_address", "upload"]

_ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[^@]+?)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class HubAccess:
    """What may be fetched for whoever gave the address.

    Attributes:
        token: as huggingface_hub takes it: None for the token of whoever runs this program, False for none.
        most_bytes: of one file. The Hub is asked for the size before a byte of it is fetched.
        any_format: fetch formats other than safetensors too, and files that a pattern finds.
        cache: the folder that keeps what was fetched; None for huggingface_hub's own.
        most_cached: bytes that this folder may hold; the repository that was fetched longest ago goes first.
    """

    token: bool | None = None
    most_bytes: int = 16 << 30
    any_format: bool = True
    cache: Path | None = None
    most_cached: int | None = None


OWNER = HubAccess()
"""For whoever runs the program: their own token, any format."""

VISITOR = HubAccess(
    token=False,
    most_bytes=96 << 20,
    any_format=False,
    cache=Path(constants.HF_HOME) / "transflow-visitors",
    most_cached=4 << 30,
)
"""For addresses that strangers give: no token, safetensors of at most 96 MiB, in a cache apart of at most 4 GiB: what
the owner's token once fetched is in the other one, and would be found there without it. In memory a prior takes up to
five times its file: weights that are stored as halves, and those of the fused flow."""


def is_hub_address(name: str | Path) -> bool:
    """Does this name something on the Hub?"""
    return str(name).startswith("hf:")


def fetch(address: str, sha256: str | None = None, access: HubAccess = OWNER) -> Path:
    """Download a checkpoint, or find it in the cache, and return where it lies.

    A file that was fetched before is not fetched again. Progress goes to standard error (set
    HF_HUB_DISABLE_PROGRESS_BARS=1 for none). Configurations beside the file come with it. The file's name may hold a
    `*` that one file of the repository fits. For a native folder, name its `model.safetensors`.

    Args:
        address: `hf://owner/repo/path/to/file`, with `@revision` (a commit, tag or branch) to pin it.
        sha256: what the file's digest must be, in hexadecimal.
        access: whose token is used, and what may be fetched.

    Raises:
        FileNotFoundError: the Hub has no such repository, revision or file.
        CheckpointError: the address is malformed, the Hub cannot be reached and the file is not cached, access is
            refused, the file is larger than allowed or of another format, or the checksum is another.
    """
    match = _ADDRESS.fullmatch(str(address))
    if not match or ".." in match["file"].split("/"):
        raise CheckpointError(f"{address}: expected hf://owner/repo/path/to/file, with @revision to pin it")
    repo, name, revision = match["repo"], match["file"], match["revision"]
    if not access.any_format and (not name.endswith(".safetensors") or "*" in name):
        raise CheckpointError(f"{address}: only a .safetensors file is fetched here; name it without a pattern")
    if "*" in name:
        name = _only_match(address, repo, name, revision, access)
    hub = _Repository(address, repo, revision, access)
    path = hub.download(name)
    _make_room(access, path)
    if sha256 is not None and (found := sha256_of(path)) != sha256:
        raise CheckpointError(f"{address}: its sha256 is {found}, expected {sha256}: the file is not the known one")
    return _with_side_files(hub, path, name)


def upload(folder: Path, repo: str, *, private: bool, token: str | None, message: str) -> None:
    """Send a folder's files to a model repository, in one commit; a repository that is not there is made.

    Raises CheckpointError or FileNotFoundError where the Hub refuses, or cannot be reached.
    """
    api, address = huggingface_hub.HfApi(token=token), f"hf://{repo}"
    _ask(address, api.create_repo, repo, private=private, exist_ok=True)
    _ask(address, api.upload_folder, repo_id=repo, folder_path=folder, commit_message=message)


def discard(path: Path) -> None:
    """Take a file, or the weights of a folder, that `fetch` gave out of the cache again: it is no prior."""
    file = path / "model.safetensors" if path.is_dir() else path
    if file.is_symlink():  # in the cache, names are links to contents
        file.resolve().unlink(missing_ok=True)
    file.unlink(missing_ok=True)


@dataclass
class _Repository:
    """One revision of a repository, asked as an access allows."""

    address: str
    repo: str
    revision: str | None
    access: HubAccess
    offline: bool = False

    def _size(self, name: str) -> int | None:
        url = huggingface_hub.hf_hub_url(self.repo, name, revision=self.revision)
        return huggingface_hub.get_hf_file_metadata(url, token=self.access.token).size

    def download(self, name: str) -> Path:
        """The file, once its size is known; where the Hub cannot be reached, from the cache."""
        if not self.offline:
            try:
                self._check(name, _ask(self.address, self._size, name))
            except _Unreachable:
                self.offline = True  # ask no more: every try waits for seconds
        path = Path(_ask(self.address, self._get, name))
        self._check(name, path.stat().st_size)  # what came, whatever was said
        return path

    def _get(self, name: str) -> str:
        return huggingface_hub.hf_hub_download(
            self.repo,
            name,
            revision=self.revision,
            token=self.access.token,
            local_files_only=self.offline,
            cache_dir=self.access.cache,
        )

    def _check(self, name: str, size: int | None) -> None:
        if size is None:
            raise CheckpointError(f"{self.address}: the Hub does not tell the size of {name}")
        if size > self.access.most_bytes:
            raise CheckpointError(
                f"{self.address}: {name} has {size / 2**20:,.0f} MiB, and at most "
                f"{self.access.most_bytes / 2**20:,.0f} MiB are fetched here"
            )


def _make_room(access: HubAccess, path: Path) -> None:
    """Keep the cache within its bounds: whole repositories go, but the one that `path` lies in."""
    if access.cache is None or access.most_cached is None or not access.cache.is_dir():
        return
    kept = {
        folder: (folder.stat().st_mtime, sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file()))
        for folder in access.cache.glob("models--*")
    }
    total = sum(size for _, size in kept.values())
    for folder in sorted(kept, key=lambda folder: kept[folder][0]):
        if total > access.most_cached and folder not in path.parents:
            shutil.rmtree(folder, ignore_errors=True)
            total -= kept[folder][1]
    for folder in kept:
        if folder in path.parents:
            folder.touch()  # it was used now


def _with_side_files(hub: _Repository, path: Path, name: str) -> Path:
    folder, _, base = name.rpartition("/")
    native = base == "model.safetensors"
    folders = {folder} | ({folder.rpartition("/")[0]} if folder.rpartition("/")[2] == "training_checkpoints" else set())
    # The snapshot's folder is the commit, so that a branch that moves meanwhile gives no mixture.
    commit = path.parents[name.count("/")].name
    revision = commit if re.fullmatch(r"[0-9a-f]{40}", commit) else hub.revision
    beside = replace(hub, revision=revision, access=replace(hub.access, most_bytes=LARGEST_SIDE_FILE))
    for side in ("config.json", "typicality.json", "SHA256SUMS") if native else SIDE_FILES:
        for place in sorted(folders):
            try:
                beside.download(f"{place}/{side}" if place else side)
            except (CheckpointError, FileNotFoundError):
                continue  # most repositories have none of them; what it would have told is asked for
    return path.parent if native and (path.parent / "config.json").is_file() else path


def _only_match(address: str, repo: str, pattern: str, revision: str | None, access: HubAccess) -> str:
    try:
        names = _ask(address, huggingface_hub.HfApi(token=access.token).list_repo_files, repo, revision=revision)
    except CheckpointError as error:
        try:
            folder = Path(
                huggingface_hub.snapshot_download(
                    repo, revision=revision, local_files_only=True, cache_dir=access.cache
                )
            )
        except Exception:
            raise error from None
        names = [str(p.relative_to(folder).as_posix()) for p in folder.rglob("*") if p.is_file()]
    found = fnmatch.filter(names, pattern)
    if len(found) != 1:
        listed = ", ".join(found[:5]) or "none"
        raise CheckpointError(f"{address}: {len(found)} files fit ({listed}); name one")
    return found[0]


class _Unreachable(CheckpointError):
    """There is no network, or none is wanted."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address}: not in the local cache, and the Hub cannot be reached (no network, or HF_HUB_OFFLINE is set). "
            "Load it once with a connection; after that it works offline"
        )


def _ask(address: str, question: Callable[..., Any], *arguments: str, **options: Any) -> Any:
    """Ask the Hub, and put its refusals into words."""
    try:
        return question(*arguments, **options)
    except (errors.LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise _Unreachable(address) from error
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
        words = (error.strerror if isinstance(error, OSError) else None) or str(error).strip()
        reason = words.split("\n")[0][:300]
        raise CheckpointError(f"{address}: the Hub did not give it ({type(error).__name__}: {reason})") from error
    except Exception as error:  # of whichever HTTP client this version of the library has: no connection, no answer
        raise _Unreachable(address) from error
