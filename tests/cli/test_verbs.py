"""What holds for every command: help at once, and mistakes that end in a sentence."""

import os
import signal
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
import typer
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

import demo
import transflow_core
from demo import command
from transflow_core.cli import app
from transflow_core.cli.output import working
from transflow_core.pictures import PictureReader
from transflow_core.priors.catalogue import shipped_priors
from transflow_core.recipes import RECIPES

from ..helpers import ROOT, TIMEOUT


def test_help_is_there_for_every_command():
    listing, names = CliRunner().invoke(app, ["--help"]).stdout, set(typer.main.get_command(app).commands)
    assert names >= {"train", "convert", "export", "info", "bench", *RECIPES}
    for name in names:
        assert name in listing and CliRunner().invoke(app, [name, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "nowhere"], "nowhere"),
        (["sample", "images", "--lam-ratio", "1,2,3"], "tiny has 2 levels"),
        (["sample", "images", "--style", "nowhere"], "no example set 'nowhere'"),
        (["sample", "images", "--lam-ratio", "-1"], "lam_ratio is '-1'; the least is 0"),
        (["sample", "images", "--lam-ratio", "0.5 1"], "lam_ratio is '0.5 1'"),
        (["sample", "images", "-o", "images"], "images is given, so it is not written over"),
        (["restyle", "images/0.png", "--style", "images", "-o", "images/0.png"], "images/0.png is given"),
        (["sample", "images", "-o", "-"], "-o - is standard output, where no result goes"),
        (["sample", "images", "--mask", "white.png"], "The mask covers all of 0.png"),
        (["info", "damaged.safetensors"], "damaged.safetensors"),
        (["sample", "images", "-o", "a.txt"], "a.txt: sample writes .gif, .jpg, .mp4, .png, .webp, a folder"),
        (["sweep", "images", "--method", "local", "--values", "1,7"], "likeness"),
        (["encode", "posterior.safetensors"], "give images, not a saved posterior"),
        (["sample", "images", "--mask", "mask.png", "--mask", "mask.png"], "5 images take one mask, or one for each"),
        (["sample", "tiny.safetensors"], "tiny.safetensors"),
        (["sample", "images", "--prior", "celeba65"], "celeba65"),
        (["mix", "images/0.png", "images/1.png", "--how", "subtract", "--share", "0.95"], "from 0 to 0.9"),
        (["sample", "images", "--device", "wat"], "cannot compute on 'wat' here; choose auto, cpu"),
        (["bench", "--device", "xla"], "cannot compute on 'xla' here"),
        (["bench", "--batches", "1,many"], "--batches is '1,many'; give numbers"),
    ],
)
def test_mistakes_end_in_one_sentence(run, arguments, message):
    Image.new("L", (8, 8)).save("mask.png")
    Image.new("L", (8, 8), 255).save("white.png")
    save_file({"z": torch.zeros(2)}, "damaged.safetensors", {"posterior": "[" * 10_000})
    if "posterior.safetensors" in arguments:
        run("condition", "images")
    words = run(*arguments, fails=True, prior=not {"--prior", "info"} & {*arguments})
    assert message in words and "Traceback" not in words and words.startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        ("sample images --method mine", "'local'"),
        ("sample images --likeness 85", "--likeness"),
        ("mix images/0.png images/1.png --how magic", "'subtract'"),
    ],
)
def test_a_wrong_choice_is_refused_with_those_that_there_are(arguments, choices):
    done = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, arguments)
    assert done.exit_code == 2 and choices in done.output


@pytest.mark.parametrize(
    ("command", "output", "message"),
    [
        ("sample images", "nowhere/a.png", "there is no folder nowhere"),
        ("sample images", "images/0.png/folder", "you cannot write there"),
        ("condition images", "folder.safetensors", "you cannot write there"),
        ("convert tiny.safetensors", "nowhere/a.safetensors", "there is no folder nowhere"),
        ("convert tiny.safetensors", "a.pt", "convert writes .safetensors or a folder"),
        ("convert tiny.safetensors", "tiny.safetensors", "tiny.safetensors is given"),
        ("export tiny.safetensors", "images/0.png", "you cannot write there"),
        ("train images", "images/0.png", "you cannot write there"),
        ("sample images", "CREDITS", "CREDITS is a file"),
        ("sample images", "CREDITS/a.png", "CREDITS is a file"),
    ],
)
def test_where_nothing_can_be_written_nothing_is_loaded(run, monkeypatch, command, output, message):
    Path("folder.safetensors").mkdir()
    Path("CREDITS").touch()
    for what in ("priors.catalogue.load_prior", "checkpoints.convert", "training.data.prepare"):
        monkeypatch.setattr(f"transflow_core.{what}", lambda *_, **__: pytest.fail("it was loaded"))
    assert message in run(*command.split(), "-o", output, fails=True, prior=False)


