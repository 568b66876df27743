"""Priors from the Hub, with the Hub replaced: addresses, pinning, side files, checksums, refusals, offline."""

import hashlib
import os
from dataclasses import replace
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

from transflow_core.checkpoints import KNOWN_PRIORS, VISITOR, CheckpointError, fetch, is_hub_address, known_prior
from transflow_core.checkpoints import known as known_module
from transflow_core.prior import load_prior

from ..helpers import make_tiny_prior
from .writers import GlowIP

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Repositories in a folder, served as hf_hub_download serves them: a snapshot's folder for each commit."""

    def __init__(self, root, monkeypatch):
        self.snapshot = root / "snapshots" / COMMIT
        self.asked, self.tokens, self.caches, self.sizes = [], set(), set(), {}
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", self.download)
        monkeypatch.setattr(huggingface_hub, "hf_hub_url", lambda repo, name, revision=None: name)
        monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", self.metadata)
        monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda api, repo, revision=None: self.list(api))

    def metadata(self, name, token=None):
        """What the Hub says of a file: its size, or what the test makes it say."""
        self.tokens.add(token)
        if not (self.snapshot / name).is_file():
            raise errors.EntryNotFoundError(name)
        return SimpleNamespace(size=self.sizes.get(name, (self.snapshot / name).stat().st_size))

    def download(self, repo_id, filename, revision=None, token=None, local_files_only=False, cache_dir=None):
        self.caches.add(cache_dir)
        self.asked.append((repo_id, filename, revision))
        self.tokens.add(token)
        if not (self.snapshot / filename).is_file():
            raise errors.EntryNotFoundError(filename)
        return str(self.snapshot / filename)

    def list(self, api):
        self.tokens.add(api.token)
        return [p.relative_to(self.snapshot).as_posix() for p in self.snapshot.rglob("*") if p.is_file()]

    def folder(self, name=""):
        (self.snapshot / name).mkdir(parents=True, exist_ok=True)
        return self.snapshot / name


@pytest.fixture
def hub(tmp_path, monkeypatch):
    return Hub(tmp_path, monkeypatch)


def test_a_native_file_is_fetched_and_loaded(hub):
    prior = make_tiny_prior()
    prior.save(hub.folder() / "prior.safetensors")
    again = load_prior("hf://owner/faces/prior.safetensors", device="cpu")
    assert again.flow.config == prior.flow.config
    assert hub.asked[0] == ("owner/faces", "prior.safetensors", None)


def test_a_native_folder_comes_with_its_configuration(hub):
    make_tiny_prior().save(hub.folder() / "small")
    assert load_prior("hf://owner/faces/small/model.safetensors", device="cpu").image_size == 16


def test_a_pinned_revision_pins_the_files_beside_it_too(hub):
    GlowIP(steps=(2, 1)).save(hub.folder("models"))
    prior = load_prior("hf://owner/glow/models/glowmodel.pt@v1.0", device="cpu")
    assert (prior.image_size, prior.pixels.bits) == (16, 5)
    assert hub.asked[0] == ("owner/glow", "models/glowmodel.pt", "v1.0")
    assert ("owner/glow", "models/configs.json", COMMIT) in hub.asked  # the commit that v1.0 was then


def test_a_known_prior_is_loaded_by_its_name(hub):
    path = GlowIP(steps=(2, 1), size=64, width=3).save(hub.folder("training_checkpoints"))
    path.rename(path.with_name("ckpt-12.pt"))
    prior = load_prior("glow-celeba", device="cpu")
    assert prior.image_size == 64
    assert hub.asked[0] == ("tristan-deep/glow-celeba", "training_checkpoints/ckpt-12.pt", None)


def test_a_pattern_must_fit_one_file(hub):
    for name in ("a.pt", "b.pt"):
        (hub.folder() / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"2 files fit \(a\.pt, b\.pt\)|2 files fit"):
        fetch("hf://owner/glow/*.pt")
    with pytest.raises(CheckpointError, match="0 files fit"):
        fetch("hf://owner/glow/*.pb")


def test_a_checksum_that_differs_is_refused(hub):
    (hub.folder() / "model.pt").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert fetch("hf://owner/glow/model.pt", sha256=digest).read_bytes() == b"weights"
    with pytest.raises(CheckpointError, match="not the known one"):
        fetch("hf://owner/glow/model.pt", sha256="0" * 64)


