"""The named endpoints, called as a client calls them: over HTTP, from a served demo."""

import json
import re
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from demo.examples import example_sets
from demo.server.api import ENDPOINTS, SERVED
from transflow_core.engine import Engine
from transflow_core.images import read_png_metadata, to_uint8
from transflow_core.posterior import Posterior, mixed, per_level, recommend
from transflow_core.recipes import Method
from transflow_core.views import from_metadata

ROOT = Path(__file__).resolve().parents[3]
SETS = {key: example.files for key, example in example_sets().items()}


@pytest.fixture(scope="module")
def client(served, tmp_path_factory):
    client = Client(served, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))
    yield client
    client.close()


@pytest.fixture(scope="module")
def engine(default_prior):
    return Engine(default_prior)


def images(key, count, start=0):
    return [handle_file(str(path)) for path in SETS[key][start : start + count]]


@pytest.fixture(scope="module")
def saved(client):
    """A posterior of three grey faces at λ/m = 0.4, as `condition` gives it."""
    (file,), _ = client.predict(evidence=images("greyscale", 3), lam_ratio=0.4, api_name="/condition")
    return file


def pixels(file):
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")).astype(int)


# ---- what is offered -----------------------------------------------------------------------------------------------


def test_these_endpoints_are_public_and_nothing_else_is(client):
    """Every internal event of the page is private, whoever adds one."""
    offered = client.view_api(return_format="dict", print_info=False)
    assert set(offered["named_endpoints"]) == {f"/{name}" for name in ENDPOINTS}
    assert offered["unnamed_endpoints"] == {}


