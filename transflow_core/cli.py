"""The command line: one thin function a verb. Results go to files, words and `--json` to standard output, progress to
standard error."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from .shipped import DEFAULT_PRIOR, shipped_priors

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Transflow Learning: bend a trained flow towards a handful of images, with no training.",
)

_EVIDENCE = "Images and folders of images; or one posterior that was saved as .safetensors."
EvidenceArg = Annotated[list[Path], typer.Argument(help=_EVIDENCE, show_default=False)]
PriorOpt = Annotated[str, typer.Option("--prior", help="A shipped name, or a file or folder.")]
DeviceOpt = Annotated[str, typer.Option("--device", help='"auto", "cpu", "cuda", …')]
WholeOpt = Annotated[
    str, typer.Option("--whole", help="Take images whole: auto (when no face is found), always, never.")
]
FacesOpt = Annotated[str, typer.Option("--faces", help="Of a picture with several faces: largest, or all.")]
LandmarksOpt = Annotated[str, typer.Option("--landmarks", help="dlib's landmark model: 5 (free licence) or 68.")]
JsonOpt = Annotated[bool, typer.Option("--json", help="A machine-readable result on standard output.")]
LamRatioOpt = Annotated[
    str | None,
    typer.Option(
        "--lam-ratio", help="λ/m; one number, or one for each latent level, fine to coarse: 0.3,0.5,0.5,0.7,0.7"
    ),
]
LamOpt = Annotated[str | None, typer.Option("--lam", help="λ itself, instead of λ/m.")]
SeedOpt = Annotated[int, typer.Option("--seed", help="The same seed gives the same noise at every λ.")]
TemperatureOpt = Annotated[float, typer.Option("--temperature", min=0.0, help="Scales the standard deviation.")]
CountOpt = Annotated[int, typer.Option("-n", "--number", min=1, max=10_000, help="How many samples.")]
OutOpt = Annotated[Path, typer.Option("-o", "--output", help="Where the result goes.")]

ImageSizeOpt = Annotated[int | None, typer.Option("--image-size", help="Where the file does not tell: pixels a side.")]
BitsOpt = Annotated[
    int | None, typer.Option("--bits", help="Where the file does not tell: bits a channel in training.")
]
SetOpt = Annotated[
    list[str] | None, typer.Option("--set", help="Any other setting that the file does not tell: key=value, as JSON.")
]

DEFAULT_LAM_RATIO = "0.5"


@app.command()
def sample(
    evidence: EvidenceArg,
    output: OutOpt = Path("samples.png"),
    number: CountOpt = 16,
    lam_ratio: LamRatioOpt = None,
    lam: LamOpt = None,
    seed: SeedOpt = 0,
    temperature: TemperatureOpt = 1.0,
    images: Annotated[Path | None, typer.Option(help="Also write each sample into this folder.")] = None,
    posterior_file: Annotated[Path | None, typer.Option("--save-posterior", help="Also save the posterior.")] = None,
    prior: PriorOpt = DEFAULT_PRIOR,
    device: DeviceOpt = "auto",
    whole: WholeOpt = "auto",
    faces: FacesOpt = "largest",
    landmarks: LandmarksOpt = "5",
    as_json: JsonOpt = False,
) -> None:
    """Sample images that resemble the evidence, as one sheet."""
    from .images import contact_sheet, save_png, to_pil

    with _work(as_json) as work:
        engine = work.engine(prior, device)
        posterior = work.posterior(engine, evidence, lam_ratio, lam, whole, faces, landmarks)
        x = engine.sample(posterior, number, seed=seed, temperature=temperature, progress=work.progress)
        pictures = to_pil(x)
        how = {"command": "sample", "seed": str(seed), "temperature": str(temperature), **work.provenance}
        save_png(contact_sheet(pictures), output, metadata=how)
        work.wrote(output)
        if images is not None:
            images.mkdir(parents=True, exist_ok=True)
            for index, picture in enumerate(pictures):
                picture.save(images / f"sample_{index:04d}.png")
            work.wrote(images)
        if posterior_file is not None:
            posterior.save(posterior_file, metadata=work.provenance)
            work.wrote(posterior_file)
        work.result |= {"n": number, "seed": seed, "temperature": temperature}


@app.command()
def sweep(
    evidence: EvidenceArg,
    output: OutOpt = Path("sweep.png"),
    lam_ratios: Annotated[str, typer.Option(help="The λ/m to show, as a list.")] = "0.05,0.2,0.3,0.5,0.7,1.0,3.0",
    number: CountOpt = 4,
    seed: SeedOpt = 0,
    temperature: TemperatureOpt = 1.0,
    prior: PriorOpt = DEFAULT_PRIOR,
    device: DeviceOpt = "auto",
    whole: WholeOpt = "auto",
    faces: FacesOpt = "largest",
    landmarks: LandmarksOpt = "5",
    as_json: JsonOpt = False,
) -> None:
    """Show what λ does: the same draws at several λ/m, a column each (Fig. 7 and 8 of the paper)."""
    from .images import labelled_rows, save_png, to_pil

    with _work(as_json) as work:
        ratios = _numbers(lam_ratios, "--lam-ratios")
        engine = work.engine(prior, device)
        found = work.evidence(engine, evidence, whole, faces, landmarks)
        x = engine.sweep(found, ratios, number, seed=seed, temperature=temperature, progress=work.progress)
        rows = [to_pil(x[:, draw]) for draw in range(number)]
        labels = [f"λ/m = {ratio:g}" for ratio in ratios]
        how = {"command": "sweep", "lam_ratios": lam_ratios, "seed": str(seed), "temperature": str(temperature)}
        save_png(labelled_rows(rows, column_labels=labels), output, metadata=how | work.provenance)
        work.wrote(output)
        work.result |= {"lam_ratios": ratios, "n": number, "seed": seed, "temperature": temperature}


@app.command()
def interpolate(
    a: Annotated[Path, typer.Argument(help="Image, folder of images, or saved posterior.", show_default=False)],
    b: Annotated[Path, typer.Argument(help="The other end.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A strip (.png) or an animation (.webp, .gif, .mp4).")
    ] = Path("interpolation.png"),
    steps: Annotated[int, typer.Option(min=2, max=1000, help="Posteriors along the way, both ends included.")] = 8,
    number: CountOpt = 4,
    method: Annotated[str, typer.Option(help='"linear", as in the paper, or "wasserstein".')] = "linear",
    lam_ratio: LamRatioOpt = None,
    lam: LamOpt = None,
    seed: SeedOpt = 0,
    temperature: TemperatureOpt = 1.0,
    prior: PriorOpt = DEFAULT_PRIOR,
    device: DeviceOpt = "auto",
    whole: WholeOpt = "auto",
    faces: FacesOpt = "largest",
    landmarks: LandmarksOpt = "5",
    as_json: JsonOpt = False,
) -> None:
    """Go from one posterior to another with the same draws (Fig. 3 of the paper)."""
    from .images import ANIMATION_SUFFIXES, contact_sheet, labelled_rows, save_animation, save_png, to_pil

    with _work(as_json) as work:
        engine = work.engine(prior, device)
        ends = [work.posterior(engine, [end], lam_ratio, lam, whole, faces, landmarks) for end in (a, b)]
        x = engine.interpolate(
            *ends, steps, number, method=method, seed=seed, temperature=temperature, progress=work.progress
        )
        if output.suffix.lower() in ANIMATION_SUFFIXES:
            save_animation([contact_sheet(to_pil(frame)) for frame in x], output, boomerang=True)
        else:
            labels = [f"{i / (steps - 1):.2f}" for i in range(steps)]
            rows = [to_pil(x[:, draw]) for draw in range(number)]
            how = {"command": "interpolate", "method": method, "steps": str(steps), "seed": str(seed)}
            save_png(labelled_rows(rows, column_labels=labels), output, metadata=how | work.provenance)
        work.wrote(output)
        work.result |= {"steps": steps, "n": number, "method": method, "seed": seed, "temperature": temperature}


@app.command()
def align(
    pictures: Annotated[list[Path], typer.Argument(help="Images and folders of images.", show_default=False)],
    output: OutOpt = Path("aligned"),
    size: Annotated[int, typer.Option(min=8, max=2048, help="Side of the frame, in pixels.")] = 64,
    whole: WholeOpt = "never",
    landmarks: LandmarksOpt = "5",
    as_json: JsonOpt = False,
) -> None:
    """Cut every face out of pictures, aligned as the priors were trained, into a folder."""
    from .evidence import content_of, read_picture
    from .images import ImageError, find_images

    with _work(as_json) as work:
        files = find_images(pictures)
        output.mkdir(parents=True, exist_ok=True)
        results = []
        for index, file in enumerate(files):
            work.progress(index, len(files), "looking for faces")
            try:
                _, content, _ = content_of(file)
            except ImageError as error:
                results.append({"name": str(file), "problem": error.problem, "faces": []})
                continue
            picture = read_picture(content, name=file.name, size=size, whole=whole, landmarks=landmarks)
            entry = {"name": str(file), "problem": picture.problem, "faces": []}
            for number, face in enumerate(picture.faces):
                target = output / f"{index:04d}_{file.stem}_{number}.png"
                face.image.save(target)
                eyes = [list(eye) for eye in face.eyes] if face.eyes else None
                entry["faces"].append(
                    {
                        "file": str(target),
                        "how": face.how,
                        "box": list(face.box),
                        "eyes": eyes,
                        "rotation": face.rotation,
                    }
                )
            results.append(entry)
            said = picture.problem or "; ".join(face.how for face in picture.faces)
            work.say(f"{file}: {said}")
        work.result["pictures"] = results
        if not any(entry["faces"] for entry in results):
            raise ValueError("no face was found in any of the pictures (--whole auto takes such pictures whole)")
        work.wrote(output)


@app.command()
def encode(
    pictures: Annotated[list[Path], typer.Argument(help="Images and folders of images.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write latents here (.safetensors).")] = None,
    prior: PriorOpt = DEFAULT_PRIOR,
    device: DeviceOpt = "auto",
    whole: WholeOpt = "auto",
    faces: FacesOpt = "largest",
    landmarks: LandmarksOpt = "5",
    as_json: JsonOpt = False,
) -> None:
    """Invert images: their latents, log-likelihoods, and how typical they are."""
    from safetensors.torch import save_file

    with _work(as_json) as work:
        engine = work.engine(prior, device)
        found = work.evidence(engine, pictures, whole, faces, landmarks)
        for image in found:
            if image.latent is not None:
                work.say(
                    f"{image.name}: log N(z; 0, I) = {image.latent.log_prior:,.1f} nats, "
                    f"log p(x) = {image.latent.log_prob:,.1f} nats" + (f", {image.verdict}" if image.verdict else "")
                )
        if output is not None:
            names = json.dumps([image.name for image in found.used])
            header = {"names": names, "prior": engine.prior.name, "fingerprint": engine.prior.fingerprint}
            save_file({"z": found.z.contiguous()}, output, header)
            work.wrote(output)


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A checkpoint of another project.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="A .safetensors file, or a folder.")],
    image_size: ImageSizeOpt = None,
    bits: BitsOpt = None,
    settings: SetOpt = None,
    half: Annotated[bool, typer.Option(help="Store the nets' weights in float16: half the size.")] = False,
    as_json: JsonOpt = False,
) -> None:
    """Turn another project's Glow into a native prior (formats: docs/priors.md)."""
    from .checkpoints import convert as read
    from .checkpoints import save_native

    with _work(as_json) as work:
        work.progress(0, 1, "reading")
        checkpoint = read(file, options=_settings(image_size, bits, settings))
        work.progress(0, 1, "writing")
        save_native(checkpoint, output, half=half)
        work.wrote(output)
        work.result |= {"name": checkpoint.name, "fingerprint": checkpoint.fingerprint, **checkpoint.metadata}


