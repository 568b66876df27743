"""To the Hub and back, with the Hub replaced by a folder: addresses, refusals, what visitors may, and cards."""

import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import httpx
import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, errors

from transflow_core import CheckpointError, FewShotClassifier, Posterior, Prior, standard_normal
from transflow_core.hub import OWNER, VISITOR, fetch, push_to_hub
from transflow_core.priors.catalogue import load_prior, shipped_files, shipped_priors

from .checkpoints.projects import GLOWIP, project
from .helpers import make_tiny_prior

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Repositories in a folder, and what huggingface_hub does with them."""

    def __init__(self, root, monkeypatch):
        self.root, self.asked, self.tokens, self.sizes, self.private = root, [], set(), {}, {}
        monkeypatch.setattr(huggingface_hub, "HfApi", self.api)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.download)

    def folder(self, repo="owner/faces", inner="", cache=None):
        folder = (cache or self.root / "hub") / f"models--{repo.replace('/', '--')}" / "snapshots" / COMMIT / inner
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def api(self, token=None):
        self.tokens.add(token)
        return self

    def model_info(self, repo, revision, files_metadata):
        assert files_metadata
        files = [path for path in self.folder(repo).rglob("*") if path.is_file()]
        sizes = {path.relative_to(self.folder(repo)).as_posix(): path.stat().st_size for path in files} | self.sizes
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name, size=sizes[name]) for name in sizes])

    def download(self, repo, revision, token, cache_dir, allow_patterns, local_files_only):
        assert not local_files_only and not any("*" in name for name in allow_patterns)
        self.asked.append((repo, allow_patterns[0], revision))
        self.tokens.add(token)
        cached = self.folder(repo, cache=cache_dir or self.root / "owner")
        for name in allow_patterns:
            if (self.folder(repo) / name).is_file():
                (cached / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.folder(repo) / name, cached / name)
        return str(cached)

    def create_repo(self, repo, private, exist_ok):
        assert exist_ok
        self.private.setdefault(repo, private)

    def upload_folder(self, repo_id, folder_path, commit_message):
        assert commit_message
        shutil.copytree(folder_path, self.folder(repo_id), dirs_exist_ok=True)

    def card(self, repo):
        return ModelCard((self.folder(repo) / "README.md").read_text(encoding="utf-8"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    return Hub(tmp_path, monkeypatch)


@pytest.fixture
def visitor(tmp_path):
    return replace(VISITOR, cache=tmp_path / "visitors")


@pytest.fixture(scope="module")
def prior():
    return make_tiny_prior()


@pytest.mark.parametrize(
    ("file", "address"),
    [
        ("prior.safetensors", "prior.safetensors"),
        ("prior.safetensors", "*.safetensors"),
        ("small", "small/model.safetensors@v1.0"),  # its configuration comes along
        ("models/glowmodel.pt", "models/glowmodel.pt@v1.0"),  # and so do another project's settings
        ("models/glowmodel.pt", "models/*.pt"),
    ],
)
def test_a_prior_is_fetched_with_what_lies_beside_it(hub, prior, file, address):
    if file.endswith(".pt"):
        project(GLOWIP).save(hub.folder(inner=file.partition("/")[0]))
    else:
        prior.save(hub.folder() / file)
    (hub.folder() / "other.bin").write_bytes(b"x")
    found = load_prior(f"hf://owner/faces/{address}", device="cpu")
    assert (found.image_size, found.pixels.bits) == (8 if file.endswith(".pt") else 16, 5)
    [(repo, name, revision)] = hub.asked
    assert (repo, revision) == ("owner/faces", "v1.0" if "@" in address else None) and "*" not in name
    assert hub.tokens == {None}  # the owner's, which huggingface_hub finds
    assert not list((hub.root / "owner").rglob("other.bin"))


def test_a_known_prior_is_loaded_by_its_name(hub):
    project(GLOWIP).save(hub.folder("tristan-deep/glow-celeba", "training_checkpoints"))
    assert load_prior("glow-celeba", device="cpu").image_size == 64


def test_a_pattern_must_fit_one_file(hub):
    for name in ("a.pt", "b.pt"):
        (hub.folder() / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"2 files fit \(.\.pt, .\.pt\)"):
        fetch("hf://owner/faces/*.pt")
    for name in ("*.pb", "c.pt"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            fetch(f"hf://owner/faces/{name}")


@pytest.mark.parametrize(
    "address", ["hf://", "hf://o", "hf://o/r", "hf://o/r/", "hf://o/r/../x", "hf:/o/r/f", "hf://o/r/f@"]
)
def test_a_malformed_address_is_refused_before_anything_is_asked(address, hub):
    with pytest.raises(CheckpointError, match="expected hf://owner/repo/path"):
        load_prior(address)
    assert not hub.asked and not hub.tokens


def response(status):
    return httpx.Response(status, request=httpx.Request("GET", "hub"))


class Odd(Exception):
    """As an HTTP client's, of which there is no telling."""


