"""The Space's folder, by itself: what is in it, and that it starts and answers, on the CPU and on ZeroGPU."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from huggingface_hub import SpaceCard
from PIL import Image

from deploy import space
from transflow_core.priors.catalogue import shipped_files

from ..helpers import ROOT

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="it is built from what git tracks")

# What the platform's package (0.51) does, as far as the Space can tell: CUDA seems to be there, the launch sends a
# report if a function is registered, and a registered function runs in a forked process. Gradio hands it each handler,
# which stays as it is unless the Space asks for more.
SPACES = """
import functools, json, os, sys
import gradio as gr
import torch

assert os.environ["SPACES_ZERO_GPU"] == "true" and os.environ["SPACE_ID"] == "me/studio"
assert not torch.cuda.is_initialized()
assert "demo" not in sys.modules and "transflow_core" not in sys.modules, "it comes too late"
torch.cuda.is_available = lambda: True
torch.cuda.get_device_name = lambda *_: f"stand-in, seen from {os.getppid()}"
registered, offered = {}, []

def gradio_auto_wrap(task):
    offered.append(task)
    return task

def _in_a_fork(function):
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.write(theirs, json.dumps(function()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return json.loads(os.read(ours, 4096))

def GPU(duration):
    def register(function):
        registered[function.__name__] = duration
        return functools.wraps(function)(lambda: _in_a_fork(function))
    return register

_launch = gr.Blocks.launch

def launch(*args, **kwargs):
    gr.Blocks.launch = _launch
    import zero_gpu
    with open(os.environ["REPORT"], "w") as file:
        facts = {"registered": registered, "offered": len(offered), "pid": os.getpid()}
        json.dump(facts | {"answer": zero_gpu.gpu_name()}, file)
    return _launch(*args, **kwargs)

gr.Blocks.launch = launch
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "space"
    space.build(folder)
    return folder


def test_what_a_space_is_made_of(folder: Path) -> None:
    """All that runs, nothing that is only tested or trained; large files are told to git."""
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"app.py", "zero_gpu.py", "requirements.txt", "README.md", "LICENSE", ".gitattributes"} <= files
    assert {f"assets/models/{models.name}/model.safetensors" for models, _ in shipped_files().values()} <= files
    assert not [name for name in files if re.match(r"(tests|benchmarks|deploy|runs)/|.*conformance", name)]
    large = [name for name in files if (folder / name).stat().st_size > 10 << 20]
    assert large and all(name.endswith(".safetensors") for name in large)
    assert "*.safetensors filter=lfs" in (folder / ".gitattributes").read_text(encoding="utf-8")


def test_what_works_today_is_installed_in_a_year_on_a_python_that_the_platform_has(folder: Path) -> None:
    """Every requirement is bounded, and all but Pillow are what CI ran. Of ours, ZeroGPU has Python 3.12 alone."""
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    bounds = dict(re.findall(r"^([\w-]+)(>=[\d.]+,<[\d.]+)(?:;.*)?$", "\n".join(lines), re.M))
    pinned = dict(re.findall(r"^([\w-]+)==(.+)$", "\n".join(lines), re.M))
    assert len(bounds) + len(pinned) == len([line for line in lines if line and not line.startswith("#")])
    assert {name.replace("_", "-") for name in bounds} - set(pinned) == {"pillow"}
    assert "av" in bounds, "a Space offers videos"
    matter = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r'^python_version: "3\.12"$', matter, re.M)
    assert f"sdk_version: {pinned['gradio']}\n" in matter


def test_the_card_says_what_the_hub_shows(folder: Path, tmp_path: Path) -> None:
    """Licence, tags, a slim header; and of a Space with a name, a picture that is there."""
    card = SpaceCard.load(folder / "README.md").data.to_dict()
    assert card["license"] == "other" and card["license_link"] == "LICENSE" and "mcp-server" in card["tags"]
    assert card["header"] == "mini" and len(card["short_description"]) <= 60 and "thumbnail" not in card
    assert not {"models", "preload_from_hub"} & set(card), "all models that a Space offers are in its folder"
    space.build(tmp_path, "me/studio")
    picture = SpaceCard.load(tmp_path / "README.md").data.to_dict()["thumbnail"]
    assert picture.startswith("https://huggingface.co/spaces/me/studio/resolve/main/")
    assert (tmp_path / picture.partition("/main/")[2]).is_file()


def test_a_container_asks_for_the_page_and_takes_another_index_for_torch() -> None:
    """As a shell sees it: no option without an index, two words with one. The container itself was not built here."""
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    [check] = re.findall(r"^HEALTHCHECK .* CMD (.*)$", dockerfile, re.M)
    compile(json.loads(check)[2], "HEALTHCHECK", "exec")
    [option] = re.findall(r"\$\{TORCH_INDEX:\+[^}]*\}", dockerfile)
    for index, words in (("", ""), ("https://wheels.example/cpu", "--extra-index-url https://wheels.example/cpu")):
        said = subprocess.run(
            ["sh", "-c", f"echo {option}"], env={"TORCH_INDEX": index}, capture_output=True, text=True
        )
        assert said.stdout.strip() == words


@pytest.mark.parametrize("clone", [[], [".gitattributes", ".git"]])
def test_the_folder_is_built_anew_but_nobody_elses_is_touched(tmp_path: Path, clone: list[str]) -> None:
    for name in ["mine.txt", *clone]:
        (tmp_path / name).write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match="not empty"):
        space.build(tmp_path)
    assert (tmp_path / "mine.txt").is_file()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="ZeroGPU forks")
def test_on_zero_gpu_it_reports_and_computes_on_the_cpu(folder: Path, tmp_path: Path) -> None:
    """`python app.py` in the Space's folder, with nothing of the checkout on the path, draws by its API.

    A function is registered before the launch, and runs in a fork; engines stay where no quota is spent.
    """
    (tmp_path / "spaces.py").write_text(SPACES, encoding="utf-8")
    report = tmp_path / "report.json"
    platform = {"SYSTEM": "spaces", "SPACE_ID": "me/studio", "SPACES_ZERO_GPU": "true"}
    platform |= {"PYTHONPATH": str(tmp_path), "REPORT": str(report)}
    hidden = ("PYTHONPATH", "SPACES_ZERO_GPU", "GRADIO_SERVER_PORT")
    own = {key: value for key, value in os.environ.items() if key not in hidden} | {"GRADIO_ANALYTICS_ENABLED": "False"}
    log = folder / "log.txt"
    with log.open("w") as output:
        how = {"cwd": folder, "env": own | platform, "stdout": output, "stderr": subprocess.STDOUT}
        process = subprocess.Popen([sys.executable, "-u", "app.py"], **how)
    try:
        while not (address := re.search(r"http://[\w.:]+", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
        client = Client(address.group(), verbose=False, download_files=str(folder))
        assert client.predict(prior="celeba64", api_name="/info")["device"] == "cpu"
        evidence = [handle_file(str(path)) for path in sorted((folder / "assets/examples/greyscale").glob("*.png"))[:2]]
        [sheet], facts = client.predict(evidence=evidence, prior="celeba64", n=2, api_name="/sample")
        client.close()
        with Image.open(sheet) as picture:
            assert facts["m"] == 2 and picture.width > 64
    finally:
        process.terminate()
        process.wait()
    told = json.loads(report.read_text(encoding="utf-8"))
    assert told["registered"] == {"gpu_name": 5} and told["offered"] > 10
    assert told["answer"] == f"stand-in, seen from {told['pid']}", "it ran in a fork of the page's process"
