"""The evidence panel as a visitor uses it, in a real browser: thumbnails, faces, drops from anywhere, undo."""

import base64
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl
from urllib.request import urlopen

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect

from demo.cards import MINE, thumbnails
from demo.controls import Model
from demo.evidence_panel import EvidencePanel, _weight, row_of
from demo.examples import example_sets
from demo.server.files import AGE, upload_folder
from demo.server.middleware import _BODY, _VALUES
from demo.server.state import Session
from demo.server.uploads import photos_of
from demo.static import static
from transflow_core import Posterior, align, load_image
from transflow_core.evidence import Evidence, EvidenceImage, Source
from transflow_core.pictures import Picture

from ..helpers import TIMEOUT, frames, squares
from .conftest import EXAMPLES, OTHER, TINY, choose_example, done, opened, paint, says, through
from .test_studio import another_sheet, same_sheet, sheet, upload, wait_samples, wait_status

CARDS, DETAILS, FILES = "#evidence-cards .card", "#evidence-details", "#evidence-files input[type=file]"
# As a file that is dragged, or pasted, from another program.
DROP_JS = """
([kind, files, x, y]) => {
  const given = new DataTransfer();
  for (const [name, type, data] of files)
    given.items.add(new File([Uint8Array.from(atob(data), one => one.charCodeAt(0))], name, {type}));
  const init = {bubbles: true, cancelable: true, clientX: x, clientY: y};
  const event = kind === 'paste' ? new ClipboardEvent(kind, {...init, clipboardData: given})
    : new DragEvent(kind, {...init, dataTransfer: given});
  return (document.elementFromPoint(x, y) ?? document.body).dispatchEvent(event);
}
"""
ADDRESS_JS = """
() => {
  const given = new DataTransfer();
  given.setData('text/uri-list', 'https://example.org/a.png');
  for (const kind of ['dragover', 'drop'])
    document.body.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: given}));
}
"""
# A browser whose tab keeps nothing.
FULL_JS = """
const plain = Storage.prototype.setItem;
Storage.prototype.setItem = function (...entry) {
  if (this === sessionStorage) throw new DOMException('full', 'QuotaExceededError');
  plain.apply(this, entry);
};
"""
# Two clicks at one point: the second one meets the next image, which has moved there.
TWICE_JS = """
() => [...document.querySelectorAll('#evidence-cards .remove')].slice(0, 2).forEach(one =>
  one.dispatchEvent(new MouseEvent('click', {bubbles: true, detail: 1, clientX: 300, clientY: 300})))
"""
PAINTED_JS = """at => {
    const canvas = document.querySelector(at), {width, height} = canvas;
    return canvas.getContext('2d').getImageData(0, 0, width, height).data.some(Boolean);
}"""
IGNORED_JS = """
n => (all => all.length === n && all.every(one => one.title.includes('ignored')))
  ([...document.querySelectorAll('#evidence-cards .open')])
"""


def drop(page, kind, files, at=(5, 5)):
    """Drop or paste files. Returns whether the browser would do its own action, such as to open the file."""
    read = [(Path(file).name, "image/png", base64.b64encode(Path(file).read_bytes()).decode()) for file in files]
    return page.evaluate(DROP_JS, [kind, read, *at])


def details(page, words):
    says(page, DETAILS, words)


def has(page, words):
    """Wait until the panel's status is these words."""
    page.wait_for_function("words => document.querySelector('#evidence-status')?.innerText.trim() === words", arg=words)


def drop_from_the_desktop(page, path):
    """As a hand does it: a folder, too."""
    session, box = page.context.new_cdp_session(page), page.locator("#evidence-files").bounding_box()
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": box["x"] + 5, "y": box["y"] + 5, "data": data})


@pytest.fixture
def group(tmp_path, conformance):
    """A photograph of two faces, the larger one at the left."""
    canvas = Image.new("RGB", (640, 320), (96, 128, 96))
    for index, x in enumerate((20, 360)):
        face = Image.fromarray(conformance["images"][index]).resize((256 - 40 * index,) * 2, Image.Resampling.LANCZOS)
        canvas.paste(face, (x, 40))
    canvas.save(tmp_path / "group.jpg", quality=95)
    return str(tmp_path / "group.jpg")


