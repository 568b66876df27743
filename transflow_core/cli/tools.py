"""The commands that do more than to run a recipe: `info`, `convert`, `export`, `bench`, `train`."""

import json
import re
import shlex
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError
from typer import Argument, Option

from ..priors.catalogue import known_priors, shipped_examples, shipped_files, shipped_priors
from ..recipes import DEFAULT_PRIOR, Recipe
from ..training import Train
from .output import working

Prior = Annotated[str, Option("--prior", help="A shipped name, or a file or folder.")]
Device = Annotated[str, Option("--device", help='"auto", "cpu", "cuda", "openvino", …')]
AsJson = Annotated[bool, Option("--json", help="A machine-readable result on standard output.")]
Half = Annotated[bool, Option(help="Store the nets' weights in float16: half the size.")]
ImageSize = Annotated[int | None, Option(help="Pixels a side: where the file does not say, or has several sizes.")]
Bits = Annotated[int | None, Option(help="Bits a channel in training, where the file does not say.")]
Settings = Annotated[list[str] | None, Option("--set", help="Another setting of the file: key=value, as JSON.")]


def info(
    what: Annotated[str | None, Argument(help="A prior, or a sheet, a posterior or a classifier.")] = None,
    image_size: ImageSize = None,
    bits: Bits = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a prior is, or how a file was made; without an argument, which priors there are."""
    from ..images.files import IMAGE_SUFFIXES
    from ..images.output import read_png_metadata
    from ..priors.catalogue import load_prior

    with working(as_json) as work:
        if what is None:
            work.result |= {"shipped": shipped_priors(), "known": known_priors()}
            work.say(f"ships: {', '.join(shipped_priors())}")
            work.say(f"examples: {', '.join(shipped_examples())}")
            for known in known_priors():
                work.say("{name}: {title}\n  {address}\n  {licence}\n  needs {hardware}".format_map(known))
            return
        if Path(what).suffix.lower() in IMAGE_SUFFIXES:
            facts: dict[str, Any] = dict(read_png_metadata(Path(what)))
            if not facts:
                raise ValueError(f"{what} does not say how it was made")
        elif made := made_as(Path(what)):
            facts = made
        else:
            facts = load_prior(what, device="cpu", **_settings(image_size, bits, settings)).info()
        work.result |= facts
        for key, value in facts.items():
            if key == "levels":
                value = ", ".join(f"{level['name']} × {level['shape'][0]} ({level['dim']})" for level in value)
            work.say(f"{key}: {value}")


class _Header(BaseModel):
    metadata: dict[str, str] = {}


def made_as(path: Path) -> dict[str, Any]:
    """How a saved posterior, a classifier or latents were made; nothing of another file."""
    from ..untrusted import open_safetensors

    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return {}
    with open_safetensors(path, "file") as file:
        texts: dict[str, Any] = dict(file.metadata() or {})
    for kind in ("posterior", "classifier"):
        with suppress(KeyError, ValidationError):
            return {"kind": kind, **_Header.model_validate_json(texts[kind]).metadata}
    return {"kind": "latents"} | texts if "recipe" in texts else {}


def _settings(image_size: int | None, bits: int | None, more: list[str] | None) -> dict[str, Any]:
    """Options of `load_prior` and `convert`."""
    given = {"image_size": image_size, "bits": bits}
    found: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for setting in more or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set takes key=value, not {setting!r}")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def convert(
    file: Annotated[Path, Argument(help="A checkpoint, a folder, or a shipped name.", show_default=False)],
    output: Annotated[Path, Option("-o", "--output", help="A .safetensors file, or a folder.")],
    image_size: ImageSize = None,
    bits: Bits = None,
    settings: Settings = None,
    half: Half = False,
    as_json: AsJson = False,
) -> None:
    """Turn another project's Glow into a native prior (formats: docs/priors.md); pack a native one into a file."""
    from ..checkpoints import convert as read
    from ..checkpoints.native import save_native

    with working(as_json) as work:
        if output.suffix.lower() not in ("", ".safetensors"):
            raise ValueError(f"{output}: convert writes .safetensors or a folder")
        work.check_output(output, [file])
        file, side = shipped_files().get(str(file), (file, image_size))
        checkpoint = read(file, options=_settings(image_size or side, bits, settings))
        save_native(checkpoint, output, half=half)
        work.wrote(output)
        work.result |= {"name": checkpoint.name, **checkpoint.metadata}
        del checkpoint  # there may be no memory for two
        work.result["fingerprint"] = read(output).fingerprint  # with --half, of other weights


def export(
    prior: Annotated[str, Argument(help="A shipped name, or a file or folder.", show_default=False)],
    output: Annotated[Path, Option("-o", "--output", help="A folder.")],
    as_json: AsJson = False,
) -> None:
    """Write a prior as ONNX graphs, to encode and decode with where there is no Python (docs/priors.md)."""
    from ..priors.catalogue import load_prior
    from ..priors.export import export_onnx

    with working(as_json) as work:
        work.check_output(output, folder=True)
        config = export_onnx(load_prior(prior, device="cpu"), output, work.progress)
        for name, graph in config["graphs"].items():
            work.wrote(output / name)
            work.say(f"off by {graph['off_by']:.1g} at most")
        work.result |= config


def bench(
    prior: Prior = DEFAULT_PRIOR,
    device: Device = "auto",
    batches: Annotated[str, Option(help="How many images at once; a list.")] = "1,16,64",
    repeats: Annotated[int, Option(min=1, max=1000, help="Timed rounds.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Time a prior on this machine in both directions, and measure its error."""
    import torch

    from ..posterior import standard_normal
    from ..priors.catalogue import load_prior

    with working(as_json) as work:
        if not re.fullmatch(r"[1-9]\d{0,3}(,[1-9]\d{0,3})*", batches):
            raise ValueError(f"--batches is {batches!r}; give numbers such as 1,16,64")
        facts, start = work.result, time.perf_counter()
        engine = work.engine(prior, device)
        flow, fast = engine.prior, engine.fast
        side = flow.image_size // (2 if flow.device.type == "cpu" else 1)
        x = flow.decode(0.7 * standard_normal(1, flow.dim))
        facts |= {"load_s": time.perf_counter() - start, "threads": torch.get_num_threads()}
        flows = [("", flow, fast)]
        if flow.openvino:
            plain = load_prior(prior, device="cpu")
            flows.append((" by torch", plain, plain))
        work.say(f"from nothing to the first image: {facts['load_s']:.2f} s, {facts['threads']} threads")
        for n in map(int, batches.split(",")):
            z = 0.7 * standard_normal(n, flow.dim)
            x = flow.decode(z, n)
            jobs = {}
            for by, one, quick in flows:
                jobs[f"decode{by}"] = partial(one.decode, z, n)
                jobs[f"preview{by}"] = partial(quick.decode, z, n, side)
                jobs[f"encode{by}"] = partial(one.encode, x, n)
            times: dict[str, list[float]] = {name: [] for name in jobs}
            for turn in range(repeats + 1):  # the first warms up; in turn, since a busy machine then slows all alike
                work.progress(turn, repeats + 1, f"timing {n} images")
                for name, job in jobs.items():
                    begun = time.perf_counter()
                    job().cpu()  # waits for a device
                    times[name].append(time.perf_counter() - begun)
            for name, seconds in times.items():
                s = statistics.median(seconds[1:])
                facts.setdefault(name, []).append({"n": n, "median_s": s, "images_per_s": n / s})
                work.say(f"{name} {n} images: {1000 * s:.0f} ms ({n / s:.1f} images/s)")
        z, nets = 0.7 * standard_normal(4, flow.dim), str(fast.nets or torch.float32).removeprefix("torch.")
        error = float((flow.decode(flow.encode(x)) - x).abs().max())
        off = float((fast.decode(z, side=side) - flow.decode(z, side=side)).abs().max())
        facts |= {"reconstruction_error": error, "preview_nets": nets, "preview_error": off}
        work.say(f"samples come back from their latents within {255 * error:.2g}/255")
        work.say(f"previews have nets in {nets}, and are off by {255 * off:.1f}/255 at most")


def run_training(
    model: type[Recipe],
    values: Mapping[str, Any],
    inputs: Mapping[str, Any],
    output: Path,
    device: str,
    strict: bool,
    as_json: bool,
) -> None:
    """Run the command of `Train`, from its options to the folder of the run."""
    with working(as_json) as work:
        asked = Train.checked(values)
        work.check_output(output, folder=True)
        from ..training.data import prepare
        from ..training.plan import plan
        from ..training.processes import Processes
        from ..training.trainer import train

        def show(done: int, total: int, words: str) -> None:
            work.progress(done, total, words)
            if words.startswith("measuring") and not work.live:
                work.say(words)

        with Processes.joined(device) as group:
            work.speaks = not group.rank  # of several processes, one prints
            made = plan(asked, output, group.device)
            size, settings = made.config.image_size, made.settings
            how = {"align_faces": settings.align, "held_out": settings.held_out, "progress": work.progress}
            how["ignore"] = [output / "samples", output / "samples.png"]
            images = group.first_then_all(lambda: prepare(inputs["data"], size, output / "images", **how))
            for why, count in images.left_out.items():
                work.say(f"left out {count} files: {why}")
            if strict and images.left_out:
                raise ValueError("--strict: some of the files could not be used, so nothing is trained")
            command = shlex.join(["python", "-m", "transflow_core", *sys.argv[1:]])
            with _stopped_by_signals() as stop:
                found = train(images, output, made, group, command=command, progress=show, cancel=stop)
        if group.rank:
            return
        work.result |= {name: getattr(found, name) for name in ("finished", "step", "images", "skipped", "measured")}
        work.result["minutes"], last = found.seconds / 60, found.measured[-1]
        bits = f"{last['held_out_bits']:.4f} bits per dimension on {last['held_out_images']} held-out images"
        work.say(f"{found.step:,} steps, {found.images:,} images: {bits}")
        if found.skipped:
            work.say(f"{found.skipped} steps were skipped: their gradient was not finite")
        work.wrote(output)
        if not found.finished:
            work.say("stopped and saved; the same command with --resume continues")


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a scheduler's SIGTERM sets: work ends where it can be saved. A second Ctrl-C kills."""
    stop = threading.Event()

    def handle(number: int, _: Any) -> None:
        stop.set()
        signal.signal(number, earlier[number])
        print("stopping after this step; saving …", file=sys.stderr)

    earlier: dict[int, Any] = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    yield stop
    for number, handler in earlier.items():
        signal.signal(number, handler)
