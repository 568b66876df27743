"""The sheet of samples in a browser: one sample enlarged, kept and used; the strip of λ; states to go back to."""

import gc
import io
import json
import re
import weakref
import zipfile
from urllib.parse import parse_qsl
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect

from demo.examples import example_sets
from demo.server.state import Session
from demo.share import card
from demo.static import FOLDER
from demo.tabs.interpolate import recipe_in
from demo.tabs.preview_strip import values_at
from demo.tabs.studio import OPENING, History, address_of, settings_in
from demo.tabs.studio_results import DEFAULT, Request, Result, View, recipe_of, sheet_file, zip_file
from transflow_core import Engine, Posterior, to_pil
from transflow_core.evidence import Evidence, EvidenceImage, Latent, Source
from transflow_core.images.output import read_png_metadata
from transflow_core.pictures import Picture

from ..helpers import METHODS, by_posterior, frames, make_grown_prior, make_tiny_prior
from .conftest import EXAMPLES, choose_example, same, saved, says
from .test_phone import OWN, shows_its_images
from .test_studio import from_menu, same_sheet, sheet, slide, status, wait_status

COPIED_JS = """async () => {
  const [item] = await navigator.clipboard.read();
  return [...new Uint8Array(await (await item.getType('image/png')).arrayBuffer())];
}"""
PIXELS_JS = """async selector => {
  const from = document.querySelector(selector), copy = document.createElement('canvas');
  await from.decode?.();
  copy.width = copy.height = 64;
  copy.getContext('2d').drawImage(from, 0, 0, 64, 64);
  return [...copy.getContext('2d').getImageData(0, 0, 64, 64).data];
}"""


UNDO_JS = """text => new MutationObserver((_, one) => {
  const status = document.querySelector('#samples-status').innerText;
  if (!status.includes('16 samples in') || !status.includes(text)) return;
  one.disconnect();
  document.querySelector('#history .undo').click();
}).observe(document.querySelector('#samples-status'), {childList: true, subtree: true, characterData: true})"""
SCRUB_JS = """places => {
    const range = document.querySelector('#closeness-range');
    for (const place of places) {
        range.value = place;
        range.dispatchEvent(new Event('input', {bubbles: true}));
    }
}"""


def picture_of(page, selector):
    """Pixels of an image or a canvas of the page."""
    return np.array(page.evaluate(PIXELS_JS, selector)).reshape(64, 64, 4)[..., :3]


def alike(a, b):
    """How far two pictures are one, 1 for the same: noise of a prior that was not trained survives no JPEG as it is."""
    return np.corrcoef(a.mean(-1).ravel(), b.mean(-1).ravel())[0, 1]


def test_a_sheet_shows_128_pixels_and_one_sample_and_files_have_all(tmp_path):
    engine = Engine(make_grown_prior())
    evidence = engine.read(EXAMPLES["paintings"][:5], align="never")  # they have 256 pixels
    request = Request(evidence, recipe_of({"n": 6, "seed": 3}))
    sampler, side = request.sampler(engine), request.side(engine)
    drawn = engine.sample(sampler, side=side, **request.draws)
    result = Result(request, engine, to_pil(drawn.images), drawn.counts)
    whole = result.full()
    assert [one.size for one in (result.pictures[0], whole[0])] == [(128, 128), (256, 256)] and len(whole) == 6
    shown = np.stack([np.asarray(small, int) for small in result.pictures])
    means = np.stack([np.asarray(large.resize((128, 128), Image.Resampling.BOX), int) for large in whole])
    errors = np.abs(shown[:, None] - means).mean((2, 3, 4))
    # Where it is black or white, the two may differ within a block.
    assert errors.diagonal().max() < 5 < errors[~np.eye(6, dtype=bool)].min()
    (fifth,) = result.full(3, 5)  # there are no more
    assert np.abs(np.asarray(fifth, int) - np.asarray(whole[5], int)).max() <= 1
    session = Session("somebody")
    session.state(View).result = result
    with Image.open(sheet_file(session)) as file, zipfile.ZipFile(zip_file(session)) as archive:
        assert file.width > 3 * 256 and len(archive.namelist()) == 6
        with archive.open("sample_0005.png") as entry, Image.open(entry) as picture:
            assert np.abs(np.asarray(picture, int) - np.asarray(whole[5], int)).max() <= 1


