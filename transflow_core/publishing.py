"""Priors, posteriors and classifiers to the Hugging Face Hub, each with a card, and the latter two back."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .fewshot import FewShotClassifier
from .hub import OWNER, HubAccess, card_head, opened, upload
from .images import contact_sheet, save_png, to_pil
from .posterior import Posterior, standard_normal
from .priors.prior import Prior

__all__ = ["load_classifier", "load_posterior", "push_to_hub"]

_SAMPLES = "samples.png"


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
    made_with, samples = f'"{prior.name}"' if prior else "NAME", None
    if isinstance(thing, Prior):
        kind, file, title = "prior", "model.safetensors", thing.name
        what = f"A trained flow of {thing.image_size}×{thing.image_size} images, {thing.dim:,} latents."
        call = 'prior = tfc.load_prior("{}")'
        samples = thing.decode(0.7 * standard_normal(16, thing.dim, seed=0))
    elif isinstance(thing, Posterior):
        kind, file, title = "posterior", "posterior.safetensors", "A posterior"
        what = (
            f"The posterior of {thing.m:g} pieces of evidence under the prior {made_with}. It holds their latents, of "
            "which that prior makes the images again."
        )
        call = 'posterior = tfc.load_posterior("{}")'
        if prior is not None:
            _check(thing.metadata.get("fingerprint"), len(thing.mean), prior)
            samples = prior.decode(thing.sample(16, seed=0))
    else:
        kind, file, title = "classifier", "classifier.safetensors", "A few-shot classifier"
        what = f"It tells {', '.join(thing.classes)} apart, by latents of the prior {made_with}."
        call = f'prior = tfc.load_prior({made_with})\nclassifier = tfc.load_classifier("{{}}", prior)'
        if prior is not None and thing.prior is not None:
            _check(thing.prior.fingerprint, thing.prior.dim, prior)
    address, thumbnail = f"hf://{repo}/{file}", None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if isinstance(thing, Prior):
            thing.save(folder, half=half)
        else:
            thing.save(folder / file)
        lines = [f"# {title}", "", what, "", f"Licence: {licence or 'not said by whoever uploaded it'}.", ""]
        lines += ["```python", "import transflow_core as tfc", "", call.format(address), "```", ""]
        if samples is not None:
            save_png(contact_sheet(to_pil(samples)), folder / _SAMPLES)
            lines += [f"![samples]({_SAMPLES})", ""]
            thumbnail = f"https://huggingface.co/{repo}/resolve/main/{_SAMPLES}"
        text = card if card is not None else "\n".join(lines)
        # A head that somebody wrote is theirs; the Hub wants the address of a thumbnail, not its name.
        if re.match(r"---\n.*?\n---\n", text, re.DOTALL):
            text = re.sub(r"(?m)^thumbnail: samples\.png$", f"thumbnail: {thumbnail}", text, count=1)
        else:
            text = card_head(licence, datasets=datasets, tags=[kind], thumbnail=thumbnail) + "\n" + text
        (folder / "README.md").write_text(text, encoding="utf-8")
        upload(folder, repo, private=private, token=token, message=f"A {kind} of Transflow Studio")
    return address


def load_posterior(name: str | Path, *, access: HubAccess = OWNER) -> Posterior:
    """A saved posterior, from a file or from the Hub. Raises what `Posterior.load` and `hub.fetch` raise."""
    return opened(name, Posterior.load, access)


def load_classifier(name: str | Path, prior: Prior | None, *, access: HubAccess = OWNER) -> FewShotClassifier:
    """A saved classifier, from a file or from the Hub. Raises what `FewShotClassifier.load` and `hub.fetch` raise."""
    return opened(name, lambda path: FewShotClassifier.load(path, prior), access)


def _check(fingerprint: str | None, dim: int, prior: Prior) -> None:
    if fingerprint not in (None, prior.fingerprint) or dim != prior.dim:
        raise ValueError(f"it was made with another prior than {prior.name}")