@pytest.mark.parametrize(
    "address",
    [
        "hf://",
        "hf://owner",
        "hf://owner/repo",
        "hf://owner/repo/",
        "hf://o/r/../../x",
        "hf:/owner/repo/file",
        "hf://o/r/f@",
    ],
)
def test_a_malformed_address_is_refused_before_anything_is_asked(address, hub):
    with pytest.raises(CheckpointError, match="expected hf://owner/repo/path"):
        load_prior(address)
    assert not hub.asked


def response(status):
    import httpx

    return httpx.Response(status, request=httpx.Request("GET", "hub"))


REFUSALS = {
    "no file": (lambda: errors.EntryNotFoundError("x"), FileNotFoundError, "no such file"),
    "no repository": (
        lambda: errors.RepositoryNotFoundError("x", response=response(404)),
        FileNotFoundError,
        "private",
    ),
    "no revision": (lambda: errors.RevisionNotFoundError("x", response=response(404)), FileNotFoundError, "revision"),
    "gated": (lambda: errors.GatedRepoError("x", response=response(403)), CheckpointError, "access"),
    "server": (lambda: errors.HfHubHTTPError("x", response=response(500)), CheckpointError, "did not give"),
    "offline": (lambda: errors.LocalEntryNotFoundError("x"), CheckpointError, "works offline"),
    "offline by choice": (lambda: errors.OfflineModeIsEnabled("x"), CheckpointError, "HF_HUB_OFFLINE"),
    "disk": (lambda: OSError("no space left"), CheckpointError, "no space left"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_put_into_words(case, hub, monkeypatch):
    error, kind, message = REFUSALS[case]
    (hub.folder() / "model.pt").write_bytes(b"weights")

    def refuse(*_, **__):
        raise error()

    for question in ("hf_hub_download", "get_hf_file_metadata"):
        monkeypatch.setattr(huggingface_hub, question, refuse)
        with pytest.raises(kind, match=message):
            fetch("hf://owner/glow/model.pt")


def test_offline_a_file_that_was_never_fetched_is_refused_and_a_cached_one_is_used(tmp_path, monkeypatch):
    """The real client, with HF_HUB_OFFLINE: no network is touched."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="works offline"):
        fetch("hf://owner/glow/prior.safetensors")
    with pytest.raises(CheckpointError, match="works offline"):
        fetch("hf://owner/glow/*.safetensors")
    repository = tmp_path / "models--owner--glow"
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    make_tiny_prior().save(repository / "snapshots" / COMMIT / "prior.safetensors")
    assert load_prior("hf://owner/glow/prior.safetensors", device="cpu").image_size == 16
    assert load_prior("hf://owner/glow/*.safetensors", device="cpu").image_size == 16


def test_a_visitors_address_gets_no_token_and_no_other_format(hub):
    make_tiny_prior().save(hub.folder() / "small")
    assert load_prior("hf://owner/faces/small/model.safetensors", device="cpu", access=VISITOR).image_size == 16
    assert hub.tokens == {False} and len(hub.asked) > 1  # the files beside it, too
    (hub.folder() / "model.pt").write_bytes(b"x")
    hub.asked.clear()
    for name in ("model.pt", "*.safetensors"):
        with pytest.raises(CheckpointError, match=r"only a \.safetensors file"):
            load_prior(f"hf://owner/faces/{name}", access=VISITOR)
    assert not hub.asked


def test_a_visitors_pickle_is_not_opened_whatever_it_is_called(hub, monkeypatch):
    path = GlowIP(steps=(2, 1), size=64, width=3).save(hub.folder())
    path.rename(path.with_name("prior.safetensors"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(CheckpointError, match="not a safetensors file, and no other format"):
        load_prior("hf://owner/faces/prior.safetensors", access=VISITOR)


def test_a_visitors_files_lie_apart_from_what_the_owners_token_fetched(hub):
    make_tiny_prior().save(hub.folder() / "prior.safetensors")
    load_prior("hf://owner/faces/prior.safetensors", device="cpu", access=VISITOR)
    assert hub.caches == {VISITOR.cache} and VISITOR.cache is not None
    hub.caches.clear()
    load_prior("hf://owner/faces/prior.safetensors", device="cpu")
    assert hub.caches == {None}


def test_a_visitors_cache_holds_so_much_and_the_oldest_goes(hub, tmp_path):
    access = replace(VISITOR, cache=tmp_path / "visitors", most_cached=2500)
    for age, name in enumerate(("models--a--new", "models--a--old", "models--a--older")):
        (access.cache / name).mkdir(parents=True)
        (access.cache / name / "blob").write_bytes(bytes(1000))
        os.utime(access.cache / name, (1e9 - age, 1e9 - age))
    hub.snapshot = access.cache / "models--a--older" / "snapshots" / COMMIT
    (hub.folder() / "model.safetensors").write_bytes(bytes(100))
    fetch("hf://a/older/model.safetensors", access=access)
    # The one that was just asked for stays, whatever its age.
    assert sorted(folder.name for folder in access.cache.iterdir()) == ["models--a--new", "models--a--older"]


def test_the_owners_token_is_the_owners(hub):
    make_tiny_prior().save(hub.folder() / "prior.safetensors")
    load_prior("hf://owner/faces/*.safetensors", device="cpu")
    assert hub.tokens == {None}  # the one that huggingface_hub finds


def test_a_file_that_is_too_large_is_refused_before_a_byte_of_it_is_fetched(hub):
    make_tiny_prior().save(hub.folder() / "prior.safetensors")
    hub.sizes["prior.safetensors"] = VISITOR.most_bytes + 1
    with pytest.raises(CheckpointError, match=r"96 MiB are fetched"):
        load_prior("hf://owner/faces/prior.safetensors", access=VISITOR)
    hub.sizes["prior.safetensors"] = None
    with pytest.raises(CheckpointError, match="does not tell the size"):
        load_prior("hf://owner/faces/prior.safetensors", access=VISITOR)
    assert not hub.asked


def test_a_hub_that_sends_more_than_it_said_is_not_believed(hub):
    make_tiny_prior().save(hub.folder() / "prior.safetensors")
    hub.sizes["prior.safetensors"] = 10
    with pytest.raises(CheckpointError, match="are fetched here"):
        load_prior("hf://owner/faces/prior.safetensors", access=replace(VISITOR, most_bytes=1000))


def test_what_a_visitor_had_fetched_for_nothing_leaves_the_cache(hub, tmp_path):
    content = tmp_path / "blob"
    content.write_bytes(b"no prior")
    (hub.folder() / "prior.safetensors").symlink_to(content)
    with pytest.raises(CheckpointError):
        load_prior("hf://owner/faces/prior.safetensors", access=VISITOR)
    assert not content.exists() and not list(hub.snapshot.iterdir())


def test_an_unreachable_hub_is_asked_once(tmp_path, monkeypatch):
    """Not once for each file that may lie beside the weights: every try waits for seconds."""
    snapshot = tmp_path / "models--owner--glow" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (tmp_path / "models--owner--glow" / "refs").mkdir()
    (tmp_path / "models--owner--glow" / "refs" / "main").write_text(COMMIT)
    make_tiny_prior().save(snapshot / "small")
    asked = []

    def unreachable(*_, **__):
        asked.append(1)
        raise Unreachable

    class Unreachable(Exception):
        """As an HTTP client's, of which there is no telling."""

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)
    assert load_prior("hf://owner/glow/small/model.safetensors", device="cpu").image_size == 16
    with pytest.raises(CheckpointError, match="cannot be reached"):
        load_prior("hf://owner/glow/other.safetensors", device="cpu")
    assert len(asked) == 2


@pytest.mark.parametrize("content", [b"no prior", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"])
def test_no_error_tells_where_files_lie_here(hub, content, monkeypatch):
    (hub.folder("models") / "prior.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        load_prior("hf://owner/faces/models/prior.safetensors")
    assert "prior.safetensors" in str(error.value) and str(hub.snapshot.parent) not in str(error.value)

    def full(*_, **__):
        raise OSError(28, "No space left on device", str(hub.snapshot / "prior.safetensors"))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
    with pytest.raises(CheckpointError, match="No space left on device") as error:
        load_prior("hf://owner/faces/models/prior.safetensors")
    assert str(hub.snapshot) not in str(error.value)


def test_known_priors_are_told_apart_and_say_what_is_not_known():
    names = [prior.name for prior in KNOWN_PRIORS]
    assert len(set(names)) == len(names)
    for prior in KNOWN_PRIORS:
        document = prior.to_dict()
        assert all(document[key] for key in ("title", "address", "format", "licence", "hardware"))
        assert prior.fetchable == is_hub_address(prior.address)
        assert prior.sha256 is None or len(prior.sha256) == 64
        assert known_prior(prior.name) is prior
    assert known_prior("nobody") is None
    assert set(known_module.__all__) == {"KNOWN_PRIORS", "KnownPrior", "known_prior"}


def test_names_that_cannot_be_fetched_say_where_to_look():
    with pytest.raises(FileNotFoundError, match="by hand"):
        load_prior("openai-celebahq256")
    with pytest.raises(FileNotFoundError, match=r"celeba64.*glow-celeba"):
        load_prior("nobody")