def test_ten_files_of_which_two_are_broken_and_others_are_refused(studio, served_small, tmp_path):
    page, files = studio, EXAMPLES["greyscale"][:8]
    broken = {"empty.png": b"", "torn.jpg": b"\xff\xd8\xff\xe0 this is no photograph", "evil.safetensors": bytes(100)}
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "note.txt").write_text("no picture")
    upload(page, [*files, *(str(tmp_path / name) for name in ("empty.png", "torn.jpg", "note.txt"))], used=8)
    said = "#evidence-files .said"
    assert page.inner_text(said) == "note.txt is no picture."
    assert page.inner_text("#evidence-files .stays").startswith("Your photos never leave this computer.")
    assert page.locator(CARDS).count() == 10 and "8 of 10" in page.inner_text("#evidence-status")
    problems = page.locator("#evidence-cards .card.problem .open")
    assert problems.count() == 2 and "empty.png: skipped: " in problems.first.get_attribute("title")
    problems.last.click()
    details(page, "skipped: ")
    assert "torn.jpg" in page.inner_text(DETAILS)
    page.set_input_files(FILES, str(tmp_path / "evil.safetensors"))
    page.get_by_text("evil.safetensors is not a saved posterior").wait_for()
    assert "evil" not in page.inner_text("#evidence") and page.locator(CARDS).count() == 10
    assert page.inner_text(said) == ""
    drop(page, "drop", [str(tmp_path / "note.txt")])
    says(page, said, "note.txt is no picture.")
    with urlopen(served_small) as answer:  # as a visitor of another computer reads it
        assert f"while this page is open, and at most {AGE / 60:g} minutes longer" in answer.read().decode()


def test_an_image_of_eighteen_has_its_details(studio):
    page = studio
    choose_example(page, "sepia")
    expect(page.locator(CARDS)).to_have_count(18)
    page.focus("#evidence-cards .open")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    details(page, "sepia_01.png")
    assert page.get_attribute("#evidence-cards [data-index='1']", "aria-expanded") == "true"
    assert "of m = 18" in page.inner_text(DETAILS) and "log p(z)" not in page.inner_text(DETAILS)
    page.click(f"{DETAILS} summary:text('Numbers')")
    assert all(words in page.inner_text(DETAILS) for words in ("log p(z)", "‖z‖²"))
    page.keyboard.press("Escape")
    page.wait_for_selector(f"{DETAILS} .details", state="detached")
    assert page.evaluate("document.activeElement.dataset.index") == "1"


def test_own_images_replace_an_example_set_and_are_removed_once_and_come_back(studio, hold):
    page = studio
    choose_example(page, "red_hair")
    upload(page, EXAMPLES["sepia"][:2], used=2)
    page.click("#history .undo")
    wait_samples(page)
    upload(page, EXAMPLES["sepia"][:1], used=1)
    has(page, "1 picture")
    upload(page, EXAMPLES["sepia"][1:3], used=3)
    three = sheet(page)
    page.evaluate(TWICE_JS)
    wait_status(page, "m = 2 ")
    assert "sepia_00" not in page.inner_html("#evidence-cards")
    page.click("#history .undo")
    wait_status(page, "m = 3 ")
    same_sheet(page, three)
    samples = hold("sample")  # Undo takes back what is not there yet
    page.click("#evidence-clear")
    page.wait_for_selector("#samples-status .updating", state="attached")
    page.click("#history .undo")
    has(page, "3 pictures")
    samples.go_on.set()
    wait_status(page, "m = 3 ")
    same_sheet(page, three)
    page.focus("#evidence-cards .open")
    page.keyboard.press("Delete")
    wait_status(page, "m = 2 ")
    assert page.evaluate("document.activeElement.dataset.action") == "open"  # of the one that came into its place


def test_undo_takes_back_samples_while_what_follows_them_is_drawn(studio, hold):
    page = studio
    choose_example(page, "red_hair")
    page.get_by_role("tab", name="Sweep").click()
    page.wait_for_selector("#sweep img")
    sweep = hold("sample", which=lambda number: number == 1, preview=False)  # the samples come first
    upload(page, EXAMPLES["sepia"][:2], used=2)
    assert sweep.begun.wait(TIMEOUT)
    page.click("#history .undo")
    wait_samples(page)


