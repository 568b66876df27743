"""What holds for every verb: help at once, and mistakes that end in a sentence."""

import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import demo
from transflow_core.cli import app

from ..helpers import ROOT


def test_help_is_there_for_every_verb():
    listing = CliRunner().invoke(app, ["--help"]).stdout
    verbs = list(typer.main.get_command(app).commands)
    assert len(verbs) == 15
    for verb in verbs:
        assert verb in listing
        assert CliRunner().invoke(app, [verb, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "nowhere"], "nowhere"),
        (["sample", "images", "--lam-ratio", "big"], "lam_ratio is 'big'"),
        (["sample", "images", "--lam-ratio", "1,2,3"], "tiny has 2 levels"),
        (["sample", "images", "--style", "nowhere"], "no example set 'nowhere'"),
        (["sample", "images", "--lam-ratio", "-1"], "lam_ratio is '-1'; the least is 0"),
        (["sample", "images", "--method", "posterior", "--likeness", "1"], "likeness belongs to the method 'local'"),
        (["sample", "images", "-o", "a.txt"], "a.txt: sample writes .png, a folder"),
        (["sweep", "images", "--method", "local", "--values", "1,7"], "likeness"),
        (["encode", "p.safetensors"], "give images, not a saved posterior"),
        (["sample", "tiny.safetensors"], "tiny.safetensors"),
        (["mix", "images/0.png", "images/1.png", "--how", "subtract", "--share", "0.95"], "from 0 to 0.9"),
    ],
)
def test_mistakes_end_in_one_sentence(run, arguments, message):
    if "p.safetensors" in arguments:
        run("condition", "images", "-o", "p.safetensors")
    words = run(*arguments, fails=True)
    assert message in words and "Traceback" not in words and words.startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        (["sample", "images", "--method", "mine"], "'local'"),
        (["sample", "images", "--faces", "most"], "'largest'"),
        (["sample", "images", "--likeness", "85"], "less than or equal to 1"),
        (["sample", "images", "--align", "half"], "'never'"),
        (["interpolate", "images/0.png", "images/1.png", "--interpolation", "magic"], "'wasserstein'"),
        (["mix", "images/0.png", "images/1.png", "--how", "magic"], "'subtract'"),
    ],
)
def test_a_wrong_choice_is_refused_with_those_that_there_are(arguments, choices):
    done = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, arguments)
    assert done.exit_code == 2 and choices in done.output


def test_an_unknown_prior_is_named(run):
    assert "celeba65" in run("sample", "images", "--prior", "celeba65", prior=False, fails=True)


def test_help_waits_for_no_large_library():
    """`-X importtime` lists every module that was imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "transflow_core", "--help"],
        cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported and not imported & {"torch", "dlib", "gradio", "numpy", "PIL", "cv2"}


def test_another_package_brings_a_command(tmp_path):
    """By an entry point, as pip notes it. The page's own is there in a checkout that nobody installed."""
    (tmp_path / "others.py").write_text("def greet():\n    print('hello')\n")
    for name, value in (("greet", "others:greet"), ("broken", "nowhere:command")):
        (noted := tmp_path / f"{name}-1.dist-info").mkdir()
        (noted / "entry_points.txt").write_text(f"[transflow.commands]\n{name} = {value}\n")

    def told(*arguments):
        command = [sys.executable, "-m", "transflow_core", *arguments]
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)

    greeted = told("greet")
    assert greeted.stdout == "hello\n" and "the command broken cannot be loaded" in greeted.stderr
    assert "Start the page" in told("app", "--help").stdout


def test_addresses_of_visitors_are_on_for_this_machine_alone(monkeypatch):
    told = []
    monkeypatch.setattr(demo, "Engines", lambda *_, hub: told.append(hub))
    monkeypatch.setattr(demo, "build", lambda _: None)
    monkeypatch.setattr(demo, "launch", lambda *_, **__: None)
    monkeypatch.delenv("TRANSFLOW_HUB", raising=False)
    for arguments in ([], ["--host", "0.0.0.0"], ["--host", "0.0.0.0", "--hub", "me/glow"], ["--hub", "off"]):
        assert CliRunner().invoke(app, ["app", *arguments]).exit_code == 0
    monkeypatch.setenv("TRANSFLOW_HUB", "friends/*")
    assert CliRunner().invoke(app, ["app"]).exit_code == 0
    assert told == ["on", "off", "me/glow", "off", "friends/*"]