@pytest.mark.parametrize(("n", "prior", "side"), [(4, "grown", 256), (5, "grown", 128), (16, "tiny", 16)])
def test_few_samples_fill_the_sheet_with_all_their_pixels(n, prior, side):
    engine = Engine(make_grown_prior() if prior == "grown" else make_tiny_prior())
    assert Request(Evidence(), recipe_of({"n": n})).side(engine) == side


def test_the_sheet_is_the_gallery(studio, tmp_path):
    page = studio
    choose_example(page, "sepia")
    assert page.get_attribute("#sheet img", "alt") == f"16 samples, sepia, λ/m {METHODS['local'].lam_ratio:g}"
    engine, files = Engine(make_tiny_prior()), example_sets()["sepia"].files
    posterior = engine.read(files, align="never").posterior()
    page.focus("#sheet .cells button >> nth=0")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")  # the fifth
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#sheet .large img[alt^='Face 6 of 16: sepia']")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Face 6 of 16"
    one = from_menu(page, "#sheet [data-do=save]", tmp_path)
    text = read_png_metadata(one)
    assert one.name == "sepia_seed0_0005.png" and Image.open(one).size == (16, 16)
    assert text["sample"] == "5" and text["seed"] == "0" and text["prior"] == "tiny" and "sepia_00" in text["evidence"]
    assert text["recipe"] == "sample" and text["method"] == "local"
    # Beside it stands the closest of the images, by the very distance that the core gives.
    (near,) = engine.closest(engine.prior.to_unit(Image.open(one)), posterior)
    words = page.get_attribute("#sheet .closest", "title")
    assert words.startswith(files[near.index].name) and "0 is a copy, 1 is as" in words
    assert page.inner_text("#sheet .closest span") == "Nearest of the set"
    assert float(page.inner_text("#sheet .closest b")) == pytest.approx(near.distance, abs=0.011)
    image = np.asarray(Image.open(files[near.index]).convert("RGB").resize((64, 64)))
    assert alike(picture_of(page, "#sheet .closest img"), image[:, ::-1] if near.mirrored else image) > 0.8
    page.click("#sheet summary >> nth=0")
    page.click("#sheet [data-do=copy]")
    page.get_by_text("Copied to the clipboard").wait_for()
    assert same(io.BytesIO(bytes(page.evaluate(COPIED_JS))), Image.open(one))
    page.click("#sheet summary >> nth=1")
    page.focus("#sheet [data-do=pin]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#sheet .pins img")
    assert page.evaluate("document.activeElement.textContent") == "Use"  # the menu is closed
    page.click("#sheet .large")  # the next one
    page.wait_for_selector("#sheet .large img[alt^='Face 7 of 16: sepia']")
    # What is pinned stays when the sheet changes, and can still be restyled or become evidence.
    page.click("#evidence-clear")
    wait_status(page, "No images yet")
    page.wait_for_selector("#sheet .large img[alt^='Face 7 of 16: of the model']")
    page.wait_for_selector("#sheet .closest", state="hidden")  # there are no images
    page.click("#sheet .pins button")
    page.click("#sheet summary >> nth=1")
    page.click("#sheet [data-do=restyle]")
    page.get_by_role("tab", name="Restyle", selected=True).wait_for()
    says(page, "#restyle-faces", "1 face found")
    says(page, "#restyle-status", "1 face in")  # in the style of the worked example
    page.get_by_role("tab", name="Studio", exact=True).click()
    page.click("#sheet .pins button")
    page.click("#sheet summary >> nth=1")
    page.click("#sheet [data-do=apply]")
    wait_status(page, "m = 1 ")
    assert "sepia_seed0_0005.png" in page.content()


