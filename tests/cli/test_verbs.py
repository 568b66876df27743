"""What holds for every verb: help at once, and mistakes that end in a sentence."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from transflow_core.cli import app

from ..helpers import ROOT


def test_help_is_there_for_every_verb():
    listing = CliRunner().invoke(app, ["--help"]).stdout
    verbs = list(typer.main.get_command(app).commands)
    assert len(verbs) == 14
    for verb in verbs:
        assert verb in listing
        assert CliRunner().invoke(app, [verb, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "nowhere"], "nowhere"),
        (["sample", "images", "--lam", "1", "--lam-ratio", "1"], "not both"),
        (["sample", "images", "--lam-ratio", "big"], "--lam-ratio"),
        (["sample", "images", "--lam-ratio", "1,2,3"], "2 levels"),
        (["sample", "images", "--lam-ratio", "-1"], "from 0 to inf"),
        (["sample", "images", "--manner", "mine"], "unknown manner of drawing 'mine'"),
        (["sample", "images", "--manner", "mean", "--pieces", "2"], "no number of the manner 'mean'"),
        (["sample", "images", "--likeness", "85"], "likeness goes from 0 to 1"),
        (["sweep", "images", "--values", "1", "--lam-ratios", "1"], "not both"),
        (["sample", "images", "--faces", "most"], "largest"),
        (["encode", "p.safetensors"], "p.safetensors is a saved posterior"),
        (["sample", "images", "--whole", "half"], "auto"),
        (["sample", "tiny.safetensors"], "tiny.safetensors"),
        (["interpolate", "images/0.png", "images/1.png", "--method", "magic"], "magic"),
        (["mix", "images/0.png", "images/1.png", "--how", "magic"], "--how must be one of both, less, towards"),
        (["mix", "images/0.png", "images/1.png", "--how", "less", "--share", "0.95"], "from 0 to 0.9"),
    ],
)
def test_mistakes_end_in_one_sentence(run, arguments, message):
    if "p.safetensors" in arguments:
        run("sample", "images", "-n", 1, "--save-posterior", "p.safetensors")
    words = run(*arguments, fails=True)
    assert message in words and "Traceback" not in words and words.startswith("error: ")


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


def test_addresses_of_visitors_are_on_for_this_machine_alone(monkeypatch):
    told = []
    page = SimpleNamespace(Engines=lambda *_, hub: told.append(hub), build=lambda _: None, launch=lambda *_, **__: None)
    monkeypatch.setattr("transflow_core.cli.page.import_module", lambda _: page)
    monkeypatch.delenv("TRANSFLOW_HUB", raising=False)
    for arguments in ([], ["--host", "0.0.0.0"], ["--host", "0.0.0.0", "--hub", "me/glow"], ["--hub", "off"]):
        assert CliRunner().invoke(app, ["app", *arguments]).exit_code == 0
    monkeypatch.setenv("TRANSFLOW_HUB", "friends/*")
    assert CliRunner().invoke(app, ["app"]).exit_code == 0
    assert told == ["on", "off", "me/glow", "off", "friends/*"]
