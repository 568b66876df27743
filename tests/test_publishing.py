"""To the Hub and back, with the Hub replaced by a folder; and what the cards' heads say."""

import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, errors
from PIL import Image

from transflow_core.checkpoints import VISITOR, CheckpointError
from transflow_core.fewshot import FewShotClassifier
from transflow_core.posterior import Posterior, standard_normal
from transflow_core.prior import load_prior
from transflow_core.publishing import load_classifier, load_posterior, push_to_hub
from transflow_core.shipped import MODELS, shipped_priors

from .helpers import make_tiny_prior

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """What was uploaded, by repository, and served again."""

    def __init__(self, root, monkeypatch):
        self.root, self.private, self.tokens = root, {}, set()
        monkeypatch.setattr(huggingface_hub, "HfApi", self.api)
        monkeypatch.setattr(huggingface_hub, "hf_hub_url", lambda repo, name, revision=None: f"{repo}/{name}")
        monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", self.metadata)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", self.download)

    def api(self, token=None):
        self.tokens.add(token)
        return self

    def folder(self, repo):
        return self.root / repo / "snapshots" / COMMIT

    def create_repo(self, repo, private, exist_ok):
        assert exist_ok
        self.private.setdefault(repo, private)

    def upload_folder(self, repo_id, folder_path, commit_message):
        assert commit_message
        for path in folder_path.iterdir():
            self.folder(repo_id).mkdir(parents=True, exist_ok=True)
            (self.folder(repo_id) / path.name).write_bytes(path.read_bytes())

    def _path(self, repo, name):
        path = self.folder(repo) / name
        if not path.is_file():
            raise errors.EntryNotFoundError(name)
        return path

    def metadata(self, url, token=None):
        owner, name, file = url.split("/", 2)

        class Told:
            size = self._path(f"{owner}/{name}", file).stat().st_size

        return Told

    def download(self, repo, name, **_):
        return str(self._path(repo, name))

    def card(self, repo):
        return ModelCard((self.folder(repo) / "README.md").read_text(encoding="utf-8"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    return Hub(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def prior():
    return make_tiny_prior()


@pytest.fixture(scope="module")
def posterior(prior):
    z = standard_normal(3, prior.dim, seed=1)
    made = Posterior.condition(z, lam_ratio=0.5)
    made.metadata["fingerprint"] = prior.fingerprint
    return made


def test_a_prior_there_and_back(hub, prior):
    address = push_to_hub(prior, "me/flow", licence="cc-by-nc-4.0", datasets=["someone/faces"], token="hf_mine")
    assert address == "hf://me/flow/model.safetensors" and hub.private == {"me/flow": True} and "hf_mine" in hub.tokens
    back = load_prior(address, device="cpu")
    z = standard_normal(2, prior.dim, seed=2)
    assert torch.equal(back.decode(z), prior.decode(z))


def test_what_the_hub_reads_of_a_card(hub, prior):
    push_to_hub(prior, "me/flow", licence="cc-by-nc-4.0", datasets=["someone/faces"], private=False)
    head = hub.card("me/flow").data
    assert hub.private == {"me/flow": False}
    assert (head.license, head.library_name, head.datasets) == ("cc-by-nc-4.0", "transflow-studio", ["someone/faces"])
    assert {"transflow-learning", "normalizing-flow", "prior"} <= set(head.tags)
    assert head.thumbnail == "https://huggingface.co/me/flow/resolve/main/samples.png"
    with Image.open(hub.folder("me/flow") / "samples.png") as sheet:
        assert sheet.width > 4 * 16
    assert 'tfc.load_prior("hf://me/flow/model.safetensors")' in hub.card("me/flow").text


def test_words_that_are_no_identifier_stand_in_the_card(hub, prior):
    push_to_hub(prior, "me/flow", licence="For research alone: ask me")
    card = hub.card("me/flow")
    assert (card.data.license, card.data.license_name) == ("other", "see-card")
    assert "For research alone: ask me" in card.text


def test_a_posterior_there_and_back(hub, prior, posterior):
    address = push_to_hub(posterior, "me/red-hair", prior=prior)
    back = load_posterior(address)
    assert torch.equal(back.mean, posterior.mean) and back.m == 3
    assert "makes the images again" in hub.card("me/red-hair").text, "whoever uploads photographs is told"
    assert (hub.folder("me/red-hair") / "samples.png").is_file()


def test_a_posterior_of_another_prior_is_refused_before_anything_is_sent(hub, posterior):
    with pytest.raises(ValueError, match="another prior"):
        push_to_hub(posterior, "me/red-hair", prior=make_tiny_prior(seed=5))
    assert not hub.private


def test_a_classifier_there_and_back(hub, prior):
    classifier = FewShotClassifier(prior, likelihood="isotropic")
    classifier.fit_latents({name: i + standard_normal(4, prior.dim, seed=i) for i, name in enumerate(("a", "b"))})
    address = push_to_hub(classifier, "me/classes", prior=prior)
    back = load_classifier(address, prior)
    assert back.classes == ("a", "b")
    assert 'prior = tfc.load_prior("tiny")' in hub.card("me/classes").text
    assert not (hub.folder("me/classes") / "samples.png").exists()
    assert hub.card("me/classes").data.get("thumbnail") is None


@pytest.mark.parametrize("load", [load_posterior, lambda name, access: load_classifier(name, None, access=access)])
def test_what_a_stranger_gives_and_is_something_else_leaves_the_cache(hub, prior, load):
    push_to_hub(prior, "me/flow")
    (hub.folder("me/flow") / "config.json").unlink()  # a folder's weights without it are a file like any other
    with pytest.raises(ValueError):
        load("hf://me/flow/model.safetensors", access=VISITOR)
    assert not (hub.folder("me/flow") / "model.safetensors").exists()


def test_a_refusal_of_the_hub_is_told_in_words(hub, prior, monkeypatch):
    def refuse(*_, **__):
        raise errors.HFValidationError("Repo id must be in the form 'repo_name' or 'namespace/repo_name'")

    monkeypatch.setattr(Hub, "create_repo", refuse)
    with pytest.raises(CheckpointError, match="Repo id must be"):
        push_to_hub(prior, "me/a/b")


@pytest.mark.parametrize("name", shipped_priors())
def test_the_cards_that_ship_have_a_head_and_keep_it(hub, prior, name):
    card = (MODELS / name / "MODEL_CARD.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "other" and head["thumbnail"] == "samples.png" and "prior" in head["tags"]
    push_to_hub(prior, "me/flow", card=card)
    pushed = hub.card("me/flow")
    assert pushed.data.thumbnail.startswith("https://") and pushed.data.tags == head["tags"]
    assert pushed.text.strip() == card.split("---\n", 2)[2].strip()