def test_hold_to_compare_shows_the_same_draws_without_evidence_and_the_strip_needs_no_server(studio, monkeypatch):
    page = studio
    prior = picture_of(page, "#sheet img")
    page.evaluate("document.addEventListener('strip', ({detail}) => { window.positions = detail?.at.length; })")
    choose_example(page, "red_hair")
    page.wait_for_selector("#sheet .compare:enabled")
    page.wait_for_function("window.positions === 9")
    near = picture_of(page, "#sheet img")
    page.keyboard.down("b")
    page.get_by_text("without your pictures").wait_for()
    shown = picture_of(page, "#sheet canvas")
    assert alike(shown, prior) > 0.8 > alike(shown, near)
    page.keyboard.up("b")
    assert not page.is_visible("#sheet canvas")
    page.hover("#sheet .compare")
    page.mouse.down()
    assert page.get_attribute("#sheet .compare", "aria-pressed") == "true" and page.is_visible("#sheet canvas")
    page.mouse.up()
    assert not page.is_visible("#sheet canvas")
    sample, strips = Engine.sample, []
    monkeypatch.setattr(Engine, "sample", lambda *a, **k: strips.append(k.get("priority")) or sample(*a, **k))
    slide(page, 0.01, 0.99, steps=30, at="#closeness-range")
    assert float(page.get_attribute("#sheet canvas", "data-at")) > 7.9
    far = picture_of(page, "#sheet canvas")
    moved = picture_of(page, "#sheet .large canvas")  # the large face moves along
    page.mouse.up()
    ratio = page.inner_text("#closeness output")
    wait_status(page, f"{ratio.replace(' ', ' = ')}, ")
    page.wait_for_selector("#sheet canvas", state="hidden")
    drawn = picture_of(page, "#sheet img")
    assert alike(far, drawn) > 0.8 > alike(far, near)  # what was shown is what is drawn
    page.wait_for_selector(f"#sheet .large img[alt$='red hair, {ratio}']")
    assert alike(moved, picture_of(page, "#sheet .large img")) > 0.8
    frames(page)
    assert "background" not in strips  # the strip is not made again
    page.evaluate(SCRUB_JS, [0.03])
    page.dispatch_event("#closeness-range", "change")
    wait_status(page, f"likeness {100 * values_at('local', 0.03)['likeness']:.3g} %")
    page.wait_for_selector("#sheet canvas", state="hidden")
    page.evaluate(SCRUB_JS, [0.5])
    assert page.is_visible("#sheet canvas")
    page.evaluate(SCRUB_JS, [0.5, 0.03])  # back where the sheet is
    assert not page.is_visible("#sheet canvas")
    # A pinned face is none of the sheet's: it stays.
    page.click("#sheet summary >> nth=1")
    page.click("#sheet [data-do=pin]")
    page.click("#sheet .large")  # the next one
    page.keyboard.down("b")
    assert page.is_visible("#sheet .large canvas")
    page.keyboard.up("b")
    page.click("#sheet .pins button")
    page.keyboard.down("b")
    assert page.is_visible("#sheet .stage canvas") and not page.is_visible("#sheet .large canvas")
    page.click("#sheet .cells button >> nth=2")
    assert page.is_visible("#sheet .large canvas")
    page.keyboard.up("b")


def test_the_best_sample_is_large_also_where_its_sheet_takes_long_to_decode(page, served_small):
    # The clearest of the half that is farther from the images.
    engine = Engine(make_tiny_prior())
    evidence = engine.read(example_sets()["greyscale"].files, align="never")
    request = Request(evidence, recipe_of({"prior": "tiny", "seed": 1, **dict(METHODS["local"])}))
    sampler = request.sampler(engine)
    drawn = engine.sample(sampler, **request.draws)
    best = Result(request, engine, to_pil(drawn.images), drawn.counts).best
    apart = [near.distance for near in engine.closest(drawn.images, evidence.posterior())]
    assert sorted(best) == list(range(16)) and apart[best[0]] >= np.median(apart) and best[0]
    page.add_init_script("""
        const {decode} = Image.prototype;
        const late = new Promise(go => document.addEventListener('sample', () => setTimeout(go, 1500)));
        Image.prototype.decode = async function () { await late; await decode.call(this); };
    """)
    page.goto(f"{served_small}/?example=greyscale&seed=1")
    page.wait_for_selector(f"#sheet .cells [aria-current][aria-label='Face {best[0] + 1} of 16']")
    page.wait_for_selector(f"#sheet .large img[alt^='Face {best[0] + 1} of 16: black & white']")
    page.wait_for_selector("#sheet [data-do=more]:enabled")
    assert page.is_visible("#sheet .closest")


def test_undo_back_and_the_address(page, served_small):
    page.goto(f"{served_small}/?lab=1")
    page.wait_for_url(re.compile(f"example={OPENING}"))
    first = sheet(page)
    page.set_input_files("#evidence-files input[type=file]", EXAMPLES["sepia"][:2])
    page.wait_for_url(re.compile("example=own"))
    wait_status(page, "m = 2 ")
    page.fill("#number input", "4")
    page.wait_for_url(re.compile("n=4"))
    assert page.locator("#sheet .cells button").count() == 4
    page.evaluate(UNDO_JS, "m = 2 ")  # before the state of this step has come
    page.go_back()  # files of one's own are there again, too
    same_sheet(page, first)
    page.wait_for_url(re.compile(f"example={OPENING}"))
    page.go_forward()
    wait_status(page, "m = 2 ")
    assert page.locator("#history .states button").count() == 3
    page.click("#reset")
    page.wait_for_url(lambda url: "n=4" not in url)
    page.evaluate("for (const press of '123456789') document.querySelector('#history .undo').click()")
    page.wait_for_url(re.compile(f"example={OPENING}"))  # the first state, and not the site before this page
    page.wait_for_function("!history.state.depth")
    same_sheet(page, first)


