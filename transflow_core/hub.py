"""Files of the Hugging Face Hub, there and back: `hf://owner/repo/file[@revision]`, cached and checked; cards."""

import fnmatch
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import huggingface_hub
from huggingface_hub import constants, errors

from .checkpoints import CheckpointError
from .checkpoints.settings import LARGEST_SIDE_FILE, SIDE_FILES

_ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[^@]+?)(?:@(?P<revision>[\w./-]+))?")
CARD, SAMPLES = "README.md", "samples.png"


@dataclass(frozen=True)
class HubAccess:
    """What may be fetched for whoever gave the address.

    Attributes:
        token: None for the token of whoever runs this program, False for none.
        most_bytes: of one file. The Hub is asked for the size before a byte of it is fetched.
        any_format: fetch formats other than safetensors too, and files that a pattern finds.
        cache: the folder that keeps what was fetched; None for huggingface_hub's own.
        most_cached: bytes that such a folder may hold; with more it is emptied.
    """

    token: bool | None = None
    most_bytes: int = 16 << 30
    any_format: bool = True
    cache: Path | None = None
    most_cached: int = 4 << 30


OWNER = HubAccess()
"""For whoever runs the program: their own token, any format."""

VISITOR = HubAccess(
    token=False, most_bytes=96 << 20, any_format=False, cache=Path(constants.HF_HOME) / "transflow-visitors"
)
"""For addresses that strangers give: no token, safetensors of at most 96 MiB, in a cache apart of at most 4 GiB: what
the owner's token once fetched is in the other one, and would be found there without it. In memory a prior takes up to
five times its file: weights that are stored as halves, and those of the fused flow."""


def is_hub_address(name: str | Path) -> bool:
    """Does this name something on the Hub?"""
    return str(name).startswith("hf:")


def fetch(address: str, access: HubAccess = OWNER) -> Path:
    """Download a file with the configurations beside it, or find it in the cache, and return where it lies.

    Args:
        address: `hf://owner/repo/path/to/file`, with `@revision` (a commit, tag or branch) to pin it. The file's name
            may hold a `*` that one file fits. For a native folder, name its `model.safetensors`.
        access: whose token is used, and what may be fetched.

    Raises:
        FileNotFoundError: the Hub has no such repository, revision or file.
        CheckpointError: the address is malformed, several files fit, the Hub cannot be reached and the file is not
            cached, access is refused, or the file is too large or of another format.
    """
    match = _ADDRESS.fullmatch(address)
    if not match or ".." in match["file"].split("/"):
        raise CheckpointError(f"{address}: expected hf://owner/repo/path/to/file, with @revision to pin it")
    repo, name, revision = match["repo"], match["file"], match["revision"]
    if not access.any_format and (not name.endswith(".safetensors") or "*" in name):
        raise CheckpointError(f"{address}: only a .safetensors file is fetched here; name it without a pattern")
    api, offline = huggingface_hub.HfApi(token=access.token), False
    try:
        info = _ask(address, api.model_info, repo, revision=revision, files_metadata=True)
        sizes = {file.rfilename: file.size for file in info.siblings or ()}
        name = _only_match(address, name, sizes)
        _check_size(address, sizes[name], access)
        wanted = [name, *(side for side in _beside(name) if (sizes.get(side) or 0) <= LARGEST_SIDE_FILE)]
    except _UnreachableError:
        offline, wanted = True, [name, *_beside(name)]
    where = {"token": access.token, "cache_dir": access.cache, "local_files_only": offline}
    found = _ask(address, huggingface_hub.snapshot_download, repo, revision=revision, allow_patterns=wanted, **where)
    if offline:
        cached = [file.relative_to(found).as_posix() for file in Path(found).rglob("*")]
        if not fnmatch.filter(cached, name):
            raise _UnreachableError(address)
        name = _only_match(address, name, cached)
    path = Path(found) / name
    _check_size(address, path.stat().st_size, access)  # what came, whatever was said
    _make_room(access, path)
    return path


def forget(path: Path) -> None:
    """Remove what `fetch` gave from the cache."""
    for content in {path.resolve(), path}:  # in the cache, names are links to contents
        content.unlink(missing_ok=True)