REFUSALS = [
    (lambda: errors.RepositoryNotFoundError("x", response=response(404)), FileNotFoundError, "private"),
    (lambda: errors.RevisionNotFoundError("x", response=response(404)), FileNotFoundError, "revision"),
    (lambda: errors.GatedRepoError("x", response=response(403)), CheckpointError, "access"),
    (lambda: errors.HfHubHTTPError("x", response=response(500)), CheckpointError, "did not give"),
    (lambda: errors.HFValidationError("Repo id must be x"), CheckpointError, "Repo id must be x"),
    (lambda: errors.LocalEntryNotFoundError("x"), CheckpointError, "works offline"),
    (lambda: errors.OfflineModeIsEnabled("x"), CheckpointError, "HF_HUB_OFFLINE"),
    (lambda: OSError(28, "No space left on device", "/a/place/here"), CheckpointError, "No space left"),
    (Odd, CheckpointError, "cannot be reached"),
]


@pytest.mark.parametrize(("error", "kind", "message"), REFUSALS)
def test_a_refusal_is_put_into_words(error, kind, message, hub, prior, monkeypatch):
    def refuse(*_, **__):
        raise error()

    prior.save(hub.folder() / "prior.safetensors")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(kind, match=message) as refused:
        fetch("hf://owner/faces/prior.safetensors")
    assert "/a/place" not in str(refused.value)
    monkeypatch.setattr(Hub, "model_info", refuse)
    monkeypatch.setattr(Hub, "create_repo", refuse)
    for call in (lambda: fetch("hf://owner/faces/prior.safetensors"), lambda: push_to_hub(prior, "me/flow")):
        with pytest.raises(kind, match=message):
            call()