@app.command()
def classify(
    pictures: Annotated[list[Path], typer.Argument(help="Images and folders of images.", show_default=False)],
    classes: Annotated[
        list[Path],
        typer.Option(
            "--class", help="A folder of examples, named as the class; once for each. Or one saved classifier."
        ),
    ],
    augment: Annotated[int, typer.Option(min=0, max=100, help="Distorted copies of each example.")] = 0,
    likelihood: Annotated[
        str, typer.Option(help='The shape of Σ: "low-rank", "diagonal", "levels", "isotropic".')
    ] = "low-rank",
    lam_ratio: Annotated[float | None, typer.Option("--lam-ratio", help="λ/m; by default from the examples.")] = None,
    classifier_file: Annotated[
        Path | None, typer.Option("--save-classifier", help="Also save the classifier (.safetensors).")
    ] = None,
    prior: PriorOpt = DEFAULT_PRIOR,
    device: DeviceOpt = "auto",
    whole: WholeOpt = "auto",
    faces: FacesOpt = "largest",
    landmarks: LandmarksOpt = "5",
    as_json: JsonOpt = False,
) -> None:
    """Tell which class images are of, from a few examples each; or that they are of none."""
    from .fewshot import FewShotClassifier

    with _work(as_json) as work:
        engine = work.engine(prior, device)
        if len(classes) == 1 and classes[0].suffix.lower() == ".safetensors":
            classifier = FewShotClassifier.load(classes[0], engine.prior)
        else:
            names = [folder.resolve().name for folder in classes]
            if len(set(names)) < len(names):
                raise ValueError(f"two classes have one name: {', '.join(names)}")
            shown = [work.evidence(engine, [folder], whole, faces, landmarks) for folder in classes]
            classifier = FewShotClassifier(engine.prior, lam_ratio, likelihood=likelihood)
            if augment:
                frames = [[image.face.image for image in found.used] for found in shown]
                classifier.fit(dict(zip(names, frames, strict=True)), augment=augment)
            else:
                classifier.fit_latents({name: found.z for name, found in zip(names, shown, strict=True)})
        found = work.evidence(engine, pictures, whole, faces, landmarks)
        probabilities = classifier.predict_proba_latents(found.z).tolist()
        results = []
        for image, row, novelty in zip(found.used, probabilities, classifier.novelty(found.z).tolist(), strict=True):
            best = max(range(len(row)), key=row.__getitem__)
            none = novelty > classifier.threshold
            results.append(
                {
                    "name": image.name,
                    "class": None if none else classifier.classes[best],
                    "probabilities": dict(zip(classifier.classes, row, strict=True)),
                    "novelty": novelty,
                }
            )
            said = "none of these" if none else f"{classifier.classes[best]} ({row[best]:.0%})"
            work.say(f"{image.name}: {said}, novelty {novelty:.2f}")
        work.result |= {
            "classes": dict(zip(classifier.classes, classifier.counts, strict=True)),
            "held_out_accuracy": classifier.held_out_accuracy,
            "threshold": classifier.threshold,
            "results": results,
        }
        if classifier_file is not None:
            classifier.save(classifier_file)
            work.wrote(classifier_file)


