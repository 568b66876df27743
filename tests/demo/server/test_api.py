"""The named endpoints, called as a client calls them: over HTTP, from a served demo."""

import asyncio
import contextlib
import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import gradio as gr
import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image, ImageSequence
from safetensors.torch import load_file

from demo.server import api
from demo.server.admission import Queue, RateLimit
from demo.server.api import SERVED
from transflow_core.posterior import Posterior
from transflow_core.priors.catalogue import shipped_files
from transflow_core.recipes import RECIPES
from transflow_core.runtime.worker import Cancelled, as_client

from ...helpers import ROOT, TIMEOUT
from ..conftest import EXAMPLES, FILE, TINY, begun, uploaded


@pytest.fixture(scope="module")
def client(served, tmp_path_factory):
    client = Client(served, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))
    yield client
    client.close()


def sent(value):
    """Arguments of a call as a client sends them: files in lists by their paths."""
    if isinstance(value, dict):
        return {key: sent(one) for key, one in value.items()}
    return [handle_file(one) if isinstance(one, str) else one for one in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def files(engines, tmp_path_factory):
    """Lists of files by name, for the tables below."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "broken.png").write_bytes(b"no image")
    Posterior.condition(torch.ones(2, 10), 0.5).save(folder / "small.safetensors")
    condition = RECIPES["condition"](prior=TINY, align="never", lam_ratio=0.4)
    engines.get(TINY).run(condition, evidence=EXAMPLES["greyscale"][:3]).save(folder / "saved.safetensors")
    mask = Image.new("L", (128, 128))
    mask.paste(255, (40, 50, 88, 66))
    mask.save(folder / "mask.png")
    named = {path.stem: [str(path)] for path in folder.iterdir()}
    many = {f"{n} faces": EXAMPLES["greyscale"][:1] * n for n in (0, 1, 2, 13, 30, 90, 101)}
    return named | many | {"saved and face": [*named["saved"], *EXAMPLES["greyscale"][:1]]}


def with_files(value, files):
    """A value of the tables, with files in the place of their name."""
    if isinstance(value, dict):
        return {key: with_files(one, files) for key, one in value.items()}
    return files.get(value, value) if isinstance(value, str) else value


# ---- what is offered -----------------------------------------------------------------------------------------------


def test_these_endpoints_are_public_and_nothing_else_is(client):
    """Every internal event of the page is private, whoever adds one."""
    offered = client.view_api(return_format="dict", print_info=False)
    assert set(offered["named_endpoints"]) == {f"/{name}" for name in ["info", *SERVED]}
    assert offered["unnamed_endpoints"] == {}


def test_each_endpoint_documents_itself_in_a_line_an_argument(client):
    offered = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    for name in ["info", *SERVED]:
        described = offered[f"/{name}"]
        assert described["description"] and "Args:" in described["description"]
        for parameter in described["parameters"]:
            lines = re.findall(rf"^    {parameter['parameter_name']}: (.+)$", described["description"], re.MULTILINE)
            assert len(lines) == 1 and lines[0].endswith((".", "…")), (name, parameter)
    for name, model in SERVED.items():
        told = {one["parameter_name"]: one for one in offered[f"/{name}"]["parameters"]}
        assert told.keys() >= model.inputs.keys() | model.model_fields.keys()
        for key, field in model.model_fields.items():
            assert field.description in told[key]["python_type"]["description"] + str(told[key]), (name, key)
    assert "128" in json.dumps(client.view_api(return_format="dict", print_info=False)["named_endpoints"]["/sample"])


def test_the_documented_examples_run(served, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert all(f"## `{name}`" in text for name in ["info", *SERVED])
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = "\n".join(blocks).replace("http://127.0.0.1:7860", served)
    code = re.sub(r"\bn=\d+", "n=2", code.replace(", 18)", ", 3)"))  # few files and draws show as much
    code = code.replace("verbose=False", f"verbose=False, download_files={str(tmp_path)!r}")
    namespace = {}
    exec(compile(code, "docs/api.md", "exec"), namespace)
    namespace["client"].close()
    printed = capsys.readouterr().out
    assert "far outside" in printed  # the noisy bars
    assert [query["best"] for query in namespace["answer"]["images"]] == ["grey", "grey", "brown", "brown"]


def test_the_documented_shell_commands_run(served):
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    script = re.search(r"```sh\n(.*?)```", text, re.DOTALL).group(1).replace("http://127.0.0.1:7860", served)
    done = subprocess.run(["sh", "-ec", script], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert "event: complete" in done.stdout and '"log_prior"' in done.stdout


# ---- each endpoint against the core --------------------------------------------------------------------------------


def test_info(client, default_prior, celeba64):
    with mock.patch("demo.server.admission.as_client", wraps=as_client) as turns:
        told = client.predict(api_name="/info")
    assert turns.call_args.args == ("127.0.0.1", client.session_hash)  # the address has its turn before its session
    assert told["fingerprint"] == default_prior.fingerprint and told["dim"] == default_prior.dim
    assert "celeba64" in told["offered"] and told["levels"][0]["shape"] == [9, 128, 128]
    assert client.predict(prior="celeba64", api_name="/info")["fingerprint"] == celeba64.fingerprint


def alike(a, b):
    """The same facts, up to the last bits: these depend on the batch in which an image was encoded."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a.keys() - {"seconds"})
    if isinstance(a, list):
        return len(a) == len(b) and all(map(alike, a, b))
    return a == pytest.approx(b, rel=1e-3, abs=1e-3) if isinstance(a, float) else a == b


def content(path):
    """What a file holds, as arrays."""
    if Path(path).suffix == ".safetensors":
        return [load_file(path)[key].double().numpy() for key in sorted(load_file(path))]
    if Path(path).suffix == ".mp4":
        return [np.array(Path(path).read_bytes()[4:8] == b"ftyp")]
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB"), float) / 255 for frame in ImageSequence.Iterator(image)]


CARTOON, FORMS = EXAMPLES["cartoon"][:2], ("png", "webp", "gif", "mp4")
CLASSES = {"grey": EXAMPLES["greyscale"][:4], "toon": EXAMPLES["cartoon"][:4]}


@pytest.mark.parametrize(
    ("endpoint", "inputs", "parameters"),
    [
        ("align", {"images": "some"}, {}),
        ("encode", {"images": "some"}, {}),
        ("condition", {"evidence": CARTOON}, {"lam_ratio": [0.2, 0.3], "weights": [1.0, 2.0]}),
        ("condition", {"evidence": EXAMPLES["red_hair"][:1], "masks": "mask"}, {"lam_ratio": 0}),
        ("sample", {"evidence": "saved"}, {"n": 3, "seed": 5, "temperature": 0.8, "format": "images"}),
        ("sample", {"evidence": CARTOON}, {"n": 2, "steps": 3, "format": "webp"}),
        ("sample", {"evidence": "saved"}, {"n": 4, "lam_ratio": "inf", "method": "posterior"}),
        ("sample", {"evidence": CARTOON}, {"n": 2, "method": "bootstrap"}),
        ("sweep", {"evidence": "saved"}, {"over": "lam_ratio", "values": [0.05, 5], "n": 2}),
        ("restyle", {"photographs": "some", "evidence": CARTOON}, {"strength": [1.0, 0.5], "format": "webp"}),
        ("restyle", {"photographs": EXAMPLES["red_hair"][:2], "evidence": CARTOON, "masks": "mask"}, {"strength": 0.0}),
        ("mix", {"a": "saved", "b": CARTOON}, {"how": "add", "share": 0.4}),
        *(("interpolate", {"a": "saved", "b": CARTOON}, {"steps": 3, "n": 2, "format": form}) for form in FORMS),
        ("classify", {"examples": CLASSES, "images": "some"}, {}),
    ],
)
def test_an_endpoint_gives_what_the_engine_gives(client, engines, files, tmp_path, endpoint, inputs, parameters):
    inputs = with_files(inputs, files | {"some": [*EXAMPLES["red_hair"][:2], *files["broken"]]})
    how = {"prior": TINY, "align": "never"} | parameters
    written, told = client.predict(**sent(inputs), **how, api_name=f"/{endpoint}")
    form = how.pop("format", SERVED[endpoint].formats[0])
    result = engines.get(TINY).run(SERVED[endpoint].checked(how).written_as(form), **inputs)
    expected = result.save(tmp_path / (endpoint if form == "images" else f"{endpoint}.{form}"))
    assert alike(json.loads(json.dumps(result.facts, allow_nan=False)), told)  # infinite numbers are text
    assert [Path(path).suffix for path in written] == [path.suffix for path in expected]
    for a, b in zip(map(content, written), map(content, expected), strict=True):
        assert all(np.allclose(x, y, atol=0.01) for x, y in zip(a, b, strict=True))


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "wrong", "message"),
    [
        ("sample", {"n": 129}, "n is 129; the most is 128."),
        ("sample", {"lam_ratio": [0.5, 0.5]}, "lam_ratio has 2 numbers; celeba256 has 7 levels."),
        ("sample", {"style": "/etc"}, "There is no example set '/etc'"),
        ("sample", {"format": "/tmp/x"}, "choose png, jpg, images"),
        ("sample", {"prior": "/etc/passwd"}, "not a model of this server"),
        ("sample", {"evidence": "saved and face"}, "one saved posterior by itself"),
        ("sample", {"evidence": "small"}, "another prior"),
        ("condition", {"weights": [1.0]}, "give one for each of 2 images, not 1"),
        ("interpolate", {"steps": 64, "n": 3}, "this decodes 192 images; the most is 128."),
        ("restyle", {"strength": [1.0]}, "strength has 1 numbers"),
        (
            "restyle",
            {"strength": 0.5, "steps": 100, "format": "webp"},
            "this decodes 200 images, a face at each step; the most is 128.",
        ),
        ("restyle", {"photographs": "13 faces"}, "at most 12 files"),
        ("classify", {"examples": {}}, "from 1 to 20 classes"),
        ("classify", {"examples": dict.fromkeys(map(str, range(21)), "1 faces")}, "from 1 to 20 classes"),
        ("classify", {"examples": {"good": "1 faces", "bad": "broken"}}, "'bad'"),
        ("classify", {"examples": {"a": "90 faces", "b": "90 faces"}, "images": "30 faces"}, "at most 200 images"),
        ("encode", {"images": "broken"}, "broken.png"),
        ("encode", {"images": "0 faces"}, "at least one file"),
        ("align", {"images": "101 faces"}, "at most 100 files"),
    ],
)
def test_a_refusal_is_one_sentence(client, files, endpoint, wrong, message):
    with pytest.raises(AppError) as refused:
        inputs = {name: "2 faces" for name in SERVED[endpoint].inputs if name != "masks"}
        client.predict(api_name=f"/{endpoint}", **sent(with_files(inputs | wrong, files)))
    text = str(refused.value)
    assert message in text and "/tmp/" not in text.replace("format is '/tmp/x'", "")


