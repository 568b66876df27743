"""docs/training.md: its first command does what it says, and the others name options and presets that there are."""

import re
import shlex
from pathlib import Path

import typer
from typer.testing import CliRunner

from benchmarks import priors
from transflow_core.cli import app
from transflow_core.priors.catalogue import load_prior
from transflow_core.training.plan import PRESETS

from ..helpers import ROOT

PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    for line in block.replace("\\\n", " ").splitlines()
]


def test_the_first_command_trains_a_prior_and_another_packs_it(disc_folder, monkeypatch):
    monkeypatch.chdir(disc_folder.parent)
    command = COMMANDS[0]
    assert command[:5] == ["python", "-m", "transflow_core", "train", f"{disc_folder.name}/"]
    folder = Path(command[command.index("-o") + 1])
    convert = next(command for command in COMMANDS if "convert" in command)
    for arguments in (
        [*command[3:], "--steps", "5", "--held-out", "0.2"],
        [str(folder) if word == "runs/faces" else word for word in convert[3:]],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        output = arguments[arguments.index("-o") + 1]
        assert load_prior(output, device="cpu").image_size == 32
    # What the table says of a run's folder is there.
    table = PAGE.split("## What a run writes")[1].split("\n\n")[1]
    for name in re.findall(r"`([\w.*/]+)`", "\n".join(row.split("|")[1] for row in table.splitlines())):
        assert list(folder.glob(name.rstrip("/"))), name


def test_every_option_and_every_preset_is_one():
    for command in COMMANDS:
        verb = next(word for word in command if word in ("train", "convert", "benchmarks.priors"))
        after = command[command.index(verb) + 1 :]
        if verb == "benchmarks.priors":
            priors.arguments().parse_args(after)
            continue
        parameters = typer.main.get_command(app).commands[verb].params
        options = {option for parameter in parameters for option in parameter.opts}
        assert {word for word in after if word.startswith("-")} <= options, command
    presets = re.findall(r"^\| `(\w+)` \|", PAGE.split("## Presets")[1].split("##")[0], re.M)
    assert set(presets) == set(PRESETS) and set(re.findall(r"--preset (\w+)", PAGE)) <= set(PRESETS)