# The state with seed 7, and all that follows it, comes once `window.comes` is called.
LATE = through("""{async transform(chunk, to) {
  const text = new TextDecoder('latin1').decode(chunk), at = text.indexOf('seed=7&');  // a character for each byte
  if (at < 0) { to.enqueue(chunk); return; }
  const cut = Math.max(0, text.lastIndexOf('data:', at));
  to.enqueue(chunk.slice(0, cut));
  await new Promise(done => { window.comes = done; });
  to.enqueue(chunk.slice(cut));
}}""")


def test_samples_that_were_left_by_undo_are_no_state_however_late_they_come(page, served_small):
    page.add_init_script(LATE)
    opened(page, served_small)
    choose_example(page, "sepia")
    page.wait_for_url(re.compile("example=sepia"))
    depth, urls = page.evaluate("history.state.depth"), []
    page.on("framenavigated", lambda frame: urls.append(frame.url))
    page.fill("#seed input", "7")
    page.press("#seed input", "Enter")
    page.wait_for_function("!!window.comes")
    wait_status(page, "seed 7")
    calls = page.evaluate("Number(document.body.dataset.call)")
    page.click("#history .undo")
    page.wait_for_function("calls => document.body.dataset.call > calls", arg=calls)
    page.evaluate("comes()")
    wait_status(page, "seed 0")
    page.fill("#seed input", "3")
    page.press("#seed input", "Enter")
    page.wait_for_url(re.compile("seed=3"))
    assert not any("seed=7" in url for url in urls) and page.evaluate("history.state.depth") == depth + 1


def test_undo_goes_back_from_a_state_that_comes_again(page, served_small):
    opened(page, served_small)
    page.wait_for_url(re.compile("example=none"))
    choose_example(page, "sepia")
    page.click("#evidence-clear")  # as when the page was opened
    has(page, "No images yet. These samples come from the model alone.")
    page.wait_for_url(re.compile("example=none"))
    page.click("#history .undo")
    page.wait_for_url(re.compile("example=sepia"))
    wait_status(page, "m = 18 ")


def test_ones_own_photos_are_a_set_to_return_to(page, served_small):
    mine = "#evidence [data-example=mine]"
    opened(page, served_small, panel=False)
    assert not page.is_visible(mine)
    upload(page, EXAMPLES["sepia"][:2], used=2)
    own, chip = sheet(page), page.locator("#evidence [data-example=red_hair]")
    before = chip.bounding_box()
    choose_example(page, "red_hair")
    page.wait_for_selector(mine)
    assert chip.bounding_box() == before  # a second click is on the same set
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        frames(page)
        box = page.locator(mine).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    page.click(mine)
    wait_status(page, "m = 2 ")
    same_sheet(page, own)
    page.wait_for_selector(mine, state="hidden")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.click("#history .undo")  # to the set
    wait_status(page, "m = 18 ")
    page.wait_for_selector(mine)
    page.click(mine)
    wait_status(page, "m = 2 ")
    same_sheet(page, own)
    page.click("#evidence-clear")  # they are gone, but for Undo
    choose_example(page, "red_hair")
    assert not page.is_visible(mine)


def test_a_reload_keeps_ones_own_while_a_set_is_in_their_place(page, served_small):
    mine = "#evidence [data-example=mine]"
    opened(page, served_small, panel=False)
    upload(page, EXAMPLES["sepia"][:2], used=2)
    choose_example(page, "red_hair")
    for _ in range(2):
        page.reload()
        wait_status(page, "m = 18 ")
        page.wait_for_selector(mine)
    page.click(mine)
    wait_status(page, "m = 2 ")
    page.wait_for_selector(mine, state="hidden")
    choose_example(page, "red_hair")
    page.reload()
    wait_status(page, "m = 18 ")
    before = page.url
    page.click("#dice")
    page.wait_for_url(lambda url: url != before)
    drawn = page.url
    page.get_by_role("tab", name="Restyle").click()  # its address has nothing of the Studio
    page.wait_for_url(re.compile("tab=restyle"))
    page.reload()
    says(page, "#restyle-faces", "faces found")  # nobody clicks within the milliseconds in which the tab opens
    page.get_by_role("tab", name="Studio", exact=True).click()
    wait_status(page, "m = 18 ")
    page.wait_for_url(drawn)  # with the seed of the new faces
    page.wait_for_selector(mine)
    page.click("#evidence-clear")  # with those that the browser keeps
    has(page, "No images yet. These samples come from the model alone.")
    assert page.evaluate("sessionStorage.getItem('photos')") is None and not page.is_visible(mine)
    # A page that opens without images was not asked to forget any.
    upload(page, EXAMPLES["sepia"][:2], used=2)
    page.wait_for_url(re.compile("example=own"))
    page.goto(f"{served_small}/?example=none")
    has(page, "No images yet. These samples come from the model alone.")
    page.click(mine)
    wait_status(page, "m = 2 ")