def test_a_call_that_is_cut_off_by_a_restart_says_so(monkeypatch):
    def cut_off(*, cancel):
        api.API.close()
        raise Cancelled

    monkeypatch.setattr(api, "API", Queue(each=1, total=1, seconds=600))
    request = SimpleNamespace(session_hash="one", headers={}, client=SimpleNamespace(host="192.0.2.9"))
    monkeypatch.setattr(api.gradio_compat, "current_event", lambda: "an event")
    with pytest.raises(gr.Error, match="is restarting"):
        asyncio.run(api._call_of(cut_off)(request))


def test_what_calls_make_is_bounded_as_uploads_are(client, monkeypatch):
    monkeypatch.setattr("demo.server.api.RESULTS", RateLimit(rate=1e-6, burst=1000, timeout=0))
    for _ in range(2):  # the first one alone is within the bound
        with pytest.raises(AppError, match="too many files") if _ else contextlib.nullcontext():
            client.predict(api_name="/sample", evidence=sent(EXAMPLES["sepia"][:1]), n=1, prior=TINY)


def test_sixty_four_calls_delay_nobody_else(served, new_page, hold):
    """A caller with too many calls waits alone: pages open, and another address is answered."""
    http, other = (
        httpx.Client(base_url=served, timeout=TIMEOUT, headers={"x-forwarded-for": f"192.0.2.{n}"}) for n in (1, 2)
    )
    with http, other:
        given, read = {"images": [uploaded(http)], "align": "never"}, hold("faces")
        calls = [begun(http, "align", **given) for _ in range(64)]
        try:
            assert "event: complete" in other.get(begun(other, "encode", images=[uploaded(other)])).text
            page = new_page()
            page.goto(f"{served}/?prior=celeba64")
            page.wait_for_selector("#sheet img")
        finally:
            read.go_on.set()
        assert all("event: complete" in http.get(call).text for call in calls)