def push_to_hub(
    thing: Any, repo_id: str, *, card: str = "", private: bool = True, token: str | None = None, **head: Any
) -> str:
    """Upload a prior, a posterior or a classifier with a card, in one commit; return its address.

    Who can read the repository can see the images of a posterior, and those of a classifier's classes of one. So a
    repository that is not there yet is made private.

    Args:
        repo_id: "owner/name"; it is made if it is not there.
        card: Markdown, with or without a YAML head; by default a short one.
        private: of a repository that is made now.
        token: by default that of `hf auth login`.
        head: see `make_card`; for a prior also `half`.

    Returns:
        `hf://owner/name/FILE`, for `load_prior(address)`, `Posterior.load(fetch(address))` or
        `FewShotClassifier.load(fetch(address), prior)`.

    Raises CheckpointError or FileNotFoundError if the Hub refuses or cannot be reached.
    """
    kind = "model" if hasattr(thing, "save_pretrained") else "classifier" if hasattr(thing, "classes") else "posterior"
    api, address = huggingface_hub.HfApi(token=token), f"hf://{repo_id}/{kind}.safetensors"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if kind == "model":
            thing.save_pretrained(folder, repo_id=repo_id, card=card, **head)
            written = huggingface_hub.ModelCard.load(folder / CARD)
            # The Hub wants the address of a thumbnail, not its name.
            written.data["thumbnail"] = f"https://huggingface.co/{repo_id}/resolve/main/{SAMPLES}"
        else:
            thing.save(folder / f"{kind}.safetensors")
            tells = f" that tells {', '.join(thing.classes)} apart" if kind == "classifier" else ""
            card = card or (
                f"# {repo_id.split('/')[-1]}\n\nA {kind} of Transflow Studio{tells}. It holds latents. The prior that "
                f"it was made with makes images of them again.\n\nAddress: `{address}`\n"
            )
            written = make_card(card, tags=[kind], **head)
        written.save(folder / CARD)
        _ask(address, api.create_repo, repo_id, private=private, exist_ok=True)
        message = "Upload from Transflow Studio"
        _ask(address, api.upload_folder, repo_id=repo_id, folder_path=folder, commit_message=message)
    return address


def make_card(text: str, *, licence: str = "", tags: Sequence[str] = (), **head: Any) -> "huggingface_hub.ModelCard":
    """A card of Markdown. A YAML head that the text has already is left as it is.

    Args:
        licence: an identifier of the Hub, such as "mit"; anything else is "other", and told in the card's own words.
        tags: beside those that all of ours have.
        head: other fields of `huggingface_hub.ModelCardData`, such as `datasets` and `base_model`.
    """
    if not text.startswith("---\n"):
        known = re.fullmatch(r"[a-z][a-z0-9.-]*", licence) is not None
        data = huggingface_hub.ModelCardData(
            library_name="transflow-studio",
            license=licence if known else "other",
            license_name=None if known else "see-card",
            license_link=None if known else CARD,
            pipeline_tag="unconditional-image-generation",
            tags=["transflow-learning", "normalizing-flow", *tags],
            **head,
        )
        text = f"---\n{data.to_yaml()}\n---\n\n{text}"
    return huggingface_hub.ModelCard(text)


def _only_match(address: str, pattern: str, names: Iterable[str]) -> str:
    found = fnmatch.filter(names, pattern)
    if not found:
        raise FileNotFoundError(f"{address}: there is no such file")
    if len(found) > 1:
        raise CheckpointError(f"{address}: {len(found)} files fit ({', '.join(found[:5])}); name one")
    return found[0]


def _check_size(address: str, size: int | None, access: HubAccess) -> None:
    if size is None or size > access.most_bytes:
        length = "the Hub does not tell its size" if size is None else f"it has {size / 2**20:,.0f} MiB"
        raise CheckpointError(f"{address}: {length}, and at most {access.most_bytes / 2**20:,.0f} MiB are fetched here")


def _beside(name: str) -> list[str]:
    """What may lie beside a file and tell more of it."""
    native = ("config.json", "typicality.json", "SHA256SUMS")
    return [str(PurePosixPath(name).with_name(one)) for one in (*native, *SIDE_FILES)]


def _make_room(access: HubAccess, path: Path) -> None:
    """Empty a cache over its bound, but for the repository that `path` lies in."""
    if access.cache is None:
        return
    size = sum(file.lstat().st_size for file in access.cache.rglob("*") if file.is_file())
    for folder in access.cache.glob("models--*") if size > access.most_cached else ():
        if folder not in path.parents:
            shutil.rmtree(folder, ignore_errors=True)


class _UnreachableError(CheckpointError):
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
        raise _UnreachableError(address) from error
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"{address}: access must be asked for on the repository's page, and `hf auth login`"
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise FileNotFoundError(f"{address}: the Hub has no such repository or revision, or it is private") from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError, ValueError) as error:
        words = (error.strerror if isinstance(error, OSError) else None) or str(error).strip()
        reason = words.split("\n")[0][:300]
        raise CheckpointError(f"{address}: the Hub did not give it ({type(error).__name__}: {reason})") from error
    except Exception as error:  # of whichever HTTP client this version of the library has: no connection, no answer
        raise _UnreachableError(address) from error