# What the window shows after each card that comes.
CARDS_SEEN = """() => {
  window.cards = [];
  document.addEventListener('card', () => cards.push(document.querySelector('.card-window img').src));
}"""


def test_a_set_is_shared_by_its_link_and_ones_own_by_a_picture_or_a_file(page, served_small, tmp_path):
    page.goto(f"{served_small}/?example=sepia&n=3")
    wait_status(page, "3 samples in")
    page.wait_for_url(re.compile("n=3"))
    for _ in range(2):  # the same picture twice
        page.click("#history .share")
        page.click(".card-window [data-do=link]")
        assert page.evaluate("navigator.clipboard.readText()") == page.url
        assert not page.is_visible(".card-window [data-do=set]")
        page.click(".card-window [data-do=close]")
    # New people like five friends: three clicks, of which the first opened the files.
    page.set_input_files("#evidence-files input[type=file]", EXAMPLES["red_hair"][:5])
    wait_status(page, "m = 5 ")
    page.click("#history .share")
    says(page, ".card-window p", OWN)
    assert not page.is_visible(".card-window [data-do=link]")
    picture = saved(page, ".card-window [data-do=picture]", tmp_path)
    assert picture.name == "new_faces.png" and not shows_its_images(picture)
    before = page.get_attribute(".card-window img", "src")
    page.check(".card-window input")
    page.wait_for_function("src => document.querySelector('.card-window img').src !== src", arg=before)
    assert shows_its_images(saved(page, ".card-window [data-do=picture]", tmp_path))
    assert Posterior.load(saved(page, ".card-window [data-do=set]", tmp_path)).m == 5
    # Ticked and unticked before its picture came: an older answer is not taken, however late it is.
    before = page.get_attribute(".card-window img", "src")
    page.uncheck(".card-window input")
    page.wait_for_function("src => document.querySelector('.card-window img').src !== src", arg=before)
    page.evaluate(CARDS_SEEN)
    plain = page.get_attribute(".card-window img", "src")
    page.evaluate("for (const _ of '12') document.querySelector('.card-window input').click()")
    page.wait_for_function("cards.length === 2")
    assert page.evaluate("cards") == [plain, plain]
    assert not shows_its_images(saved(page, ".card-window [data-do=picture]", tmp_path))


def test_a_link_opens_with_the_same_large_face(page, new_page, served_small):
    shown = "#sheet .cells [aria-current=true]"
    page.goto(f"{served_small}/?example=sepia&n=5")
    wait_status(page, "5 samples in")
    page.wait_for_selector("#sheet [data-do=save]:enabled", state="attached")
    first = page.get_attribute(shown, "aria-label")
    other = "Face 2 of 5" if first == "Face 1 of 5" else "Face 1 of 5"
    page.get_by_label(other, exact=True).click()
    page.wait_for_url(re.compile(f"face={other[5]}"))
    for address, face in (
        (page.url, other),
        (f"{served_small}/?example=sepia&n=5&face=99", "Face 5 of 5"),
        (f"{served_small}/?example=none&n=5&face=3", "Face 3 of 5"),
    ):
        opened = new_page()
        opened.goto(address)
        wait_status(opened, "5 samples in")
        opened.wait_for_selector("#sheet [data-do=save]:enabled", state="attached")
        assert opened.get_attribute(shown, "aria-label") == face
    page.get_by_label(first, exact=True).click()
    page.wait_for_url(lambda url: "face" not in url)


def test_a_picture_to_share_names_the_whole_address_or_the_host():
    faces = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue", "grey")]
    host, short, long = (card(faces, "faces", f"host/{query}") for query in ("", "?seed=1", f"?{'x' * 60}"))
    assert list(long.getdata()) == list(host.getdata()) != list(short.getdata())