def test_the_details_of_an_image_come_into_sight(studio):
    page = studio
    choose_example(page, "red_hair")  # more thumbnails than the window has room for
    page.click(f"{CARDS} .open >> nth=2")
    expect(page.locator(f"{DETAILS} .buttons").last).to_be_in_viewport()
    assert page.evaluate("document.scrollingElement.scrollTop") == 0  # the samples stay in sight, too


def test_a_weight_counts_and_stays_within_its_range(studio):
    page = studio
    upload(page, EXAMPLES["sepia"][:2], used=2)
    page.click(f"{CARDS} .open")
    weight = page.locator(f"{DETAILS} input")
    for typed, taken, m in (("3", "3", "m = 4 "), ("200", "100", "m = 101 "), ("-2", "0", "m = 1 ")):
        weight.fill(typed)
        expect(weight).to_have_value(taken)
        said = "" if typed == taken else "From 0 to 100."
        assert weight.evaluate("field => field.validationMessage") == said
        weight.press("Enter")
        wait_status(page, m)
    assert "1 of 2" in page.inner_text("#evidence-status")
    page.click(f"{DETAILS} [value=whole]")
    details(page, "used as it is, whole")
    page.click(f"{CARDS} .remove >> nth=1", force=True)
    says(page, "#evidence-status", "0 of 1 picture")


@pytest.mark.parametrize("value", ["-2", "101", "nan", "two", None, [1]])
def test_a_weight_that_no_field_would_send_is_refused(value):
    with pytest.raises(ValueError, match="A weight is a number from 0 to 100"):
        _weight(value)


def test_a_reload_keeps_ones_own_until_they_are_forgotten(page, served_small):
    names = ["sepia_02.png", "sepia_00.png", "sepia_01.png"]
    says_kept = "A reload keeps the pictures shown here, in this tab"
    page.goto(served_small)
    wait_samples(page)
    assert not page.locator("#evidence-cards .keep").count()  # an example set has an address
    page.set_input_files(FILES, [str(Path(EXAMPLES["sepia"][0]).with_name(name)) for name in names])
    wait_status(page, "m = 3 ")
    page.click(f"{CARDS} .open")
    page.fill(f"{DETAILS} input[type=number]", "2")
    page.press(f"{DETAILS} input[type=number]", "Enter")
    wait_status(page, "m = 4 ")
    page.wait_for_url(re.compile("example=own"))
    says(page, "#evidence-cards .keep", says_kept)
    kept = [name.removesuffix(".png") for name in names]  # crops are no files of the user's
    for _ in range(2):  # what was kept once is kept again
        page.reload()
        wait_status(page, "m = 4 ")
        assert page.locator(f"{CARDS} .open").evaluate_all("all => all.map(one => one.dataset.name)") == kept
        says(page, "#evidence-cards .keep", says_kept)
        page.wait_for_url(re.compile("example=own"))
    page.get_by_role("tab", name="Restyle").click()  # its address names no photos
    page.wait_for_url(re.compile("tab=restyle"))
    page.reload()
    says(page, "#restyle-faces", "faces found")  # nobody clicks within the milliseconds in which the tab opens
    page.get_by_role("tab", name="Studio", exact=True).click()
    wait_status(page, "m = 4 ")
    page.get_by_role("link", name="no images: the model alone").click()
    wait_status(page, "No images yet")
    page.click("#history .undo")
    wait_status(page, "m = 4 ")
    page.uncheck("#evidence-cards .keep input")
    says(page, "#evidence-cards .keep", "A reload forgets these photos.")
    assert page.evaluate("sessionStorage.getItem('photos')") is None
    page.reload()
    page.get_by_text("Your photos were not kept, and no link has them. Add them again.").wait_for()
    page.wait_for_url(re.compile("example=(?!own)"))


