"""The HTTP API: named endpoints for `gradio_client` and plain HTTP. The page's own events stay private."""

# Gradio reads an endpoint's return types from its signature, as objects: no `from __future__ import annotations` here.
import functools
import inspect
import json
import mimetypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import gradio as gr
from gradio.context import LocalContext
from gradio.events import api
from gradio.utils import get_upload_folder
from PIL import Image
from safetensors.torch import save_file

from transflow_core import limits
from transflow_core.compute import Cancelled, owned_by
from transflow_core.drawing import AUTO, ask, sweep_of
from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.fewshot import FewShotClassifier
from transflow_core.images import contact_sheet, enlarge, labelled_rows, load_image, save_animation, save_png, to_pil
from transflow_core.intake import Intake
from transflow_core.limits import Likelihood, Range, choice, count, number, numbers, truth
from transflow_core.masked import in_frames, one_for_each
from transflow_core.posterior import LIKENESS_TO_EVIDENCE, MIXES, Manner, Mix, Posterior, Sampler, mixed
from transflow_core.shipped import CLASSIFYING_PRIOR, DEFAULT_PRIOR

from .engines import Engines
from .errors import refusing
from .given import file_of
from .guard import caller_of
from .janitor import held
from .queues import CALLS
from .session import new_folder

__all__ = ["ENDPOINTS", "Endpoints", "add_endpoints"]

Whole = Literal["auto", "always", "never"]
Method = Literal["linear", "wasserstein"]
Sheet = Literal["sheet", "images"]
Animation = Literal["png", "webp", "gif", "mp4"]
Files = list[gr.FileData]