def test_each_endpoint_documents_itself_in_a_line_an_argument(client):
    offered = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    for name in ENDPOINTS:
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
    assert all(f"## `{name}`" in text for name in ENDPOINTS)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = "\n".join(blocks).replace("http://127.0.0.1:7860", served)
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
    done = subprocess.run(["sh", "-ec", script], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    assert "event: complete" in done.stdout and '"log_prior"' in done.stdout


# ---- each endpoint against the core --------------------------------------------------------------------------------


def test_info(client, default_prior, celeba64):
    told = client.predict(api_name="/info")
    assert told["fingerprint"] == default_prior.fingerprint and told["dim"] == default_prior.dim
    assert "celeba64" in told["offered"] and told["levels"][0]["shape"] == [9, 64, 64]
    assert client.predict(prior="celeba64", api_name="/info")["fingerprint"] == celeba64.fingerprint


@pytest.fixture
def broken(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    return handle_file(str(tmp_path / "broken.png"))


def test_align(client, broken):
    given = [*images("red_hair", 1), broken]
    files, told = client.predict(images=given, align="never", api_name="/align")
    assert [entry["name"] for entry in told["pictures"]] == [SETS["red_hair"][0].name, "broken.png"]
    assert len(files) == 1 and pixels(files[0]).shape == (128, 128, 3)
    face = told["pictures"][0]["faces"][0]
    assert face["file"] == Path(files[0]).name and "the whole picture is used" in face["how"]
    assert told["pictures"][1]["faces"] == [] and told["pictures"][1]["problem"]


def test_encode(client, engine, broken):
    (file,), told = client.predict(images=[*images("sepia", 2), broken], api_name="/encode")
    expected = engine.read(SETS["sepia"][:2])
    assert torch.allclose(load_file(file)["z"], expected.z, atol=1e-5)
    with safe_open(file, "pt") as opened:
        assert json.loads(opened.metadata()["names"]) == [image.name for image in expected]
    for got, image in zip(told["images"], expected, strict=False):
        assert got["log_prior"] == pytest.approx(image.latent.log_prior)
        assert got["log_prob"] == pytest.approx(image.latent.log_prob)
        assert got["typicality"] == image.verdict.word
    last = told["images"][2]
    assert not last["used"] and "broken.png" in last["name"] and last["problem"]


def test_condition(client, engine):
    weights, levels = [1.0, 2.0, 0.5], [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    how = {"lam_ratio": levels, "weights": weights, "api_name": "/condition"}
    (file,), told = client.predict(evidence=images("red_hair", 3), **how)
    posterior = Posterior.load(file)
    assert Method.from_texts(posterior.metadata).lam_ratio == tuple(levels) and told["reason"]
    expected = Posterior.condition(
        engine.read(SETS["red_hair"][:3]).z, per_level(levels, engine.prior.levels), weights=weights
    )
    assert torch.allclose(posterior.mean, expected.mean, atol=1e-5)
    assert torch.allclose(posterior.variance, expected.variance)
    assert posterior.metadata["fingerprint"] == engine.prior.fingerprint
    assert told["m"] == posterior.m == 3.5 and told["recipe"]["lam_ratio"] == levels
    assert told["kl"] == pytest.approx(expected.kl(expected.prior), rel=1e-4)
    assert told["mean_norm"] == pytest.approx(expected.mean.norm().item(), rel=1e-4)


def test_condition_without_what_a_mask_covers(client, tmp_path):
    mask = Image.new("L", (64, 64))
    mask.paste(255, (12, 24, 52, 38))
    mask.save(tmp_path / "mask.png")
    with Image.open(SETS["red_hair"][0]) as face:
        barred = face.convert("RGB")
    barred.paste((57, 255, 20), (34, 58, 92, 66))
    barred.save(tmp_path / "barred.png")
    how = {"lam_ratio": 0, "align": "never", "prior": "celeba64", "api_name": "/condition"}
    given = [images("red_hair", 1), [handle_file(str(tmp_path / "barred.png"))]]
    over = [handle_file(str(tmp_path / "mask.png"))]
    a, b = (Posterior.load(client.predict(evidence=one, masks=over, **how)[0][0]) for one in given)
    assert torch.allclose(a.mean, b.mean, atol=1e-3)


def test_condition_at_zero_is_the_mean_of_the_evidence(client, engine):
    (file,), told = client.predict(evidence=images("red_hair", 2), lam_ratio=0, api_name="/condition")
    posterior = Posterior.load(file)
    assert torch.allclose(posterior.mean, engine.read(SETS["red_hair"][:2]).z.mean(0), atol=1e-5)
    assert posterior.variance == 0 and told["kl"] is None


def test_sample_from_images_and_from_a_saved_posterior(client, engine, saved):
    how = {"n": 3, "seed": 5, "temperature": 0.8, "format": "images", "api_name": "/sample"}
    from_images, told = client.predict(evidence=images("greyscale", 3), lam_ratio=0.4, **how)
    from_file, told_file = client.predict(evidence=[handle_file(saved)], **how)
    posterior = engine.posterior(SETS["greyscale"][:3])
    method = recommend(posterior, engine.looks(posterior)).method.replace(lam_ratio=0.4)
    drawn = engine.sample(engine.draw(posterior, method), 3, seed=5, temperature=0.8).images
    for a, b, x in zip(from_images, from_file, to_uint8(drawn).astype(int), strict=True):
        assert np.abs(pixels(a) - x).max() <= 1 and np.abs(pixels(b) - x).max() <= 1
    assert told["m"] == told_file["m"] == 3 and told["recipe"] == told_file["recipe"]
    assert len(told["evidence"]) == 3 and told_file["evidence"] == []
    assert Method.checked({name: told["recipe"].get(name) for name in Method.model_fields}) == method
    assert told["redrawn"] >= told["projected"] >= 0 and told["guarded"] >= 0 and told_file["reason"] != told["reason"]
    for a, b, one in zip(told["closest"], told_file["closest"], engine.closest(drawn, posterior), strict=True):
        assert a["name"] == SETS["greyscale"][one.index].name and b["name"] == f"image {one.index + 1}"
        assert a["distance"] == pytest.approx(one.distance, abs=0.01) == b["distance"]
    # A λ that is given takes the place of the saved one.
    moved, told = client.predict(evidence=[handle_file(saved)], lam_ratio=3.0, **how)
    assert told["recipe"]["lam_ratio"] == 3.0 and np.abs(pixels(moved[0]) - pixels(from_file[0])).max() > 10


def test_a_sheet_has_its_recipe(client, saved):
    (sheet,), _ = client.predict(evidence=[handle_file(saved)], n=4, seed=9, lam_ratio="inf", api_name="/sample")
    written = from_metadata(read_png_metadata(sheet))
    assert (written.seed, written.n, written.lam_ratio) == (9, 4, float("inf"))
    assert pixels(sheet).shape[0] > 2 * 64


def test_sweep(client, saved):
    how = {"over": "lam_ratio", "values": [0.05, 5], "n": 2, "api_name": "/sweep"}
    (picture,), told = client.predict(evidence=[handle_file(saved)], **how)
    assert told["recipe"]["values"] == [0.05, 5] and told["m"] == 3
    height, width, _ = pixels(picture).shape
    assert width > 2 * 64 and height > 2 * 64
    how = {"evidence": images("greyscale", 2), "api_name": "/sweep"}
    (wider,), told = client.predict(**how, n=2, method="posterior")
    assert len(told["recipe"]["values"]) == 7 and pixels(wider).shape[1] > 3 * width
    _, told = client.predict(**how, n=1, method="bootstrap", values=[1, 2])
    assert told["recipe"]["over"] == "images_per_sample"


def test_restyle(client, broken, tmp_path):
    given = [*images("red_hair", 2), broken]
    how = {"photographs": given, "evidence": images("sepia", 2), "prior": "tiny.safetensors", "align": "never"}
    how |= {"api_name": "/restyle"}
    files, told = client.predict(**how, strength=0.0)
    for file, path in zip(files, SETS["red_hair"], strict=False):
        assert np.abs(pixels(file) - pixels(path)).max() <= 1
    photographs = told["photographs"]
    assert len(files) == 2 and [len(one["faces"]) for one in photographs] == [1, 1, 1]
    assert photographs[0]["faces"][0]["identity"] < 0.1 and photographs[2]["faces"][0]["problem"] and told["m"] == 2
    mask = Image.new("L", (128, 128))
    mask.paste(255, (40, 50, 88, 66))
    mask.save(tmp_path / "mask.png")
    painted, _ = client.predict(**how, strength=0.0, masks=[handle_file(str(tmp_path / "mask.png"))])
    changed = np.abs(pixels(painted[0]) - pixels(SETS["red_hair"][0])).max(2) > 1
    assert changed[52:64, 44:84].mean() > 0.5 and not changed[:20].any() and not changed[-20:].any()
    files, told = client.predict(**how, strength=[1.0, 0.5], match_colours=False, format="webp")
    with Image.open(files[1]) as path:
        assert path.n_frames == 24 and path.size == (128, 128) and told["recipe"]["strength"] == [1.0, 0.5]


def test_mix_makes_a_posterior_for_other_endpoints(client, engine, saved):
    how = {"how": "add", "share": 0.4, "api_name": "/mix"}
    (file,), told = client.predict(a=[handle_file(saved)], b=images("cartoon", 2), **how)
    assert told["m"] == 5 and told["a"] == [] and len(told["b"]) == 2
    first, second = engine.load_posterior(saved), engine.posterior(SETS["cartoon"][:2])
    assert torch.allclose(Posterior.load(file).mean, mixed(first, second, "add", 0.4).mean, atol=1e-4)
    _, facts = client.predict(evidence=[handle_file(file)], n=1, api_name="/sample")
    assert facts["m"] == 5


@pytest.mark.parametrize("form", ["png", "webp", "gif", "mp4"])
def test_interpolate(client, saved, form):
    how = {"steps": 3, "n": 2, "format": form, "api_name": "/interpolate"}
    (file,), told = client.predict(a=[handle_file(saved)], b=images("cartoon", 2), **how)
    assert Path(file).suffix == f".{form}" and Path(file).stat().st_size > 1000
    assert told["a"]["m"] == 3 and told["b"]["m"] == 2 and told["a"]["lam_ratio"] == 0.4 != told["b"]["lam_ratio"]
    if form in ("webp", "gif"):
        with Image.open(file) as image:
            assert image.n_frames == 4  # there and back
    if form == "mp4":
        assert b"ftyp" in Path(file).read_bytes()[:12]


def test_classify(client, broken):
    (file,), told = client.predict(
        examples={"grey": images("greyscale", 4), "toon": images("cartoon", 4)},
        images=[*images("greyscale", 2, 4), broken, *images("cartoon", 2, 4)],
        api_name="/classify",
    )
    assert told["classes"] == {"grey": 4, "toon": 4} and 0 <= told["held_out_accuracy"] <= 1
    assert file.endswith("classify.safetensors")
    answers = told["images"]
    assert [answer.get("best") for answer in answers] == ["grey", "grey", None, "toon", "toon"]
    assert answers[2]["problem"]
    for answer in (answers[0], answers[4]):
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert answer["none_of_these"] == (answer["novelty"] > told["threshold"])


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(client, saved, tmp_path_factory):
    """Lists of files by name, for the table below."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "fake.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0 not a header")
    other = {"prior": "other", "fingerprint": "x"}
    Posterior.condition(torch.ones(2, 12288), 0.5, metadata=other).save(folder / "other.safetensors")
    Posterior.condition(torch.ones(2, 10), 0.5).save(folder / "small.safetensors")
    (face,) = images("greyscale", 1)
    named = {path.stem: [handle_file(str(path))] for path in folder.iterdir()}
    many = {f"{n} faces": [face] * n for n in (0, 1, 2, 13, 30, 90, 101)}
    return named | many | {"saved and face": [handle_file(saved), face]}


def with_files(value, files):
    """A value of the table, with files in the place of their name."""
    if isinstance(value, dict):
        return {key: with_files(one, files) for key, one in value.items()}
    return files.get(value, value) if isinstance(value, str) else value


TWO = {"a": "2 faces", "b": "2 faces"}
INPUTS = {
    "encode": {},
    "align": {},
    "sample": {"evidence": "2 faces"},
    "sweep": {"evidence": "2 faces"},
    "condition": {"evidence": "2 faces"},
    "interpolate": TWO,
    "restyle": {"photographs": "2 faces", "evidence": "2 faces"},
    "mix": TWO,
    "classify": {"examples": TWO, "images": "2 faces"},
}


@pytest.mark.parametrize(
    ("endpoint", "wrong", "message"),
    [
        ("sample", {"n": 129}, "n is 129; the most is 128."),
        ("sample", {"n": 0}, "n is 0; the least is 1."),
        ("sample", {"n": 2.5}, "n is 2.5"),
        ("sample", {"n": True}, "n is true"),
        ("sample", {"n": "9" * 1000}, "n is '9999"),
        ("sample", {"seed": -1}, "seed is -1; the least is 0."),
        ("sample", {"temperature": None}, "temperature is None"),
        ("sample", {"lam_ratio": -0.1}, "lam_ratio is -0.1; the least is 0."),
        ("sample", {"lam_ratio": [0.5, 0.5]}, "lam_ratio has 2 numbers; celeba128 has 6 levels."),
        ("sample", {"method": "mean"}, "method is 'mean'; choose 'auto'"),
        ("sample", {"method": "posterior", "likeness": 1}, "likeness belongs to the method 'local'."),
        ("sample", {"style": "/etc"}, "There is no example set '/etc'"),
        ("sample", {"format": "/tmp/x"}, "choose png, images"),
        ("sample", {"prior": "nobody"}, "not a model of this server"),
        ("sample", {"prior": "/etc/passwd"}, "not a model of this server"),
        ("sample", {"prior": "assets/models/celeba64"}, "not a model of this server"),
        ("sample", {"evidence": "saved and face"}, "one saved posterior by itself"),
        ("sample", {"evidence": "fake"}, "fake.safetensors is not a saved posterior"),
        ("sample", {"evidence": "other"}, "was made with other"),
        ("sample", {"evidence": "small"}, "another prior"),
        ("sweep", {"n": 100}, "this decodes 900 images; the most is 128."),
        ("sweep", {"values": [0.5] * 17}, "values is"),
        ("sweep", {"method": "local", "values": [1, 7]}, "likeness is 7.0; the most is 1."),
        ("condition", {"weights": [1.0]}, "give one for each of 2 images, not 1"),
        ("condition", {"weights": [0, 0]}, "weight 0"),
        ("interpolate", {"steps": 64, "n": 3}, "this decodes 192 images; the most is 128."),
        ("restyle", {"strength": [1.0]}, "strength has 1 numbers"),
        ("restyle", {"strength": 0.5, "steps": 100}, "this decodes 200 images, a face at each step; the most is 128."),
        ("restyle", {"photographs": "13 faces"}, "at most 12 files"),
        ("mix", {"how": "subtract", "share": 0.95}, "from 0 to 0.9"),
        ("classify", {"examples": {}}, "from 1 to 20 classes"),
        ("classify", {"examples": [1]}, "from 1 to 20 classes"),
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
        client.predict(api_name=f"/{endpoint}", **with_files(INPUTS[endpoint] | wrong, files))
    text = str(refused.value)
    assert message in text and "/tmp/" not in text.replace("format is '/tmp/x'", "")


FILE = {"_type": "gradio.FileData"}


def posted(served, endpoint, **arguments):
    """A call without the client library, which would upload a file that is named."""
    url = f"{served}/gradio_api/call/v2/{endpoint}"
    with httpx.Client(timeout=120) as http:
        answer = http.post(url, json=arguments)
        return http.get(f"{url}/{answer.json()['event_id']}").text


def test_sixty_four_calls_delay_nobody_else(served, new_page, hold):
    """A caller with too many calls waits alone: pages open, and another address is answered."""
    with httpx.Client(timeout=120) as http, SETS["sepia"][0].open("rb") as file:
        path = http.post(f"{served}/gradio_api/upload", files={"files": file}).json()[0]
        url, given = f"{served}/gradio_api/call/v2/align", {"images": [{"path": path, "meta": FILE}], "align": "never"}
        read = hold("faces")
        calls = [http.post(url, json=given).json()["event_id"] for _ in range(64)]
        try:
            other = {"x-forwarded-for": "192.0.2.1"}
            file.seek(0)
            path = http.post(f"{served}/gradio_api/upload", files={"files": file}, headers=other).json()[0]
            given = {"images": [{"path": path, "meta": FILE}]}
            call = http.post(f"{served}/gradio_api/call/v2/encode", json=given, headers=other)
            answer = http.get(f"{served}/gradio_api/call/v2/encode/{call.json()['event_id']}").text
            assert "event: complete" in answer
            page = new_page()
            page.goto(served)
            page.wait_for_selector("#sheet img")
        finally:
            read.go_on.set()
        assert all("event: complete" in http.get(f"{url}/{call}").text for call in calls)


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
        {"path": str(SETS["sepia"][0]), "meta": FILE},
        {"path": str(SETS["sepia"][0])},
        {"path": str(ROOT / "assets" / "models" / "celeba64" / "model.safetensors")},
        {"path": "http://127.0.0.1:1/x.png", "meta": FILE},
        {"path": "http://127.0.0.1:1/x.png", "meta": FILE, "is_stream": True},
        {"path": "http://169.254.169.254/latest/meta-data", "meta": FILE},
        {"path": "bad\0name", "meta": FILE},
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
    """In a list and in a mapping."""
    for endpoint, given in (("encode", {"images": [file]}), ("classify", {"examples": {"a": [file], "b": [file]}})):
        text = posted(served, endpoint, **({"images": [file]} | given))
        assert "event: error" in text and "event: complete" not in text and "enough input values" not in text
        assert "root:" not in text and "log_prior" not in text


def test_a_link_out_of_the_cache_is_not_followed(served, client, tmp_path):
    """Nobody can make one over HTTP. If it is there, it is not read."""
    from gradio.utils import get_upload_folder

    link = Path(get_upload_folder()) / "link.png"
    link.symlink_to(SETS["sepia"][0])
    try:
        assert "only uploaded files" in posted(served, "encode", images=[{"path": str(link)}])
    finally:
        link.unlink()


def test_an_uploaded_file_is_read_that_way_too(served):
    """So the calls above are refused for their file alone."""
    with httpx.Client(timeout=60) as http, SETS["sepia"][0].open("rb") as file:
        path = http.post(f"{served}/gradio_api/upload", files={"files": file}).json()[0]
    assert "event: complete" in posted(served, "encode", images=[{"path": path, "meta": FILE}])


@pytest.mark.parametrize("name", ["answer", "steps", "steps_1", "_preview", "js_fn"])
def test_events_of_the_page_are_no_endpoints(client, name):
    with pytest.raises(ValueError, match="Cannot find a function"):
        client.predict(api_name=f"/{name}")