def test_a_page_that_the_server_has_forgotten_opens_anew_with_its_photos(page, served_small):
    """As after a restart, or a night: what is added then neither replaces those that the browser keeps nor is lost
    without a word."""
    page.goto(served_small)
    wait_samples(page)
    page.set_input_files(FILES, EXAMPLES["sepia"][:3])
    wait_status(page, "m = 3 ")
    says(page, "#evidence-cards .keep", "A reload keeps the pictures shown here")
    page.wait_for_selector("#sheet [data-do=save]:enabled", state="attached")
    with page.expect_event("load"):
        for session in tuple(Session._all.values()):
            Session._all.pop(session.id).close()
        page.set_input_files(FILES, EXAMPLES["sepia"][3:4])
    page.get_by_text("The server had forgotten this page, so it opened anew. Add again what is missing.").wait_for()
    wait_status(page, "m = 3 ")
    says(page, "#evidence-cards .keep", "A reload keeps the pictures shown here")
    page.set_input_files(FILES, EXAMPLES["sepia"][3:4])
    wait_status(page, "m = 4 ")


def test_the_camera_and_the_clipboard_can_be_clicked(page, served_small):
    opened(page, served_small)
    page.get_by_role("button", name="Camera or clipboard").first.click()
    camera = page.locator("#evidence-camera")
    camera.get_by_text("Click to Access Webcam").click(trial=True)
    camera.get_by_label("Paste from clipboard").click(trial=True)


def test_a_hundred_photos_fit_into_one_request(page, served_small):
    opened(page, served_small)
    noise = base64.b64encode(np.random.default_rng(0).bytes(9000)).decode()
    kept = json.dumps([[f"photo {index}", 1, f"data:image/jpeg;base64,{noise}"] for index in range(100)])
    page.evaluate("kept => sessionStorage.setItem('photos', kept)", kept)
    query = page.evaluate(f"({static('photos.js')})('example=own')")
    assert sum(map(query.count, ",[{%")) < _VALUES / 2 and len(query) < _BODY
    photos = photos_of(dict(parse_qsl(query))["photos"])
    assert len(photos) == 100 and photos[99].file.read_bytes() == base64.b64decode(noise)


def test_a_browser_without_storage_says_so(page, served_small):
    page.add_init_script(FULL_JS)
    opened(page, served_small)
    page.set_input_files(FILES, EXAMPLES["sepia"][:2])
    says(page, "#evidence-cards .keep", "This browser keeps no photos: a reload forgets them.")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[[1]]", '[["a", -1, "data:image/jpeg;base64,"]]', '[["a", 1, "/etc/passwd"]]', "[" * 9999]
)
def test_photos_that_a_browser_never_kept_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        photos_of(text)


def test_a_name_that_a_browser_kept_leaves_no_folder():
    (photo,) = photos_of(json.dumps([["../../evil/é 1.jpg", 2, "data:image/jpeg;base64,AAAA"]]))
    assert photo.file.name == "_____evil_é 1" and photo.weight == 2 and upload_folder() in photo.file.parents


def test_after_a_reload_each_photo_counts_as_before(engines):
    engine = engines.get("celeba128")
    small = Image.open(EXAMPLES["sepia"][2]).resize((64, 64))
    before = engine.read([*EXAMPLES["sepia"][:2], small, squares(1, 128)[0]], align="never")
    before = before.replace(0, weight=2.0)
    assert before[2].lacks == 1 and 0 < before.effective_weights[3] < 0.5
    html = thumbnails(before, remembered=True)
    cards = re.findall(r'data-weight="(.*?)".*?src="(.*?)"', html)
    kept = [["photo", float(weight), src] for weight, src in cards]
    after = engine.read(photos_of(json.dumps(kept)), align="never")
    assert after.effective_weights == pytest.approx(before.effective_weights, abs=1e-5)
    assert [image.lacks for image in after] == [image.lacks for image in before]