def test_the_history_goes_through_the_tabs(page, served_small, hold):
    page.goto(f"{served_small}/?lab=1&example=none")
    wait_status(page, "seed 0")
    page.fill("#seed input", "1")
    page.wait_for_url(re.compile("seed=1"))
    restyle, studio = (page.get_by_role("tab", name=name, exact=True) for name in ("Restyle", "Studio"))
    restyle.click()
    page.wait_for_url(re.compile("tab=restyle"))
    page.go_back()
    wait_status(page, "seed 0")
    expect(studio).to_have_attribute("aria-selected", "true")
    page.go_forward()
    expect(restyle).to_have_attribute("aria-selected", "true")
    # Samples that come while another tab is open are a state of the Studio, and leave that tab its address.
    studio.click()
    page.wait_for_url(lambda url: "tab=" not in url)
    before, batch = status(page), hold("sample")
    page.fill("#seed input", "2")
    page.wait_for_selector("#samples-status .updating", state="attached")  # not the strip of before
    restyle.click()
    page.wait_for_url(re.compile("tab=restyle"))
    batch.go_on.set()
    wait_status(page, "seed 2")
    page.wait_for_function("history.state.depth === 2")
    assert "tab=restyle" in page.url
    studio.click()
    page.wait_for_url(lambda url: "tab=" not in url)
    page.click("#history .undo")
    wait_status(page, re.search("seed [01]", before)[0])


def test_what_a_link_to_the_page_shows(served_small):
    with urlopen(served_small) as answer:
        page = answer.read().decode()
    assert '<meta property="og:image" content="preview.jpg"' in page and "Show it a few faces" in page
    # A reader takes the first of several, and follows the address that a page names for itself.
    about = re.findall(
        r'<meta (?:property|name)="(?:og|twitter):(?:title|image|url|creator)"\s+content="([^"]*)"', page
    )
    assert set(about) == {"Transflow Studio", "preview.jpg"}
    with urlopen(f"{served_small}/favicon.ico") as answer:
        assert answer.read() == (FOLDER / "icon.svg").read_bytes()
    with urlopen(f"{served_small}/preview.jpg") as answer, Image.open(io.BytesIO(answer.read())) as image:
        assert image.size == (1200, 630)


def test_the_page_installs_as_a_window_of_its_own(served_small, page):
    """As Chromium sees it: a manifest without errors, and nothing, such as a missing icon, that stands in the way."""
    page.goto(served_small)
    devtools = page.context.new_cdp_session(page)
    found = devtools.send("Page.getAppManifest")
    manifest = json.loads(found["data"])
    assert not found["errors"] and manifest["name"] == "Transflow Studio" and manifest["display"] == "standalone"
    errors = [one["errorId"] for one in devtools.send("Page.getInstallabilityErrors")["installabilityErrors"]]
    assert set(errors) <= {"in-incognito"}  # as every page of a test is


def test_the_history_has_ten_states_and_no_posteriors():
    """A posterior is as large as all latents that it was made of: ten of each visitor are much."""
    image = EvidenceImage(Source("a.png"), Picture("a.png"), None, Latent(torch.zeros(6), -1.0, -1.0))
    history, states = History(), [Request(Evidence((image,)), DEFAULT.replace(seed=seed)) for seed in range(12)]
    numbers, posteriors = [], []
    for state in states:
        posteriors.append(weakref.ref(state.evidence.posterior().latents))
        numbers.append(history.keep(state))
    gc.collect()
    assert [posterior() is None for posterior in posteriors] == [True] * 11 + [False]
    assert numbers[1] not in history.states and history.states[numbers[2]] is states[2]
    assert history.keep(Request(states[5].evidence, DEFAULT.replace(seed=5))) == numbers[5]


@pytest.mark.parametrize("how", [*METHODS.values(), by_posterior((0.1, 0.5))])
def test_an_address_says_it_all(how):
    values = {"temperature": 0.7, "n": 9, "seed": 42, "structure": "prior", "style_levels": 2}
    recipe = recipe_of(dict(how) | values)
    query = dict(parse_qsl(address_of(Request(Evidence(), recipe.replace(prior="other"), auto=False), "tiny")))
    assert settings_in(query) == (recipe, False) and query["prior"] == "other" and query["example"] == "none"


@pytest.mark.parametrize(
    ("link", "values"),
    [
        ("lam_ratio=0.5", {"method": "local", "lam_ratio": 0.5, "likeness": 0.5}),
        ("likeness=0.9", {"method": "local", "likeness": 0.9}),
        ("images_per_sample=3", {"method": "bootstrap", "images_per_sample": 3}),
    ],
)
def test_a_number_in_an_address_chooses_a_method(link, values):
    recipe, auto = settings_in(dict(parse_qsl(link)))
    assert not auto and recipe.model_dump().items() >= values.items()
    recipe = recipe_in(dict(parse_qsl(f"a=sepia&b=sketch&{link}")))
    assert recipe.model_dump().items() >= values.items()