def test_where_standard_output_is_closed_nothing_fails(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    with working(as_json=False) as work:
        work.wrote(Path("a.png"))


def test_a_pipe_that_ends_early_loses_nothing(run):
    """As that of `| head -1`."""
    command = [sys.executable, "-m", "transflow_core", "sample", "images", "--prior", "tiny.safetensors", "-n", "1"]
    piped, env = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}, {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=env, **piped) as process:
        process.stdout.close()
        assert not process.stderr.read() and process.wait(TIMEOUT) == 0
    assert Path("samples.png").exists()


def test_a_video_that_cannot_be_written_is_refused_before_anything_is_loaded(run, monkeypatch):
    monkeypatch.setattr("transflow_core.images.output.writes_mp4", lambda: False)
    monkeypatch.setattr("transflow_core.priors.catalogue.load_prior", lambda *_, **__: pytest.fail("it was loaded"))
    assert "needs PyAV" in run("sample", "images", "-o", "morph.mp4", fails=True, prior=False)


def test_an_unknown_device_is_refused_before_the_model_is_read(run):
    Path("tiny.safetensors").write_bytes(b"no model")
    assert "cannot compute on" in run("sample", "images", "--device", "wat", fails=True)


def test_what_reads_pictures_ahead_is_cancelled_where_the_command_ends(run, monkeypatch):
    begun = []
    monkeypatch.setattr(PictureReader, "submit", lambda *_, **__: begun.append(Future()) or begun[-1])
    run("sample", "cartoon", "--device", "wat", fails=True, prior=False)
    assert begun and all(reading.cancelled() for reading in begun)


def test_the_device_is_the_one_that_was_asked_for(run):
    pytest.importorskip("openvino", reason='the extra "openvino" is not installed')
    assert run("sample", "images", "-n", 1, "--device", "openvino")["device"] == "openvino"


def test_control_c_stops_what_reads_pictures_to_train_on(run, monkeypatch):
    def prepare(*_, **__):
        raise ValueError("as before" if signal.getsignal(signal.SIGINT) is usual else "it waits for a step")

    usual = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("transflow_core.training.data.prepare", prepare)
    assert "as before" in run("train", "images", "--preset", "tiny32", "-o", "run", fails=True, prior=False)


def test_words_go_where_standard_output_goes_also_beside_a_bar_on_a_terminal():
    terminal, of_command = pytest.importorskip("pty").openpty()
    command = [sys.executable, "-m", "transflow_core", "info"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=of_command, text=True, timeout=TIMEOUT, check=True)
    os.close(of_command)
    os.close(terminal)
    assert all(name in done.stdout for name in shipped_priors())


def test_the_version_and_completion_are_there():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"transflow {transflow_core.__version__}\n"
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).stdout


@pytest.mark.parametrize("fault", [ValueError("PyTorch cannot"), OSError("Cannot find empty port")])
def test_a_page_that_cannot_start_says_why(monkeypatch, fault):
    def launch(*_, **__):
        raise fault

    page = typer.Typer()
    page.command()(command.app)
    for name, stub in (("Engines", lambda *_, **__: None), ("build", lambda _: None), ("launch", launch)):
        monkeypatch.setattr(demo, name, stub)
    done = CliRunner().invoke(page, [])
    assert done.exit_code == 1 and done.stderr == f"error: {fault}\n"


def test_help_waits_for_no_large_library():
    """`-X importtime` lists every module that was imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "transflow_core", "--help"],
        cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported and not imported & {"torch", "dlib", "gradio", "numpy", "PIL", "cv2"}


def test_another_package_brings_a_command(tmp_path):
    """By an entry point, as pip notes it."""
    (tmp_path / "others.py").write_text("def greet():\n    print('hello')\n")
    ours = "transflow_core.nowhere:app"  # what `pip install .` notes in a checkout, which has the page elsewhere
    for name, value in (("greet", "others:greet"), ("broken", "nowhere:command"), ("ours", ours)):
        (noted := tmp_path / f"{name}-1.dist-info").mkdir()
        (noted / "entry_points.txt").write_text(f"[transflow.commands]\n{name} = {value}\n")
    greet = [sys.executable, "-m", "transflow_core", "greet"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    greeted = subprocess.run(greet, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert greeted.stdout == "hello\n" and "the command broken cannot be loaded" in greeted.stderr
    assert "ours" not in greeted.stderr


def test_addresses_of_visitors_are_on_for_this_machine_alone(monkeypatch):
    told, page = [], typer.Typer()
    page.command()(command.app)
    monkeypatch.setattr(demo, "Engines", lambda *_, hub: told.append(hub))
    monkeypatch.setattr(demo, "build", lambda _: None)
    monkeypatch.setattr(demo, "launch", lambda *_, **__: None)
    monkeypatch.delenv("TRANSFLOW_HUB", raising=False)
    for arguments in ([], ["--host", "0.0.0.0"], ["--host", "0.0.0.0", "--hub", "me/glow"], ["--hub", "off"]):
        assert CliRunner().invoke(page, arguments).exit_code == 0
    assert CliRunner(env={"TRANSFLOW_HUB": "friends/*"}).invoke(page).exit_code == 0
    assert told == ["on", "off", "me/glow", "off", "friends/*"]