def test_faces_of_a_picture_are_chosen(studio, group):
    page = studio
    upload(page, [group], used=1)
    first = sheet(page)
    page.click(f"{CARDS} .open")
    boxes = page.locator(f"{DETAILS} .box")
    boxes.first.wait_for()
    assert [box.get_attribute("aria-pressed") for box in boxes.all()] == ["true", "false"]
    boxes.last.click()
    wait_status(page, "m = 2 ")
    assert page.locator(CARDS).count() == 2
    boxes.first.click()
    wait_status(page, "m = 1 ")
    details(page, "(2 of 2)")
    assert sheet(page) != first
    boxes.last.click()
    page.get_by_text("This is the only face in use").wait_for()
    page.click(f"{DETAILS} [value=all]")
    wait_status(page, "m = 2 ")
    page.click(f"{DETAILS} [value=whole]")
    wait_status(page, "m = 1 ")
    details(page, "used as it is, whole")
    boxes.last.click()
    details(page, "(2 of 2)")
    page.click("#evidence-clear")
    # By one click on its card, too.
    upload(page, [group, EXAMPLES["sepia"][0]], used=2)
    assert page.locator(f"{CARDS} .all").all_inner_texts() == ["1 of 2\nuse all"]
    says(page, "#evidence-status", "2 pictures; 1 other face is not used")
    page.click(f"{CARDS} .all")
    wait_status(page, "m = 3 ")
    assert page.locator(CARDS).count() == 3 and not page.locator(f"{CARDS} .all").count()
    page.click("#history .undo")
    wait_status(page, "m = 2 ")
    # A mark of the picture does not cover the button below it.
    page.click(f"{CARDS} .open")
    page.fill(f"{DETAILS} input", "3")
    page.press(f"{DETAILS} input", "Enter")
    wait_status(page, "m = 4 ")
    mark, button = (page.locator(f"{CARDS} {part}").bounding_box() for part in (".badge", ".all"))
    assert mark["y"] + mark["height"] <= button["y"]


def test_files_dropped_or_pasted_anywhere_become_evidence(studio, tmp_path):
    page = studio
    assert not drop(page, "dragover", EXAMPLES["sepia"][:1], at=(1200, 600))
    assert page.locator("body.drags").count() == 1 and page.locator("#evidence-files.dropping").count() == 1
    assert not drop(page, "drop", EXAMPLES["sepia"][:2], at=(1200, 600))  # far from any drop zone
    wait_status(page, "m = 2 ")
    assert page.locator("body.drags").count() == 0
    drop(page, "paste", EXAMPLES["greyscale"][:1])
    wait_status(page, "m = 3 ")
    (tmp_path / "of" / "friends").mkdir(parents=True)
    for file, name in zip(EXAMPLES["greyscale"][1:4], ("2.png", "1.png", ".3.png"), strict=True):
        shutil.copyfile(file, tmp_path / "of" / "friends" / name)
    drop_from_the_desktop(page, tmp_path / "of")
    wait_status(page, "m = 5 ")
    names = [card.get_attribute("title").split(":")[0] for card in page.locator("#evidence-cards .open").all()]
    assert names[3:] == ["1.png", "2.png"]
    page.evaluate(ADDRESS_JS)  # a picture of another page
    says(page, "#evidence-files .said", "This is no file.")
    # In a tab with several drop zones it is the one below the pointer.
    page.get_by_role("tab", name="Interpolate").click()
    cards = "n => document.querySelectorAll('#side-b-cards .card').length === n"
    page.wait_for_function(cards, arg=21)  # it opens with two sets
    box = page.locator("#side-b-status").bounding_box()
    drop(page, "drop", EXAMPLES["sepia"][:1], at=(box["x"] + 9, box["y"] + 9))
    page.wait_for_function(cards, arg=1)
    expect(page.locator("#side-a-cards .card")).to_have_count(18)