class Endpoints:
    """What a client may call, one method an endpoint; the docstrings are the API's documentation.

    Every input is untrusted: a number out of its range, a file that was not uploaded, or a prior that is not offered is
    refused with a message that says what to do.

    Args:
        engines: the priors that are served.
        stop: ends the call, with Cancelled, at its next batch or picture.
    """

    def __init__(self, engines: Engines, stop: threading.Event | None = None) -> None:
        self._engines, self._stop = engines, stop

    def info(self, prior: str = DEFAULT_PRIOR) -> dict:
        """What a prior is.

        Args:
            prior: a name of `offered`, or hf://owner/repo/file where the host lets.

        Returns:
            name, fingerprint, image_size (pixels), channels, dim (D), levels (name, shape (C, H, W), dim; fine to
            coarse), parameters, bits, device, and `offered`, the names that can be asked for.

        Errors: a prior that is not offered, or cannot be loaded.
        """
        return self._engines.get(prior).prior.info() | {"offered": self._engines.names()}

    def align(self, images: Files, prior: str = DEFAULT_PRIOR, whole: Whole = "never") -> tuple[Files, list[dict]]:
        """Cut every face out of pictures, aligned as the prior was trained.

        Args:
            images: 1 to 100 uploaded pictures.
            prior: its frame gives the size.
            whole: "never" gives faces only; "auto" takes a picture whole when no face is in it; "always" looks for
                none.

        Returns:
            PNG files of (S, S) pixels, picture after picture, the largest face first; and one object a picture: name,
            problem (or null), faces: each with file (index into the list), how, box (pixels: left, top, right, bottom),
            eyes (two (x, y), or null), rotation (degrees).

        Errors: no file, more than 100, a file that was not uploaded. A picture that cannot be read has its `problem`.
        """
        engine = self._engines.get(prior)
        choice(whole, "whole", get_args(Whole))
        files, report = [], []
        for path in _uploaded(images, "images"):
            picture = engine.read(path, whole=whole, stop=self._stop)
            faces = [{"file": len(files) + index} | face.to_dict() for index, face in enumerate(picture.faces)]
            files += [_picture(face.image, f"{path.stem}_{index}.png") for index, face in enumerate(picture.faces)]
            report.append({"name": picture.name, "problem": picture.problem, "faces": faces})
        return files, report

    def encode(
        self, images: Files, prior: str = DEFAULT_PRIOR, whole: Whole = "auto"
    ) -> tuple[gr.FileData | None, list[dict]]:
        """Align images and invert the flow: their latents, log-likelihoods, and how typical they are.

        Args:
            images: 1 to 100 uploaded images.
            prior: a name that `info` offers, or hf://owner/repo/file where the host lets.
            whole: whether an image is taken whole: "auto" (when no face is in it), "always", "never".

        Returns:
            A safetensors file with `z`, (m, D) float32, of the m images that can be used, their names in its metadata
            (null when there are none); and one object an image: name, used, summary (in words), log_prior
            (log N(z; 0, I) in nats), log_prob (log density of the image, nats), typicality ("typical",
            "far outside"), way ("too busy", "too smooth", ""), percentile (0 to 100), box, eyes, weight, counts (how
            many times it would count).

        Errors: no file, more than 100, a file that was not uploaded. An image that cannot be used has its `problem`.
        """
        engine = self._engines.get(prior)
        evidence = self._images(engine, images, "images", whole).evidence
        if not evidence.used:
            return None, _told(evidence)
        path = _new_file("latents.safetensors")
        header = engine.prior.provenance | {"names": json.dumps([image.name for image in evidence.used])}
        save_file({"z": evidence.z.contiguous()}, path, header)
        return _file(path), _told(evidence)

    def condition(
        self,
        images: Files,
        prior: str = DEFAULT_PRIOR,
        lam_ratio: float | list[float] | None = None,
        weights: list[float] | None = None,
        whole: Whole = "auto",
        manner: str = AUTO,
        likeness: float | None = None,
        pieces: float | None = None,
        robust: bool = True,
        masks: Files | None = None,
    ) -> tuple[gr.FileData, dict]:
        """The posterior of evidence (eq. 3-8), as a file that `sample`, `sweep`, `interpolate` and the page take.

        Args:
            images: 1 to 100 uploaded images.
            prior: a name that `info` offers, or hf://owner/repo/file where the host lets.
            lam_ratio: λ/m, 0 to 1000; one number, or one for each latent level, fine to coarse. By default the
                manner's.
            weights: how often each image counts, 0 to 100; one for each. All count once by default.
            whole: whether an image is taken whole: "auto" (when no face is in it), "always", "never".
            manner, likeness, pieces: as for `sample`; the file keeps them.
            robust: as for `sample`.
            masks: uploaded pictures, white where an image does not count: one for all, or one for each; in the
                proportions of the image.

        Returns:
            A safetensors file; and prior, fingerprint, m (sum of weights), manner, why, lam_ratio, mean_norm (‖μp‖),
            kl (from posterior to prior, nats; null at λ = 0, where it is infinite), evidence (as `encode` tells it).

        Errors: as `encode`, and when no image can be used; numbers out of range; another number of weights or levels.
        """
        engine = self._engines.get(prior)
        asked = _asked(engine, manner, lam_ratio, likeness, pieces)
        intake = self._images(engine, images, "images", whole, robust=truth(robust, "robust"))
        if weights is not None:
            for index, weight in enumerate(numbers(weights, "weights", limits.WEIGHT, len(intake.evidence))):
                intake = intake.replace(index, weight=weight)
        if masks is not None:
            over = in_frames(intake.evidence, _pictures(masks, "masks"))
            intake = engine.masked(intake, over, stop=self._stop)
        posterior, _, facts = _drawing(engine, intake.checked().posterior(), asked)
        path = _new_file("posterior.safetensors")
        posterior.save(
            path, metadata=engine.prior.provenance | {key: str(facts[key]) for key in ("manner", "lam_ratio")}
        )
        kl = engine.run(posterior.kl, posterior.prior, stop=self._stop)
        return _file(path), facts | {
            "mean_norm": float(posterior.mean.double().norm()),
            "kl": kl if kl < float("inf") else None,
            "evidence": _told(intake.evidence),
        }

    def sample(
        self,
        evidence: Files,
        prior: str = DEFAULT_PRIOR,
        lam_ratio: float | list[float] | None = None,
        n: int = 16,
        seed: int = 0,
        temperature: float = 1.0,
        whole: Whole = "auto",
        output: Sheet = "sheet",
        manner: str = AUTO,
        likeness: float | None = None,
        pieces: float | None = None,
        robust: bool = True,
    ) -> tuple[Files, dict]:
        """New images that resemble the evidence.

        Args:
            evidence: 1 to 100 uploaded images, or one saved posterior (.safetensors).
            prior: a name that `info` offers, or hf://owner/repo/file where the host lets.
            lam_ratio: λ/m, 0 to 1000; one number, or one for each latent level, fine to coarse. By default the
                manner's.
            n: number of samples, 1 to 128.
            seed: 0 to 2³¹ - 1; it gives the same noise at every λ and temperature.
            temperature: multiplies the standard deviation, 0 to 1.5.
            whole: whether an image is taken whole: "auto" (when no face is in it), "always", "never".
            output: "sheet", or one file a sample ("images").
            manner: "local" (new members of the set), "blend" (blends of a few of the images), "mean" (the paper's
                posterior of the mean; λ/m of 0.3 to 0.7 is advised there); numbers may follow, as in
                "blend:pieces=2,lam_ratio=0.1". "auto" is what a saved posterior was kept with, else what suits the
                evidence.
            likeness: of "local", from 1, closer to single images, to 0, newer: put together from more of them.
            pieces: of "blend", 1 to 1000: how many images effectively make up one sample.
            robust: whether an image far outside of what this prior was trained on counts less, by the fourth
                power of how far it is (`counts` says how much); not where half of the images are. False takes all as
                they are.

        Returns:
            PNG files: one sheet, or n of (S, S) pixels; and prior, fingerprint, m, manner, why (it was taken: a
            sentence), lam_ratio, n, seed, temperature, redrawn (how many samples came out noisy and were drawn
            again), projected (how many stayed noisy, and were moved towards one image), guarded (how many were kept
            within the evidence's own values inside the flow), closest (an object a sample: name of the image that it
            is closest to, distance: 0 is a copy, 1 is as different as two of the images, and mirrored), evidence (as
            `encode` tells it; empty for a saved posterior), seconds.

        Errors: as `encode`, and when no image can be used; numbers out of range; text that is no manner; a posterior
            that was made with another prior, or among other files.
        """
        engine = self._engines.get(prior)
        drawn = _drawn(n, Range(1, limits.MOST_DECODED), seed, temperature)
        choice(output, "output", get_args(Sheet))
        asked = _asked(engine, manner, lam_ratio, likeness, pieces)
        with _timed() as facts:
            intake = self._intake(engine, evidence, "evidence", whole, robust=truth(robust, "robust")).checked()
            posterior, sampler, made = _drawing(engine, intake.posterior(), asked)
            decoded = engine.drawn(sampler, stop=self._stop, **drawn)
            pictures = to_pil(decoded.images)
            closest = engine.closest(decoded.images, posterior, intake.evidence, stop=self._stop)
            facts |= made | drawn | decoded.counts | {"closest": [one.to_dict() for one in closest]}
        facts["evidence"] = _told(intake.evidence)
        if output == "images":
            return [_picture(picture, f"sample_{i:04d}.png") for i, picture in enumerate(pictures)], facts
        return [_picture(contact_sheet(pictures), "sheet.png", facts)], facts

    def sweep(
        self,
        evidence: Files,
        prior: str = DEFAULT_PRIOR,
        lam_ratios: list[float] | None = None,
        n: int = 4,
        seed: int = 0,
        temperature: float = 1.0,
        whole: Whole = "auto",
        manner: str = AUTO,
        values: list[float] | None = None,
        robust: bool = True,
    ) -> tuple[gr.FileData, dict]:
        """The same draws at several values of one number, a column each: of λ/m as in Fig. 7 and 8, or of the manner's
        own number.

        Args:
            evidence: 1 to 100 uploaded images, or one saved posterior (.safetensors).
            prior: a name that `info` offers, or hf://owner/repo/file where the host lets.
            lam_ratios: 1 to 16 values of λ/m, 0 to 1000, to sweep it in place of the manner's own number.
            n: rows; n times the number of values is at most 128.
            seed, temperature, whole, manner: as for `sample`.
            values: 1 to 16 values of the manner's own number: the likeness of "local", the pieces of "blend", λ/m
                of "mean". By default some from one end to the other.
            robust: as for `sample`.

        Returns:
            One PNG; and prior, fingerprint, m, manner, why, manners (the text of each column's), n, seed, temperature,
            evidence, seconds.

        Errors: as `sample`; both lists.
        """
        engine = self._engines.get(prior)
        asked = _asked(engine, manner, None, None, None)
        lists = {"lam_ratios": lam_ratios, "values": values}
        for name, given in lists.items():
            if given is not None and len(numbers(given, name, limits.LAM_RATIO)) not in limits.COLUMNS:
                raise ValueError(
                    f"{name} takes {limits.COLUMNS.low} to {limits.COLUMNS.high} numbers, not {len(given)}"
                )
        columns = len(lam_ratios or values or limits.SWEEP_PIECES) + (lam_ratios is values is None)
        drawn = _drawn(n, Range(1, limits.MOST_DECODED // columns), seed, temperature)
        with _timed() as facts:
            posterior, told = self._posterior(engine, evidence, "evidence", whole, robust)
            choice_made = ask(posterior, looks=engine.looks, **asked)
            swept = sweep_of(choice_made.manner, posterior.m, **lists)
            x = engine.sweep(posterior, swept.values(), stop=self._stop, **drawn)
            facts |= engine.prior.provenance | {
                "m": posterior.m,
                "manner": str(choice_made.manner),
                "why": choice_made.why,
            }
            facts |= {"manners": [str(one) for one in swept.values()]} | drawn
        facts["evidence"] = told
        rows = [to_pil(x[:, row]) for row in range(x.shape[1])]
        sheet = labelled_rows(rows, column_labels=list(swept))
        return _picture(sheet, "sweep.png", facts), facts

    def interpolate(
        self,
        a: Files,
        b: Files,
        prior: str = DEFAULT_PRIOR,
        steps: int = 8,
        n: int = 4,
        method: Method = "linear",
        lam_ratio: float | list[float] | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        whole: Whole = "auto",
        output: Animation = "png",
        manner: str = AUTO,
        likeness: float | None = None,
        pieces: float | None = None,
        robust: bool = True,
    ) -> tuple[gr.FileData, dict]:
        """From one posterior to another with the same draws (Fig. 3).

        Args:
            a, b: each 1 to 100 uploaded images, or one saved posterior (.safetensors).
            prior: a name that `info` offers, or hf://owner/repo/file where the host lets.
            steps: posteriors along the way, both ends included: 2 to 64.
            n: draws; n times steps is at most 128.
            method: "linear", as in the paper, or "wasserstein".
            lam_ratio, seed, temperature, whole, manner, likeness, pieces, robust: as for `sample`, of both ends; with
                "auto", each end has its own manner.
            output: a strip ("png"), or an animation there and back ("webp", "gif", "mp4").

        Returns:
            One file; and prior, fingerprint, steps, n, method, seed, temperature, seconds, a and b: each m, manner,
            why, lam_ratio, evidence.

        Errors: as `sample`.
        """
        engine = self._engines.get(prior)
        steps = count(steps, "steps", limits.STEPS)
        drawn = _drawn(n, Range(1, limits.MOST_DECODED // steps), seed, temperature)
        choice(method, "method", get_args(Method))
        choice(output, "output", get_args(Animation))
        asked = _asked(engine, manner, lam_ratio, likeness, pieces)
        with _timed() as facts:
            told, ends = {}, {}
            for name, files in (("a", a), ("b", b)):
                posterior, evidence = self._posterior(engine, files, name, whole, robust)
                _, ends[name], made = _drawing(engine, posterior, asked)
                told[name] = made | {"evidence": evidence}
            n = drawn.pop("n")
            x = engine.interpolate(ends["a"], ends["b"], steps, n, method=method, stop=self._stop, **drawn)
            facts |= engine.prior.provenance | {"steps": steps, "n": n, "method": method} | drawn
        if output == "png":
            labels = [f"{i / (steps - 1):.2f}" for i in range(steps)]
            rows = [to_pil(x[:, draw]) for draw in range(n)]
            file = _picture(labelled_rows(rows, column_labels=labels), "interpolation.png", facts)
        else:
            path = _new_file(f"interpolation.{output}")
            save_animation([contact_sheet(to_pil(frame)) for frame in x], path, boomerang=True)
            file = _file(path)
        return file, facts | told

    def restyle(
        self,
        photographs: Files,
        evidence: Files,
        prior: str = DEFAULT_PRIOR,
        strength: float | list[float] = 1.0,
        likeness: float = LIKENESS_TO_EVIDENCE,
        toned: bool = True,
        whole: Whole = "auto",
        output: Animation = "png",
        robust: bool = True,
        masks: Files | None = None,
    ) -> tuple[Files, list[dict], dict]:
        """Photographs of people in the style of the evidence: every face in them, and the colours around.

        Args:
            photographs: 1 to 12 uploaded pictures.
            evidence: of the style: 1 to 100 uploaded images, or one saved posterior (.safetensors).
            prior: a name that `info` offers, or hf://owner/repo/file where the host lets.
            strength: from 0, the photograph itself, to 1, all of the style; one number, or one for each latent level,
                fine to coarse: small at the coarse levels keeps structure and light.
            likeness: 0 keeps most of the person, 1 gives what the evidence has.
            toned: whether the rest of a photograph takes the colours that its faces took.
            whole: whether a picture is taken whole: "auto" (when no face is in it), "always", "never".
            output: each photograph at its full size ("png"), or an animation of the way there and back ("webp", "gif",
                "mp4"), at most 640 pixels a side.
            robust: as for `sample`, of the evidence.
            masks: uploaded pictures, white where something on a face is to go, which is then drawn anew before: one for
                all photographs, or one for each; in the proportions of the photograph.

        Returns:
            A file for each photograph that can be used; one object a photograph: name, faces (each as `encode` tells
            it, and `identity`: the distance of dlib's descriptors before and after, under 0.6 usually one person); and
            prior, fingerprint, m, strength, likeness, toned, evidence, seconds.

        Errors: as `sample`; no photograph that can be used; more than 128 images to decode, a face at each step.
        """
        engine = self._engines.get(prior)
        choice(output, "output", get_args(Animation))
        truth(toned, "toned")
        if isinstance(strength, list):
            numbers(strength, "strength", limits.STRENGTH, len(engine.prior.levels))
        else:
            strength = number(strength, "strength", limits.STRENGTH)
        made = {"strength": strength, "likeness": number(likeness, "likeness", limits.LIKENESS), "toned": toned}
        if isinstance(photographs, list) and len(photographs) > limits.MOST_PHOTOGRAPHS:
            raise ValueError(f"photographs: at most {limits.MOST_PHOTOGRAPHS} in one call, not {len(photographs)}")
        shares = [1.0] if output == "png" else [i / (limits.RESTYLE_FRAMES - 1) for i in range(limits.RESTYLE_FRAMES)]
        way = [[s * v for v in strength] if isinstance(strength, list) else s * strength for s in shares]
        files, told = [], []
        with _timed() as facts:
            posterior, style = self._posterior(engine, evidence, "evidence", whole, robust)
            facts |= engine.prior.provenance | {"m": posterior.m} | made
            found = self._images(engine, photographs, "photographs", whole, faces="all").checked().evidence
            count(len(found.used) * len(way), "the number of images", Range(1, limits.MOST_DECODED))
            paths = dict.fromkeys(str(image.source) for image in found)
            over = [None] if masks is None else _pictures(masks, "masks")
            for path, mask in zip(paths, one_for_each(over, len(paths), "photographs"), strict=True):
                of = [image for image in found if str(image.source) == path]
                told.append({"name": of[0].name, "faces": [image.to_dict() for image in of]})
                used = [(image, face) for image, face in zip(of, told[-1]["faces"], strict=True) if image.used]
                if not used:
                    continue
                image, faces = load_image(path), tuple(image for image, _ in used)
                if mask is not None:
                    image, faces = engine.paint_away(image, faces, mask, stop=self._stop)
                restyled = engine.restyle(faces, posterior, way, likeness=made["likeness"], stop=self._stop)
                for (_, face), distance in zip(used, engine.run(restyled.identity, stop=self._stop), strict=True):
                    face["identity"] = distance
                scale = 1.0
                if output != "png":
                    scale = min(1.0, limits.RESTYLE_SIDE / max(image.size))
                    image = enlarge(image, round(scale * max(image.size)))
                pictures = [restyled.pasted(image, step, toned=toned, scale=scale) for step in range(len(way))]
                if output == "png":
                    files.append(_picture(pictures[0], f"{Path(path).stem}.png", facts))
                else:
                    target = _new_file(f"{Path(path).stem}.{output}")
                    save_animation(pictures, target, boomerang=True)
                    files.append(_file(target))
        return files, told, facts | {"evidence": style}

    def mix(
        self,
        a: Files,
        b: Files,
        prior: str = DEFAULT_PRIOR,
        how: Mix = "both",
        share: float = 0.5,
        whole: Whole = "auto",
        robust: bool = True,
    ) -> tuple[gr.FileData, dict]:
        """One posterior of two sets of evidence, as a file that every other endpoint and the page take.

        Args:
            a, b: each 1 to 100 uploaded images, or one saved posterior (.safetensors).
            prior: a name that `info` offers, or hf://owner/repo/file where the host lets.
            how: "both" (more of both: Bayes' rule with all evidence, of which b has this share), "less" (like a, and
                less like b, whose likelihood is divided out), "towards" (a, moved so far along the difference of the
                means).
            share: how much of it, 0 to 1, of "less" to 0.9: beyond, no posterior is left; 0 is a alone.
            whole: whether an image is taken whole: "auto" (when no face is in it), "always", "never".
            robust: as for `sample`.

        Returns:
            A safetensors file; and prior, fingerprint, how, share, m, a and b (what `encode` tells of their images).

        Errors: as `sample`.
        """
        engine = self._engines.get(prior)
        choice(how, "how", MIXES)
        share = number(share, "share", limits.SHARE)
        (first, of_a), (second, of_b) = (
            self._posterior(engine, files, name, whole, robust) for name, files in (("a", a), ("b", b))
        )
        posterior = engine.run(mixed, first, second, how, share, stop=self._stop)
        path = _new_file("posterior.safetensors")
        posterior.save(path, metadata=engine.prior.provenance)
        facts = {"how": how, "share": share, "m": posterior.m, "a": of_a, "b": of_b}
        return _file(path), engine.prior.provenance | facts

    def classify(
        self,
        examples: dict[str, Files],
        queries: Files,
        prior: str = CLASSIFYING_PRIOR,
        lam_ratio: float | None = None,
        likelihood: Likelihood = "low-rank",
        whole: Whole = "auto",
    ) -> dict:
        """Which class each image is of, by the posterior predictive of each class's few examples (eq. 9-11).

        Args:
            examples: class name to uploaded images, at least one each: 1 to 20 classes.
            queries: the uploaded images to classify. Examples and queries together are at most 200.
            prior: a name that `info` offers, or hf://owner/repo/file where the host lets; by default the one that tells
                classes apart best.
            lam_ratio: λ/m, 1e-6 to 1000; null chooses it from the examples.
            likelihood: the shape of Σ: "paper" is λI around 0, "isotropic" λI around the examples' mean.
            whole: whether an image is taken whole: "auto" (when no face is in it), "always", "never".

        Returns:
            prior, fingerprint, classes; threshold (novelty above it means none of these); held_out_accuracy (0 to 1, or
            null where each class has one example); examples (class to what `encode` tells of each image); and queries,
            one object an image: name, problem (or null), best (a class), probabilities (class to 0 … 1, given that it
            is one of them), novelty (0 to 1), none_of_these.

        Errors: as `encode`; too many classes or images; a class without a usable image.
        """
        engine = self._engines.get(prior)
        choice(likelihood, "likelihood", get_args(Likelihood))
        if lam_ratio is not None:
            lam_ratio = number(lam_ratio, "lam_ratio", limits.CLASSIFIER_LAM_RATIO)
        if not isinstance(examples, dict) or len(examples) not in limits.CLASSES_OF_CALL:
            raise ValueError(f"examples takes {limits.CLASSES_OF_CALL} classes, each a name with its images")
        for name in examples:
            limits.class_name(name)
        given = [len(files) for files in (*examples.values(), queries) if isinstance(files, list)]
        if sum(given) > limits.MOST_CLASSIFIED:
            raise ValueError(f"at most {limits.MOST_CLASSIFIED} images in one call, examples and queries together")
        evidence = {
            name: self._images(engine, files, f"examples of {name!r}", whole).evidence
            for name, files in examples.items()
        }
        for name, found in evidence.items():
            if not found.used:
                raise ValueError(f"class {name!r}: {found.why_unusable()}")
        latents = {name: found.z for name, found in evidence.items()}
        classifier = FewShotClassifier(engine.prior, lam_ratio, likelihood=likelihood)
        engine.run(classifier.fit_latents, latents, stop=self._stop)
        asked = self._images(engine, queries, "queries", whole).evidence
        answers = iter(engine.run(classifier.judge, asked.z, stop=self._stop) if asked.used else ())
        results = []
        for image in asked:
            result: dict[str, Any] = {"name": image.name, "problem": image.problem}
            if image.used:
                answer = next(answers)
                result |= {"probabilities": answer.probabilities, "best": answer.best}
                result |= {"novelty": answer.novelty, "none_of_these": answer.none}
            results.append(result)
        return {
            **engine.prior.provenance,
            "classes": list(classifier.classes),
            "threshold": classifier.threshold,
            "held_out_accuracy": classifier.held_out_accuracy,
            "examples": {name: _told(found) for name, found in evidence.items()},
            "queries": results,
        }

    def _intake(self, engine: Engine, files: Any, name: str, whole: Any, **how: Any) -> Intake:
        """What became of uploaded files, whether or not they can be used."""
        choice(whole, "whole", get_args(Whole))
        intake = engine.intake(_uploaded(files, name), whole=whole, stop=self._stop, **how)
        if intake.notes:
            raise ValueError(f"{name}: {' '.join(intake.notes)}")
        return intake

    def _images(self, engine: Engine, files: Any, name: str, whole: Any, **how: Any) -> Intake:
        """The same, where only images will do."""
        intake = self._intake(engine, files, name, whole, **how)
        if intake.saved is not None:
            raise ValueError(f"{name}: give images, not a saved posterior")
        return intake

    def _posterior(
        self, engine: Engine, files: Any, name: str, whole: Any, robust: Any
    ) -> tuple[Posterior, list[dict]]:
        """From images or a saved one, and what is to be told of the images."""
        intake = self._intake(engine, files, name, whole, robust=truth(robust, "robust")).checked()
        return intake.posterior(), _told(intake.evidence)


ENDPOINTS = ("info", "align", "encode", "condition", "sample", "sweep", "interpolate", "restyle", "mix", "classify")
"""Names of the endpoints, without the slash."""


def add_endpoints(engines: Engines) -> None:
    """Serve every endpoint from the current Blocks.

    A call waits for its turn among its caller's own, never in a queue of the page (`queues.API`), and what it computes
    takes turns with what visitors and other callers ask for.
    """
    for name in ENDPOINTS:
        method = getattr(Endpoints(engines), name)
        described = inspect.getdoc(method)
        api(_answering(engines, method), api_name=name, api_description=described, concurrency_limit=None)


def _answering(engines: Engines, method: Callable) -> Callable:
    """A method as Gradio calls it: file objects as the plain dicts that it sends, refusals as one sentence."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        request = LocalContext.request.get(None)
        session = request.session_hash if request else None
        turn = CALLS.turn(_caller(request), LocalContext.event_id.get(None), session)
        try:
            with refusing(markup=False), held(_given(args, kwargs)), turn as stop, owned_by(session):
                return _plain(getattr(Endpoints(engines, stop), method.__name__)(*args, **kwargs))
        except Cancelled as error:  # whoever asked is gone: nobody reads it, and it is no fault to be printed
            raise gr.Error("The call was given up.", print_exception=False) from error

    return call


def _given(*values: Any) -> list[Path]:
    """Paths of all uploaded files among the arguments of a call, however deep they lie; nothing is refused here."""
    found, left = [], list(values)
    while left:
        value = left.pop()
        if isinstance(value, gr.FileData):
            value = {"path": value.path}
        if (file := _upload_of(value)) is not None:
            found.append(file)
        left += value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return found


def _upload_of(value: Any) -> Path | None:
    """Where a file given as {"path": …} lies, if that is among the uploads; whether it is there is not asked."""
    given = value.get("path") if isinstance(value, dict) else None
    if not isinstance(given, str) or "\0" in given:
        return None
    path = Path(given).resolve()
    return path if Path(get_upload_folder()).resolve() in path.parents else None


def _caller(request: gr.Request | None) -> str:
    """The address that a call comes from."""
    scope = getattr(getattr(request, "request", None), "scope", None)
    return caller_of(scope) if scope else ""


def _plain(value: Any) -> Any:
    if isinstance(value, gr.FileData):
        return value.model_dump()
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value


def _uploaded(files: Any, name: str) -> list[Path]:
    """Paths of files that a client uploaded, or gave as text. Raises ValueError for none, too many, and anything else.

    Gradio moves only what is marked as a file, and looks at where it comes from only once it has launched: what stands
    here was never checked, so that it is checked here.
    """
    if not isinstance(files, list) or not files:
        raise ValueError(f"{name}: give a list of at least one file (gradio_client.handle_file)")
    if len(files) > limits.MOST_IMAGES:
        raise ValueError(f"{name}: at most {limits.MOST_IMAGES} files in one call, not {len(files)}")
    paths = []
    for file in files:
        path = _upload_of({"path": str(_named(file, name))} if isinstance(file, str) else file)
        if path is None or not path.is_file():
            raise ValueError(f"{name}: only uploaded files are read (gradio_client.handle_file uploads one)")
        paths.append(path)
    return paths


def _pictures(files: Any, name: str) -> list[Image.Image]:
    """Uploaded files as pictures. Raises ValueError as `_uploaded` does, and for one that is none."""
    return [load_image(path) for path in _uploaded(files, name)]


def _named(address: str, name: str) -> Path:
    try:
        return file_of(address)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _ratio(value: Any, engine: Engine) -> float | list[float]:
    """λ/m as an argument: one number, or one for each level."""
    if isinstance(value, list):
        return numbers(value, "lam_ratio", limits.LAM_RATIO, len(engine.prior.levels))
    return number(value, "lam_ratio", limits.LAM_RATIO)


def _drawn(n: Any, within: Range, seed: Any, temperature: Any) -> dict[str, Any]:
    """What decides the draws: n, seed and temperature."""
    return {
        "n": count(n, "n", within),
        "seed": count(seed, "seed", limits.SEED),
        "temperature": number(temperature, "temperature", limits.TEMPERATURE),
    }


def _told(evidence: Evidence) -> list[dict]:
    return evidence.to_dicts()


def _asked(engine: Engine, manner: Any, lam_ratio: Any, likeness: Any, pieces: Any) -> dict[str, Any]:
    """Keywords of `drawing.ask`, checked before anything is read."""
    if manner != AUTO:
        Manner.parse(manner)
    return {
        "told": manner,
        "lam_ratio": None if lam_ratio is None else _ratio(lam_ratio, engine),
        "likeness": None if likeness is None else number(likeness, "likeness", limits.LIKENESS),
        "pieces": None if pieces is None else number(pieces, "pieces", limits.PIECES),
    }


def _drawing(engine: Engine, posterior: Posterior, asked: dict[str, Any]) -> tuple[Posterior, Sampler, dict[str, Any]]:
    """A posterior at the λ/m of the manner asked for, what its samples are drawn from, and what is told of both."""
    choice_made = ask(posterior, looks=engine.looks, **asked)
    manner = choice_made.manner
    facts = {
        "m": posterior.m,
        "manner": str(manner),
        "why": choice_made.why,
        "lam_ratio": manner.to_dict()["lam_ratio"],
    }
    posterior = posterior.with_lam(engine.ratio(manner.lam_ratio))
    return posterior, engine.draw(posterior, manner), engine.prior.provenance | facts


@contextmanager
def _timed() -> Iterator[dict[str, Any]]:
    facts: dict[str, Any] = {}
    start = time.perf_counter()
    yield facts
    facts["seconds"] = round(time.perf_counter() - start, 3)


def _new_file(name: str) -> Path:
    return new_folder() / name


def _file(path: Path) -> gr.FileData:
    kind = mimetypes.guess_type(path.name)[0]
    return gr.FileData(path=str(path), orig_name=path.name, size=path.stat().st_size, mime_type=kind)


def _picture(image: Image.Image, name: str, facts: dict[str, Any] | None = None) -> gr.FileData:
    """A PNG that says how it was made."""
    path = _new_file(name)
    told = {key: str(value) for key, value in (facts or {}).items() if key not in ("evidence", "seconds", "closest")}
    save_png(image, path, metadata=told)
    return _file(path)
