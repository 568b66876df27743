"""Priors, posteriors and classifiers to the Hugging Face Hub, each with a card, and the latter two back."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from .cards import front_matter
from .checkpoints import OWNER, HubAccess, discard, fetch, is_hub_address, upload
from .fewshot import FewShotClassifier
from .images import contact_sheet, save_png, to_pil
from .posterior import Posterior, standard_normal
from .prior import Prior

__all__ = ["load_classifier", "load_posterior", "push_to_hub"]

_SAMPLES = "samples.png"
_HEAD = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
Kind = Literal["prior", "posterior", "classifier"]


def push_to_hub(
    thing: Prior | Posterior | FewShotClassifier,
    repo: str,
    *,
    prior: Prior | None = None,
    card: str | None = None,
    licence: str = "",
    datasets: Sequence[str] = (),
    private: bool = True,
    token: str | None = None,
    half: bool = False,
) -> str:
    """Upload what was made, its card and a sheet of samples; return the `hf://` address that loads it again.

    A posterior holds the latents of its evidence, of which the prior makes the images again, and a classifier the mean
    of each class, which for a class of one is that image: who can read the repository can see them. So that nothing
    becomes public by oversight, a repository that is not there yet is made private.

    Args:
        thing: a prior (stored natively), a posterior, or a fitted classifier.
        repo: "owner/name"; it is made if it is not there.
        prior: what a posterior or classifier was made with: its name stands on the card, and it draws the samples.
        card: Markdown, with or without a YAML head; by default a short one.
        licence: an identifier of the Hub ("mit"), or words.
        datasets: as the Hub calls them.
        private: of a repository that is made now.
        token: by default that of `hf auth login`.
        half: of a prior, see `Prior.save`.

    Returns:
        `hf://owner/name/FILE`, for `load_prior`, `load_posterior` or `load_classifier`.

    Raises:
        ValueError: the prior is another than that of the posterior or classifier.
        CheckpointError, FileNotFoundError: the Hub refuses, or cannot be reached.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kind, file = _write(thing, folder, half)
        _check(thing, prior)
        sampled = _draw(thing, prior, folder / _SAMPLES)
        thumbnail = f"https://huggingface.co/{repo}/resolve/main/{_SAMPLES}" if sampled else None
        head = front_matter(licence, datasets=datasets, tags=[kind], thumbnail=thumbnail)
        text = card if card is not None else _words(thing, kind, prior, f"hf://{repo}/{file}", licence, sampled)
        # A head that somebody wrote is theirs; the Hub wants the address of a thumbnail, not its name.
        if _HEAD.match(text):
            text = re.sub(r"(?m)^thumbnail: samples\.png$", f"thumbnail: {thumbnail}", text, count=1)
        else:
            text = head + "\n" + text
        (folder / "README.md").write_text(text, encoding="utf-8")
        upload(folder, repo, private=private, token=token, message=f"A {kind} of Transflow Studio")
    return f"hf://{repo}/{file}"


def load_posterior(name: str | Path, *, access: HubAccess = OWNER) -> Posterior:
    """A saved posterior, from a file or from the Hub. Raises what `Posterior.load` and `fetch` raise."""
    path = _found(name, access)
    try:
        return Posterior.load(path)
    except ValueError:
        _drop(name, path, access)
        raise


def load_classifier(name: str | Path, prior: Prior | None, *, access: HubAccess = OWNER) -> FewShotClassifier:
    """A saved classifier, from a file or from the Hub. Raises what `FewShotClassifier.load` and `fetch` raise."""
    path = _found(name, access)
    try:
        return FewShotClassifier.load(path, prior)
    except ValueError:
        _drop(name, path, access)
        raise


def _found(name: str | Path, access: HubAccess) -> Path:
    return fetch(str(name), access=access) if is_hub_address(name) else Path(name)


def _drop(name: str | Path, path: Path, access: HubAccess) -> None:
    """What a stranger's address gave, and is not what it should be, does not stay in the cache."""
    if is_hub_address(name) and not access.any_format:
        discard(path)


def _write(thing: Prior | Posterior | FewShotClassifier, folder: Path, half: bool) -> tuple[Kind, str]:
    if isinstance(thing, Prior):
        thing.save(folder, half=half)
        return "prior", "model.safetensors"
    kind: Kind = "posterior" if isinstance(thing, Posterior) else "classifier"
    thing.save(folder / f"{kind}.safetensors")
    return kind, f"{kind}.safetensors"


def _check(thing: Prior | Posterior | FewShotClassifier, prior: Prior | None) -> None:
    if prior is None or isinstance(thing, Prior):
        return
    if isinstance(thing, Posterior):
        made_with = thing.metadata.get("fingerprint", prior.fingerprint)
    else:
        made_with = thing.prior.fingerprint if thing.prior else prior.fingerprint
    if made_with != prior.fingerprint or (isinstance(thing, Posterior) and len(thing.mean) != prior.dim):
        raise ValueError(f"it was made with another prior than {prior.name}")


def _draw(thing: Prior | Posterior | FewShotClassifier, prior: Prior | None, path: Path) -> bool:
    """Sixteen samples; of a classifier none, as it makes no images."""
    if isinstance(thing, Prior):
        x = thing.decode(0.7 * standard_normal(16, thing.dim, seed=0))
    elif isinstance(thing, Posterior) and prior is not None:
        x = prior.decode(thing.sample(16, seed=0))
    else:
        return False
    save_png(contact_sheet(to_pil(x)), path)
    return True


def _words(
    thing: Prior | Posterior | FewShotClassifier,
    kind: Kind,
    prior: Prior | None,
    address: str,
    licence: str,
    sampled: bool,
) -> str:
    made_with = f'"{prior.name}"' if prior else "NAME"
    if isinstance(thing, Prior):
        title, call = thing.name, f'prior = tfc.load_prior("{address}")'
        what = f"A trained flow of {thing.image_size}×{thing.image_size} images, {thing.dim:,} latents."
    elif isinstance(thing, Posterior):
        title, call = "A posterior", f'posterior = tfc.load_posterior("{address}")'
        what = (
            f"The posterior of {thing.m:g} pieces of evidence under the prior {made_with}. It holds their latents, of "
            "which that prior makes the images again."
        )
    else:
        title, call = "A few-shot classifier", f'classifier = tfc.load_classifier("{address}", prior)'
        what = f"It tells {', '.join(thing.classes)} apart, by latents of the prior {made_with}."
    lines = [f"# {title}", "", what, "", f"Licence: {licence or 'not said by whoever uploaded it'}.", ""]
    if kind == "classifier":
        call = f"prior = tfc.load_prior({made_with})\n{call}"
    lines += ["```python", "import transflow_core as tfc", "", call, "```", ""]
    if sampled:
        lines += [f"![samples]({_SAMPLES})", ""]
    return "\n".join(lines)