def test_pictures_show_as_they_come_and_samples_from_the_third_on(studio, hold):
    page = studio
    before, encode = sheet(page), hold("encode", which=lambda number: number == 2)
    page.set_input_files(FILES, EXAMPLES["greyscale"][:12])
    says(page, "#faces-status .early", "From the first 3 of your images. More are coming")
    another_sheet(page, before)
    page.wait_for_function("document.querySelectorAll('#evidence-cards .coming img').length === 3")
    assert page.locator(CARDS).count() == 6  # the next batch is of four, and the fourth of it goes to the model
    page.wait_for_function("getComputedStyle(document.querySelector('#sheet')).opacity === '1'")
    encode.go_on.set()
    wait_status(page, "m = 12 ")
    assert not page.locator("#evidence-cards .coming").count() and page.locator(CARDS).count() == 12
    assert encode.calls == 4  # none is inverted twice


@pytest.mark.parametrize("key", [key for key in example_sets() if key != "noise_bar"])
def test_of_an_example_set_nothing_changes_where_faces_are_not_looked_for(key):
    """Of noise_bar one is: the bar hides the eyes, and what is found is not where the face is."""
    for file in example_sets()[key].files[:1]:
        found, picture = (align(load_image(file), size=64, align=how)[0].image for how in ("auto", "never"))
        assert found.tobytes() == picture.tobytes()