@pytest.mark.parametrize(
    "file",
    [
        "/etc/passwd",
        {"path": "/etc/passwd"},
        {"path": "/etc/passwd", "meta": FILE},
        {"path": "/etc/passwd", "meta": FILE, "is_stream": True},
        {"path": "/etc/passwd", "url": "/etc/passwd", "meta": FILE},
        {"path": "file:///etc/passwd", "meta": FILE},
        {"path": "../../../../../../etc/passwd", "meta": FILE},
        {"path": EXAMPLES["sepia"][0], "meta": FILE},
        {"path": EXAMPLES["sepia"][0]},
        {"path": str(shipped_files()["celeba64"][0] / "model.safetensors")},
        {"path": "http://127.0.0.1:1/x.png", "meta": FILE},
        {"path": "http://127.0.0.1:1/x.png", "meta": FILE, "is_stream": True},
        {"path": "http://169.254.169.254/latest/meta-data", "meta": FILE},
        {"path": "bad\0name", "meta": FILE},
        {"path": "x" * 5000, "meta": FILE},
        {"path": "x" * 5000},
        {"path": ["/etc/passwd"]},
        {"path": ""},
        {"nothing": 1},
        None,
        7,
    ],
    ids=lambda file: json.dumps(file)[:40],
)
def test_no_file_of_the_host_is_read(served, file):
    """In a list and in a mapping. The client library would upload a file that is named."""
    for endpoint, given in (("encode", {}), ("classify", {"examples": {"a": [file], "b": [file]}})):
        url = f"{served}/gradio_api/call/v2/{endpoint}"
        answer = httpx.post(url, json={"images": [file]} | given, timeout=TIMEOUT)
        text = httpx.get(f"{url}/{answer.json()['event_id']}", timeout=TIMEOUT).text
        assert "event: error" in text and "event: complete" not in text and "enough input values" not in text
        assert "Errno" not in text and "null byte" not in text
        assert "root:" not in text and "log_prior" not in text and str(ROOT) not in text and "/tmp" not in text, text