@app.command()
def info(
    what: Annotated[str | None, typer.Argument(help="A prior, or a sheet whose making is to be read.")] = None,
    image_size: ImageSizeOpt = None,
    bits: BitsOpt = None,
    settings: SetOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Tell what a prior is, or how a sheet was made; without an argument, which priors there are."""
    from .checkpoints import KNOWN_PRIORS, recognise
    from .images import read_png_metadata
    from .prior import load_prior

    with _work(as_json) as work:
        facts: dict[str, Any]
        if what is None:
            facts = {"shipped": shipped_priors(), "known": [known.to_dict() for known in KNOWN_PRIORS]}
            work.say(f"ships: {', '.join(facts['shipped'])}")
            for known in KNOWN_PRIORS:
                work.say(f"{known.name}: {known.title}\n  {known.address}\n  {known.licence}\n  needs {known.hardware}")
            work.result |= facts
            return
        options = _settings(image_size, bits, settings)
        found = recognise(what) if Path(what).is_file() and not what.lower().endswith(".png") else None
        if what.lower().endswith(".png"):
            facts = dict(read_png_metadata(Path(what)))
            if not facts:
                raise ValueError(f"{what} does not say how it was made")
        elif found is not None and found.asks and not options:
            facts = {"format": found.format, "container": found.container, "asks": dict(found.asks)}
        else:
            facts = load_prior(what, device="cpu", **options).info()
        work.result |= facts
        for key, value in facts.items():
            if key == "levels":
                value = ", ".join(f"{level['name']} × {level['shape'][0]} ({level['dim']})" for level in value)
            work.say(f"{key}: {value}")


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="A folder or a zip of images.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The run's folder; the prior will lie there.")],
    preset: Annotated[
        str | None,
        typer.Option(help="celeba64, tiny32, celeba128 (grows a 64×64 prior), celebahq256 (GPU). [default: celeba64]"),
    ] = None,
    grow: Annotated[
        str | None, typer.Option(help="A prior to grow by one level: its images become twice as large.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Begin with the weights of this prior; with --grow, of its details.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget on the clock; the schedule follows it.")] = None,
    steps: Annotated[int | None, typer.Option(help="Budget in steps: such a run repeats to the bit.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step, over all processes.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's, after warm-up.")] = None,
    nets: Annotated[
        str, typer.Option(help="Coupling nets in float32, bfloat16, or auto: whichever is faster.")
    ] = "auto",
    align_faces: Annotated[
        str, typer.Option("--align", help="never: images are in the frame; auto: align faces; always: only faces.")
    ] = "never",
    held_out: Annotated[
        str, typer.Option(help="Kept from training: a share of the files, or a pattern of names: 'val*/*'.")
    ] = "0.02",
    bits: Annotated[int | None, typer.Option(min=1, max=8, help="Bits a channel that training sees.")] = None,
    seed: SeedOpt = 0,
    every_minutes: Annotated[float | None, typer.Option(help="Between measurements, sheets and checkpoints.")] = None,
    name: Annotated[str | None, typer.Option(help="What the prior is called. [default: the folder's name]")] = None,
    data_words: Annotated[str, typer.Option("--data-words", help="For the card: what the images are.")] = "",
    licence: Annotated[str, typer.Option(help="For the card: on what terms they may be used.")] = "",
    blend: Annotated[
        float,
        typer.Option(
            help="With --from: the share of the trained weights in what is kept; the rest are those it began with, "
            "which keeps the flow steadier on images unlike its data."
        ),
    ] = 1.0,
    half: Annotated[bool, typer.Option(help="Store the nets' weights in float16: half the size.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on with the run in the folder; give the same options.")] = False,
    device: DeviceOpt = "auto",
    as_json: JsonOpt = False,
) -> None:
    """Train a prior of your own images. Ctrl-C saves; --resume goes on. Under torchrun, processes share each batch."""
    from dataclasses import replace

    from .flows import GlowConfig, GrownConfig
    from .pixels import PixelConvention
    from .prior import load_prior
    from .training import PRESETS, Processes, bfloat16_is_faster, prepare, resumed_settings
    from .training import train as run

    with _work(as_json, counted=False) as work, _stopped_by_signals() as stop, Processes.joined(device) as group:
        work.speaks = group.first  # of several processes, one tells
        preset = preset or ("celeba128" if grow else "celeba64")
        if preset not in PRESETS:
            raise ValueError(f"no preset called {preset!r}: there are {', '.join(PRESETS)}")
        shape = PRESETS[preset].flow
        if not isinstance(shape, GlowConfig | GrownConfig) and grow is None:
            raise ValueError(f"the preset {preset} grows a prior: say which, with --grow")
        base = load_prior(grow, device="cpu") if grow else None
        begun = load_prior(start, device="cpu") if start else None
        size = 2 * base.image_size if base else shape.image_size
        pixels = base.pixels if base else PixelConvention(bits=PRESETS[preset].bits)
        if nets not in ("auto", "float32", "bfloat16"):
            raise ValueError(f"--nets must be auto, float32 or bfloat16, not {nets!r}")
        if nets != "auto":
            half_nets = nets == "bfloat16"
        else:  # a run that goes on keeps what it began with
            half_nets = None if resume else bool(group.told(bfloat16_is_faster(group.device))[0])
        settings = (resumed_settings(output) if resume else PRESETS[preset].settings).with_given(
            minutes=minutes,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            every_minutes=every_minutes,
            seed=seed,
            half_nets=half_nets,
        )
        images = group.first_then_all(
            lambda: prepare(
                data, size, output / "images", align_faces=align_faces, held_out=held_out, progress=work.progress
            )
        )
        for why, count in images.left_out.items():
            work.say(f"left out {count} files: {why}")

        def show(now) -> None:
            left = "" if now.seconds_left is None else f", {_time(now.seconds_left)} left"
            known = "" if now.held_out_bits is None else f" (held out {now.held_out_bits:.4f})"
            bits = "" if now.bits is None else f", {now.bits:.4f} bits{known}, {now.images_per_s:.0f} images/s"
            words = f"{now.doing}: step {now.step:,}{bits}{left}"
            work.progress(round(1000 * now.fraction), 1000, words)
            if now.doing != "training" and not work.live:
                work.say(words)

        trained = run(
            images,
            output,
            shape,
            pixels if bits is None else replace(pixels, bits=bits),
            settings,
            name=name or output.resolve().name,
            start=begun,
            grow=base,
            words={"data": data_words, "licence": licence, "command": _command()},
            half=half,
            blend=blend,
            resume=resume,
            group=group,
            progress=show,
            stop=stop,
        )
        if not group.first:
            return
        last = trained.measured[-1]
        work.result |= {
            "finished": trained.finished,
            "step": trained.step,
            "images": trained.images,
            "minutes": trained.seconds / 60,
            "skipped": trained.skipped,
            "measured": trained.measured,
        }
        work.say(
            f"{trained.step:,} steps, {trained.images:,} images: "
            f"{last['held_out_bits']:.4f} bits per dimension on {last['held_out_images']} held-out images"
        )
        if trained.skipped:
            work.say(f"{trained.skipped} steps were skipped: their gradient was not finite")
        work.wrote(output)
        if not trained.finished:
            work.say("stopped and saved; the same command with --resume goes on")


@app.command()
def bench(
    prior: PriorOpt = DEFAULT_PRIOR,
    device: DeviceOpt = "auto",
    number: CountOpt = 16,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Timed runs of each.")] = 5,
    as_json: JsonOpt = False,
) -> None:
    """Time inversion and sampling of a prior on this machine."""
    import statistics

    import torch

    from .posterior import standard_normal
    from .preview import Preview

    with _work(as_json) as work:
        flow = work.engine(prior, device).prior
        preview = Preview(flow)
        z = 0.7 * standard_normal(number, flow.dim)
        x = flow.decode(z)
        jobs = {
            "decode": lambda: flow.decode(z, batch_size=number),
            "preview": lambda: preview.decode(z, batch_size=number),
            "encode": lambda: flow.encode(x, number),
        }
        for index, (name, job) in enumerate(jobs.items()):
            seconds = []
            for repeat in range(repeats + 1):
                work.progress(index * (repeats + 1) + repeat, len(jobs) * (repeats + 1), f"timing {name}")
                start = time.perf_counter()
                job().cpu()  # waits for the device
                seconds.append(time.perf_counter() - start)
            middle = statistics.median(seconds[1:])  # the first run makes the flow's matrices ready
            work.result[name] = {"n": number, "median_s": middle, "images_per_s": number / middle}
            work.say(f"{name} {number} images: {1000 * middle:.0f} ms ({number / middle:.0f} images/s)")
        found = preview.measured()
        work.result["preview"] |= {"bfloat16": found.bfloat16, "speed_up": found.speed_up, "error": found.error}
        if found.error is not None:
            work.say(
                f"previews: nets in {'bfloat16' if found.bfloat16 else 'float32'}; bfloat16 is {found.speed_up:.2f} "
                f"times as fast, and off by {255 * found.error:.1f}/255 at most"
            )
        work.result["threads"] = torch.get_num_threads()


class _Work:
    """One command under way: what it says, its progress, and its result for `--json`."""

    def __init__(self, as_json: bool, bar: Bar) -> None:
        self.as_json, self._bar = as_json, bar
        self.live = not bar.disable
        self.speaks = True
        self.result: dict[str, Any] = {}
        self.provenance: dict[str, str] = {}
        self._task = bar.add_task("loading", total=None)

    def say(self, words: str) -> None:
        """Words for a person: on standard output, or on standard error when that is taken by JSON."""
        if self.speaks:
            print(words, file=sys.stderr if self.as_json else sys.stdout)

    def wrote(self, path: Path) -> None:
        """Note a file that was written."""
        self.result.setdefault("files", []).append(str(path))
        self.say(f"wrote {path}")

    def progress(self, done: int, total: int, what: str) -> None:
        """An engine's progress, as a bar on standard error."""
        self._bar.update(self._task, completed=done, total=total, description=what)

    def engine(self, prior: str, device: str):
        """The prior at work, noted in the result."""
        from .engine import Engine
        from .prior import load_prior

        engine = Engine(load_prior(prior, device=device))
        self.provenance |= {"prior": engine.prior.name, "fingerprint": engine.prior.fingerprint}
        self.result |= {"prior": engine.prior.name, "device": str(engine.prior.device)}
        return engine

    def evidence(self, engine, paths: list[Path], whole: str, faces: str, landmarks: str):
        """Evidence from files and folders; what was skipped is said."""
        from .images import find_images

        if faces not in ("largest", "all"):
            raise ValueError(f'--faces must be "largest" or "all", not {faces!r}')
        found = engine.evidence(
            find_images(paths), whole=whole, landmarks=landmarks, faces=faces, progress=self.progress
        )
        self.result.setdefault("evidence", []).extend(image.to_dict() for image in found)
        for image in found:
            if not image.used or (image.verdict and image.verdict.word == "far outside"):
                self.say(f"{image.name}: {image.summary}")
        if not found.used:
            raise ValueError(found.why_unusable())
        return found

    def posterior(self, engine, paths: list[Path], lam_ratio, lam, whole: str, faces: str, landmarks: str):
        """A posterior from evidence, or from the one file that is a saved one."""
        from .posterior import per_level

        if len(paths) == 1 and paths[0].suffix.lower() == ".safetensors":
            saved = engine.load_posterior(paths[0])
            condition, m = saved.with_lam, saved.m
            if lam is None and lam_ratio is None:
                self._note_lam({"m": m})
                return saved
        else:
            found = self.evidence(engine, paths, whole, faces, landmarks)
            condition, m = found.condition, float(found.weights.sum())
        if lam_ratio is not None and lam is not None:
            raise ValueError("give --lam-ratio or --lam, not both")
        name, text = ("lam", lam) if lam is not None else ("lam_ratio", lam_ratio or DEFAULT_LAM_RATIO)
        values = _numbers(text, "--" + name.replace("_", "-"))
        if len(values) not in (1, len(engine.prior.levels)):
            raise ValueError(f"give one λ, or {len(engine.prior.levels)}, one for each level; not {len(values)}")
        single = len(values) == 1
        self._note_lam({name: values[0] if single else values, "m": m})
        return condition(**{name: values[0] if single else per_level(values, engine.prior.levels)})

    def _note_lam(self, facts: dict[str, Any]) -> None:
        self.result |= facts
        self.provenance |= {key: str(value) for key, value in facts.items()}


@contextmanager
def _work(as_json: bool, counted: bool = True) -> Iterator[_Work]:
    """Run one command: progress while it works, its JSON when it is done, and errors as one plain sentence."""
    start = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn() if counted else TaskProgressColumn())
    console = Console(stderr=True)
    try:
        with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            work = _Work(as_json, bar)
            yield work
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    if as_json and work.speaks:
        print(json.dumps(work.result | {"seconds": round(time.perf_counter() - start, 3)}))


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a scheduler's SIGTERM sets: work ends where it can be saved. A second Ctrl-C kills."""
    stop = threading.Event()
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _: Any) -> None:
        stop.set()
        signal.signal(number, earlier[number])
        print("stopping after this step; saving …", file=sys.stderr)

    try:
        for number in earlier:
            signal.signal(number, handle)
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _command() -> str:
    """The command as it was given, for the model card."""
    return shlex.join(["python", "-m", "transflow_core", *sys.argv[1:]])


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _settings(image_size: int | None, bits: int | None, settings: list[str] | None) -> dict[str, Any]:
    """Options of `load_prior` and `convert` from the command line's."""
    options = {key: value for key, value in (("image_size", image_size), ("bits", bits)) if value is not None}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set takes key=value, not {setting!r}")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} takes a number, or numbers with commas between them, not {text!r}") from None


def main() -> None:
    """Entry point of `python -m transflow_core`."""
    app()