def test_noise_among_faces_has_a_reduced_weight_until_the_user_restores_it(page, served, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    opened(page, f"{served}/?example=none&prior=celeba64")
    page.set_input_files(FILES, [*EXAMPLES["sepia"][:3], str(tmp_path / "noise.png")])
    has(page, "4 pictures; 1 counts less, unlike a photo")
    page.click("#evidence-cards .card:not(.warning) .open >> nth=0")
    details(page, "Fits the model well.")
    page.click("#evidence-cards .warning .open")
    details(page, "Unlike a photo: noise, hard edges or one flat colour. It hardly counts.")
    for button, words, m in (("Count it fully", "It counts fully", 4), ("Count it less", "It hardly counts", 3)):
        page.get_by_role("button", name=button).click()
        details(page, words)
        wait_status(page, f"m = {m}")
        assert ("counts less" in page.inner_text("#evidence-status")) == (m == 3)


@pytest.mark.parametrize(
    ("data", "row"),
    [
        ({"index": 1, "name": "b.png"}, 1),
        ({"index": 3, "name": "c.png"}, 2),  # one before it was removed
        ({"index": 3, "name": "d.png"}, None),
        ({"index": 2}, 2),
        ({"index": 3}, None),
        ({"index": -1}, None),
        ({"index": "1", "name": "b.png"}, None),
        ({"index": True}, None),
    ],
)
def test_what_a_click_means_is_found_by_its_name_too(data, row):
    images = (EvidenceImage(Source(name), Picture(name), None) for name in ("a.png", "b.png", "c.png"))
    assert row_of(data, Evidence(tuple(images))) == row


def test_a_part_of_one_image_and_of_all_is_ignored(studio):
    page, canvas = studio, f"{DETAILS} canvas"
    upload(page, EXAMPLES["sepia"][:3], used=3)
    before = sheet(page)
    page.click("#evidence-cards .open")
    page.get_by_text("Ignore a part").click()
    paint(page, canvas, (0.3, 0.3), (0.6, 0.5))
    assert page.evaluate(PAINTED_JS, canvas)
    page.locator("#evidence-cards .open").nth(1).click()
    details(page, "sepia_01.png")
    if not page.is_visible(canvas):
        page.get_by_text("Ignore a part").click()
    frames(page)
    assert not page.evaluate(PAINTED_JS, canvas)  # it is on the first one alone
    # By keys alone, too: what is painted grows under the space bar.
    page.focus(canvas)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    page.click(f"{DETAILS} [data-paint=apply]")
    details(page, "a part is ignored")
    page.wait_for_selector(f"{canvas}[data-mask][data-shown]")
    another_sheet(page, before)
    page.click(f"{DETAILS} [data-paint=all]")
    page.wait_for_function(IGNORED_JS, arg=3)
    page.click(f"{DETAILS} [data-paint=clear]")
    page.wait_for_selector(f"{canvas}:not([data-mask])", state="attached")


@pytest.fixture
def panel(engines):
    """The panel alone, for tests without a browser."""
    with gr.Blocks():
        return EvidencePanel(Model(engines, gr.Textbox(), ()), panel="style", title="", tab="studio")


def test_a_saved_posterior_of_another_model_goes_in_words(panel, monkeypatch):
    said, session = [], Session("somebody")
    monkeypatch.setattr("demo.evidence_panel.warn", said.append)
    saved = Posterior.condition(torch.zeros(2, 768), lam_ratio=0.5)
    session.evidence["style"] = Evidence(prior=OTHER, saved=saved, saved_name="mine.safetensors")
    done(panel._follow(session, TINY))
    assert said == [f"mine.safetensors was made with {OTHER}. Add it again for that model."]
    assert not panel.evidence(session).ready and panel.evidence(session).prior == TINY


@pytest.mark.parametrize("name", ["empty.jpg", "classifier.safetensors"])
def test_a_file_of_no_use_leaves_the_example_set(panel, engines, monkeypatch, tmp_path, name):
    said, session, file = [], Session("somebody"), tmp_path / name
    monkeypatch.setattr("demo.evidence_panel.warn", said.append)
    done(panel.open(session, "sketch", TINY))
    before = panel.evidence(session)
    file.write_bytes(b"")
    done(panel.add(session, [file], TINY))
    assert panel.evidence(session) is before and [name in words for words in said] == [True]


def test_a_posterior_that_takes_the_place_of_photos_says_so(panel, engines, monkeypatch, tmp_path):
    said, session = [], Session("somebody")
    monkeypatch.setattr("demo.evidence_panel.warn", said.append)
    own = engines.get(TINY).read(squares(2))
    own.posterior().save(file := tmp_path / "mine.safetensors")
    session.evidence["style"] = replace(own, prior=TINY)
    for path, words in (
        (file, "mine.safetensors took the place of your images."),
        (file, ""),
        (EXAMPLES["sepia"][0], "The images took the place of mine.safetensors."),
    ):
        said.clear()
        done(panel.add(session, [path], TINY))
        assert said == [words] * bool(words) or not words


def test_what_was_still_being_read_of_ones_own_is_said_on_the_way_back(panel, engines, monkeypatch):
    said, session = [], Session("somebody")
    monkeypatch.setattr("demo.evidence_panel.report", said.append)
    own = engines.get(TINY).read(squares(2))
    session.evidence["style"] = Evidence(own.images[:1], prior=TINY, remaining=5, coming=own.images[1:])
    for key in ("sepia", MINE):
        done(panel._choose_example(session, {"example": key}, TINY))
    assert said == ["Images that were not read: 5. Add them again."]
    assert panel.evidence(session).images == own.images[:1] and not panel.evidence(session).coming


def test_all_sessions_share_an_example_set(panel, engines):
    """With its posterior it takes tens of megabytes: somebody may invent sessions."""
    engines.examples.clear()
    one, two, other = Session("one"), Session("two"), Session("other")
    for session, key in ((one, "sketch"), (two, "sketch"), (other, "sepia")):
        assert done(panel.open(session, key, TINY))
    assert panel.evidence(one) is panel.evidence(two) and panel.evidence(one).example == "sketch"
    assert panel.evidence(other).example == "sepia" and len(engines.examples) == 2
    for session in (one, two):
        done(panel.open(session, "", TINY))
    assert len(engines.examples) == 1, "what no session has is forgotten"


def test_a_session_that_is_closed_while_it_reads_a_set_empties_it_for_nobody(panel, engines, monkeypatch):
    plain = panel._show

    def closing(session, *reading):
        shown = plain(session, *reading)
        if not panel.evidence(session).remaining:
            session.evidence.clear()  # as `close` does
        return shown

    engines.examples.clear()
    one, two = Session("one"), Session("two")
    with monkeypatch.context() as patch:
        patch.setattr(panel, "_show", closing)
        done(panel.open(one, "sketch", TINY))
    done(panel.open(two, "sketch", TINY))
    assert len(panel.evidence(two)) == len(example_sets()["sketch"].files)


def test_an_example_set_is_never_taken_for_ones_own(panel, engines):
    """Not by the first who reads it, either."""
    engines.examples.clear()
    session = Session("one")
    panel._keeps = True
    assert not [one for one in done(panel.open(session, "sketch", TINY)) if 'data-keep="yes"' in one[panel._cards]]
    assert 'data-keep="set"' in panel._images(session)[panel._cards]
