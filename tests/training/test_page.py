"""docs/training.md: its first command does what it says, and the others name options and presets that there are."""

import re
import shlex

import pytest
import typer
from typer.testing import CliRunner

from benchmarks import priors
from transflow_core.cli import app
from transflow_core.priors.catalogue import load_prior
from transflow_core.training import PRESETS

from ..helpers import ROOT

PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    for line in block.replace("\\\n", " ").splitlines()
]


def test_the_first_command_trains_a_prior(disc_folder, monkeypatch):
    monkeypatch.chdir(disc_folder.parent)
    command = COMMANDS[0]
    assert command[:4] == ["python", "-m", "transflow_core", "train"] and command[4] == f"{disc_folder.name}/"
    result = CliRunner().invoke(app, [*command[3:], "--steps", "5", "--held-out", "0.2"])
    assert result.exit_code == 0, result.output
    folder = command[command.index("-o") + 1]
    assert load_prior(folder, device="cpu").image_size == 32
    # What the table says of a run's folder is there.
    table = PAGE.split("## What a run writes")[1].split("\n\n")[1]
    for name in re.findall(r"`([\w.*/]+)`", "\n".join(row.split("|")[1] for row in table.splitlines())):
        assert list((disc_folder.parent / folder).glob(name.rstrip("/"))), name
    convert = next(command for command in COMMANDS if "convert" in command)
    arguments = [folder if argument == "runs/faces" else argument for argument in convert[3:]]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert load_prior(arguments[-1], device="cpu").image_size == 32


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_option_is_one(command):
    verb = next(word for word in command if word in ("train", "convert", "benchmarks.priors"))
    after = command[command.index(verb) + 1 :]
    if verb == "benchmarks.priors":
        priors.arguments().parse_args(after)
        return
    parameters = typer.main.get_command(app).commands[verb].params
    options = {option for parameter in parameters for option in parameter.opts}
    assert {word for word in after if word.startswith("-")} <= options
    if "--preset" in after:
        assert after[after.index("--preset") + 1] in PRESETS


def test_every_preset_is_on_the_page():
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE.split("## Presets")[1].split("##")[0], re.M)) == set(PRESETS)
