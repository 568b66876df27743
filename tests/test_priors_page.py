"""The examples of docs/priors.md run as they stand there."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "priors.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(number, tmp_path, monkeypatch, capsys):
    if "import normflows" in EXAMPLES[number]:
        pytest.importorskip("normflows", reason="normflows is not installed")
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLES[number], f"docs/priors.md, example {number + 1}", "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out
    assert bool(printed) == ("print(" in EXAMPLES[number])


def test_the_page_lists_every_format_and_what_it_asks_for():
    from transflow_core.checkpoints.layouts import LAYOUTS

    for known in LAYOUTS:
        row = next(line for line in PAGE.splitlines() if line.startswith("|") and known.name.split(" (")[0] in line)
        for name, setting in known.settings.model_fields.items():
            if setting.is_required():
                assert f"`{name}`" in row, (known.name, name)