def test_offline_a_file_that_was_never_fetched_is_refused_and_a_cached_one_is_used(tmp_path, monkeypatch, prior):
    """The real client, with HF_HUB_OFFLINE: no network is touched."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("prior.safetensors", "*.safetensors"):
        with pytest.raises(CheckpointError, match="works offline"):
            fetch(f"hf://owner/glow/{name}")
    repository = tmp_path / "models--owner--glow"
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    prior.save(repository / "snapshots" / COMMIT / "prior.safetensors")
    for name in ("prior.safetensors", "*.safetensors"):
        assert load_prior(f"hf://owner/glow/{name}", device="cpu").image_size == 16
    with pytest.raises(CheckpointError, match="works offline"):
        fetch("hf://owner/glow/other.safetensors")


def test_a_name_of_no_prior_here_says_what_to_do():
    with pytest.raises(FileNotFoundError, match="by hand"):
        load_prior("openai-celebahq256")
    with pytest.raises(FileNotFoundError, match=r"celeba64.*glow-celeba"):
        load_prior("nobody")


def test_a_visitors_address_gets_no_token_and_a_cache_apart(hub, visitor, prior):
    prior.save(hub.folder() / "small")
    assert load_prior("hf://owner/faces/small/model.safetensors", device="cpu", access=visitor).image_size == 16
    assert hub.tokens == {False} and visitor.cache != OWNER.cache
    assert list(visitor.cache.rglob("model.safetensors")) and not (hub.root / "owner").exists()
    assert (VISITOR.token, VISITOR.any_format, VISITOR.cache is None) == (False, False, False)


def test_a_visitors_address_gives_no_other_format_whatever_it_is_called(hub, visitor, monkeypatch):
    path = project(GLOWIP).save(hub.folder())
    for name in ("glowmodel.pt", "*.safetensors"):
        with pytest.raises(CheckpointError, match=r"only a \.safetensors file"):
            load_prior(f"hf://owner/faces/{name}", access=visitor)
    assert not hub.asked
    path.rename(path.with_name("prior.safetensors"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(CheckpointError, match="not a safetensors file, and no other format"):
        load_prior("hf://owner/faces/prior.safetensors", access=visitor)


@pytest.mark.parametrize(
    ("told", "message"),
    [(VISITOR.most_bytes + 1, "96 MiB are fetched"), (None, "does not tell its size"), (10, "are fetched here")],
)
def test_a_file_that_is_too_large_is_refused_before_a_byte_of_it_is_fetched(hub, visitor, prior, told, message):
    prior.save(hub.folder() / "prior.safetensors")
    hub.sizes["prior.safetensors"] = told
    access = visitor if told != 10 else replace(visitor, most_bytes=1000)  # a Hub that sends more than it said
    with pytest.raises(CheckpointError, match=message):
        load_prior("hf://owner/faces/prior.safetensors", access=access)
    assert bool(hub.asked) == (told == 10)


@pytest.mark.parametrize(("most", "left"), [(2500, ["asked"]), (3500, ["asked", "new", "old"])])
def test_a_visitors_cache_that_holds_too_much_is_emptied(hub, visitor, most, left):
    access = replace(visitor, most_cached=most)
    for name in ("asked", "new", "old"):
        (hub.folder(f"a/{name}", cache=access.cache) / "blob").write_bytes(bytes(1000))
    (hub.folder("a/asked") / "model.safetensors").write_bytes(bytes(100))
    fetch("hf://a/asked/model.safetensors", access=access)
    # The one that was just asked for stays.
    assert sorted(folder.name.removeprefix("models--a--") for folder in access.cache.iterdir()) == left


@pytest.mark.parametrize("content", [b"no prior", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"])
def test_what_a_visitor_had_fetched_for_nothing_leaves_the_cache(hub, visitor, content, monkeypatch):
    (hub.folder() / "thing.safetensors").write_bytes(content)
    download = Hub.download

    def linked(self, *args, **options):
        """As in a real cache, a name is a link to its content."""
        folder = download(self, *args, **options)
        shutil.move(f"{folder}/thing.safetensors", visitor.cache / "blob")
        os.symlink(visitor.cache / "blob", f"{folder}/thing.safetensors")
        return folder

    monkeypatch.setattr(huggingface_hub, "snapshot_download", linked.__get__(hub))
    with pytest.raises(ValueError) as error:
        load_prior("hf://owner/faces/thing.safetensors", access=visitor)
    assert not [path for path in visitor.cache.rglob("*") if not path.is_dir()]
    assert str(hub.root) not in str(error.value)


def test_a_prior_there_and_back_and_what_the_hub_reads_of_its_card(hub, prior):
    more = {"datasets": ["someone/faces"], "base_model": "someone/prior"}
    address = prior.push_to_hub("me/flow", licence="cc-by-nc-4.0", token="hf_mine", **more)
    assert address == "hf://me/flow/model.safetensors" and hub.private == {"me/flow": True} and "hf_mine" in hub.tokens
    z = standard_normal(2, prior.dim, seed=2)
    back = Prior.from_pretrained("me/flow", device="cpu")
    assert back.decode(z).equal(prior.decode(z)) and back.fingerprint == load_prior(address).fingerprint
    assert (hub.folder("me/flow") / "config.json").is_file() and (hub.folder("me/flow") / "samples.png").is_file()
    card = hub.card("me/flow")
    head = card.data
    assert (head.license, head.library_name) == ("cc-by-nc-4.0", "transflow-studio")
    assert (head.pipeline_tag, head.datasets, head.base_model) == ("unconditional-image-generation", *more.values())
    assert {"transflow-learning", "normalizing-flow", "prior"} <= set(head.tags)
    assert head.thumbnail == "https://huggingface.co/me/flow/resolve/main/samples.png"
    assert 'tfc.Prior.from_pretrained("me/flow")' in card.text
    Prior.from_pretrained("me/flow", revision="v1.0")
    assert [revision for _, _, revision in hub.asked] == [None, None, "v1.0"]


@pytest.mark.parametrize("name", ["flow", "flow-v1.0", "celeba64"])  # a prior that ships has the last one
def test_a_saved_folder_is_loaded_and_others_may_read_it(tmp_path, prior, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    replace(prior, metadata={"licence": "For research alone: ask me"}).save_pretrained(tmp_path / name)
    assert Prior.from_pretrained(name, device="cpu").name == "tiny"
    card = ModelCard.load(tmp_path / name / "README.md")
    assert (card.data.license, card.data.license_name) == ("other", "see-card")
    assert "For research alone: ask me" in card.text  # words that are no identifier stand in the card
    (tmp_path / "plain").touch()
    modes = {path.stat().st_mode for path in (*(tmp_path / name).iterdir(), tmp_path / "plain")}
    assert len(modes) == 1


def test_a_posterior_and_a_classifier_there_and_back(hub, prior):
    posterior = Posterior.condition(standard_normal(3, prior.dim, seed=1), lam_ratio=0.5)
    back = Posterior.load(fetch(push_to_hub(posterior, "me/red-hair", private=False)))
    assert back.mean.equal(posterior.mean) and back.m == 3 and hub.private == {"me/red-hair": False}
    classifier = FewShotClassifier(prior, likelihood="isotropic")
    classifier.fit_latents({name: i + standard_normal(4, prior.dim, seed=i) for i, name in enumerate(("a", "b"))})
    address = push_to_hub(classifier, "me/classes", base_model="me/flow")
    assert FewShotClassifier.load(fetch(address), prior).classes == ("a", "b")
    for repo in ("me/red-hair", "me/classes"):
        assert "makes images of them again" in hub.card(repo).text, "whoever uploads photographs is told"
    assert (hub.card("me/classes").data.base_model, hub.private["me/classes"]) == ("me/flow", True)


@pytest.mark.parametrize("name", shipped_priors())
def test_the_cards_that_ship_have_a_head_and_keep_it(hub, prior, name):
    card = (shipped_files()[name][0] / "MODEL_CARD.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "other" and head["thumbnail"] == "samples.png" and "prior" in head["tags"]
    prior.push_to_hub("me/flow", card=card)
    pushed = hub.card("me/flow")
    assert pushed.data.thumbnail.startswith("https://") and pushed.data.tags == head["tags"]
    assert pushed.text.strip() == card.split("---\n", 2)[2].strip()
