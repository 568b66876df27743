"""The Classify tab as a visitor uses it, in a real browser; and the tables and code that can be taken away."""

import re
import shutil

import gradio as gr
import pytest
from PIL import Image

from demo.controls import Model
from demo.server.state import Session
from demo.tabs.classify import Classify, _bars, _python_code, tasks
from transflow_core import Engine, Evidence, FewShotClassifier
from transflow_core.recipes import Classify as Recipe

from ..helpers import ROOT, TIMEOUT, frames
from .conftest import EXAMPLES, OTHER, TINY, done, reset_page, run_python, saved, says, unfold
from .test_studio import slide

STATUS, NUMBERS, QUERIES = "#classify-status", "#classify-numbers", "#classify-queries input[type=file]"


def opened(page, url):
    """Open the page at the tab."""
    page.goto(url + "/?tab=classify&example=none")
    page.wait_for_selector("#classify-add")
    return page


def reset(page):
    """Bring a page that another test used to the state of a new one."""
    reset_page(page)
    page.get_by_role("tab", name="Answers").click()
    page.check("#classify-chosen input")
    page.click("#classify-clear")
    says(page, STATUS, "at least two classes")
    page.wait_for_function("document.querySelectorAll('#classify-classes .class-slot').length === 2")


@pytest.fixture
def tab_page(kept_page, served_small):
    """The tab with the tiny prior, without classes. The tests share the page."""
    return kept_page(lambda page: opened(page, served_small), reset)


def wait_answers(page, n):
    page.wait_for_function("n => document.querySelectorAll('#classify-answers .bars').length === n", arg=n)


def ready(page, key):
    """Click ready classes and queries, and wait for what is made of them to be there to take away."""
    page.click(f"#classify-examples [data-example={key}]")
    wait_answers(page, len(tasks()[key].queries))
    page.wait_for_function("document.querySelector('#classify-progress')?.offsetParent == null")
    return page


def add_examples(page, index, files):
    page.set_input_files(f"#classify-{index}-files input[type=file]", files)


def rename(page, index, name):
    page.fill(f"#classify-{index}-name textarea", name)
    page.press(f"#classify-{index}-name textarea", "Tab")


def answers(page):
    return page.locator("#classify-answers .answer").all_inner_texts()


def test_own_files_of_which_one_is_broken_and_one_has_a_hostile_name(tab_page, tmp_path):
    page, evil = tab_page, "<img src=x onerror=window.pwned=1>"
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no photograph")
    torn, hostile = str(tmp_path / "torn.jpg"), str(tmp_path / f"{evil}.png")
    shutil.copy(EXAMPLES["greyscale"][9], hostile)
    says(page, STATUS, "at least two classes")
    rename(page, 0, evil)
    add_examples(page, 0, [*EXAMPLES["greyscale"][:4], torn])
    says(page, "#classify-0", "4 examples, 1 skipped")
    assert "torn.jpg: skipped: " in page.get_attribute("#classify-0-cards .problem .open", "title")
    says(page, STATUS, "at least two classes")
    add_examples(page, 1, EXAMPLES["cartoon"][:4])
    says(page, "#classify-1", "4 examples")
    page.set_input_files(QUERIES, [hostile, EXAMPLES["cartoon"][9], torn])
    wait_answers(page, 2)
    assert answers(page) == [evil, "Class 2"]
    assert "skipped: " in page.inner_text("#classify-answers .problem")
    rename(page, 1, "drawn")
    says(page, "#classify-answers", "drawn")
    assert "images of drawn" in page.inner_text("#classify-1-files")
    page.click("#classify-0-cards .problem .open")
    page.wait_for_selector("#classify-0-details .details")
    assert page.evaluate("window.pwned") is None
    # Images are removed one at a time. What the classes were compared by stays.
    compared = page.inner_text(NUMBERS)
    page.click("#classify-answers [data-action=remove][data-index='0']")
    wait_answers(page, 1)
    assert answers(page) == ["drawn"]
    assert page.inner_text(NUMBERS) == compared and "by latents" in compared and "by edges" in compared
    page.hover("#classify-1-cards .card")
    page.click("#classify-1-cards [data-action=remove][data-index='0']")
    says(page, "#classify-1", "3 examples")


def test_digits_in_one_click_and_classes_are_removed_added_and_named(tab_page):
    page = ready(tab_page, "digits")
    slots = page.locator("#classify-classes .class-slot")
    says(page, STATUS, "answers right")
    assert slots.count() == 10 and page.input_value("#classify-7-name textarea") == "7"
    assert "images of 7" in page.inner_text("#classify-7-files")
    says(page, NUMBERS, "12 distorted copies")
    unfold(page, "Advanced: features")
    page.press("#classify-copies input[type=range]", "ArrowLeft")
    says(page, NUMBERS, "11 distorted copies")
    assert "by chance 10\xa0%" in page.inner_text(NUMBERS) and len(answers(page)) == 22
    page.click("#classify-add")
    page.get_by_text("At most 10 classes").wait_for()
    ready(page, "styles")
    assert slots.count() == 4
    page.click("#classify-1-remove")
    page.wait_for_function("!document.querySelector('#classify-answers').innerText.includes('Red hair')")
    assert slots.count() == 3 and page.locator("#classify-answers .bars").first.locator("tr").count() == 3
    # Two classes of one name are not one class.
    rename(page, 0, "Cartoon")
    says(page, STATUS, "Two classes have the same name")
    assert page.locator("#classify-answers .bars").count() == 0
    rename(page, 0, "grey")
    wait_answers(page, 14)
    # A removed class comes back empty.
    page.click("#classify-add")
    says(page, "#classify-1", "No examples yet")
    assert page.input_value("#classify-1-name textarea") == ""  # what is typed is the whole name
    assert page.get_attribute("#classify-1-name textarea", "placeholder") == "Class 2"
    page.click("#classify-clear")
    says(page, STATUS, "at least two classes")
    assert slots.count() == 2 and page.is_disabled("#classify-0-remove")
    assert page.locator("#classify-answers .query").count() == 0


def test_another_model_reads_all_again_also_after_a_look_at_another_tab(page, served_small):
    opened(page, served_small)
    ready(page, "styles")
    page.get_by_role("tab", name="Studio", exact=True).click()
    page.get_by_role("tab", name="Behind it").click()
    before = page.inner_text("#classify-answers")
    page.click("#classify-prior input")
    page.get_by_role("option", name=OTHER).click()
    page.wait_for_function("before => document.querySelector('#classify-answers').innerText !== before", arg=before)
    wait_answers(page, len(tasks()["styles"].queries))


def test_a_new_task_takes_away_what_the_one_before_answered(tab_page, hold):
    page = ready(tab_page, "styles")
    held = hold("encode")
    page.click("#classify-examples [data-example=digits]")
    assert held.begun.wait(TIMEOUT)
    page.wait_for_function("!document.querySelector('#classify-answers .bars')")
    assert not page.inner_text("#classify-numbers")
    held.go_on.set()
    wait_answers(page, len(tasks()["digits"].queries))


def test_classes_filled_at_the_same_time_do_not_disturb_each_other(tab_page, hold):
    page = tab_page
    encode = hold("encode", which=lambda number: number == 0)
    add_examples(page, 0, EXAMPLES["sepia"][:4])
    assert encode.begun.wait(TIMEOUT)
    page.wait_for_selector("#classify-progress")
    add_examples(page, 0, EXAMPLES["sketch"][:2])  # a second drop into the same class, while it is being read
    add_examples(page, 1, EXAMPLES["cartoon"][:3])
    says(page, "#classify-1", "3 examples")
    encode.go_on.set()
    page.wait_for_function("document.querySelectorAll('#classify-0-cards .card').length === 6")
    page.wait_for_selector("#classify-progress", state="hidden")
    assert page.locator("#classify-1-cards .card").count() == 3


def test_downloads_and_code_give_the_same_answers_and_the_user_moves_lambda(tab_page, engines, capsys, checkout):
    page, prior = ready(tab_page, "styles"), engines.get(TINY).prior
    says(page, NUMBERS, "chosen from the examples")
    shown = [answer.lower() for answer in answers(page)]
    page.get_by_role("tab", name="Download").filter(visible=True).click()
    says(page, "#classify-python", "result.lines")
    classifier = FewShotClassifier.load(saved(page, "#classify-file", checkout), prior)
    queries = Engine(prior).read([source for source, _ in tasks()["styles"].queries])
    found = classifier.judge(classifier.vectors([image.face.image for image in queries]))
    assert [answer.word.lower() for answer in found] == shown
    code = page.locator("#classify-python .cm-content").inner_text().replace("\u00a0", " ")
    prior.save(TINY)
    run_python(code)
    compared, *printed = capsys.readouterr().out.splitlines()
    assert compared in page.inner_text(NUMBERS).replace("\xa0", " ")
    assert [re.split(r": | \(|, novelty", line)[1].lower() for line in printed] == shown
    page.get_by_role("tab", name="Answers").click()
    page.wait_for_function("document.querySelector('#classify-lam output').textContent !== '0.10'")
    chosen = page.inner_text("#classify-lam output")
    before = page.inner_html("#classify-answers")
    slide(page, 0.3, 0.87, steps=20, at="#classify-lam-range")
    page.mouse.up()
    moved = 10 ** float(page.input_value("#classify-lam-range"))
    says(page, NUMBERS, f"λ/m = {moved:.3g} ")  # the last value wins
    assert not page.is_checked("#classify-chosen input")
    page.wait_for_function("html => document.querySelector('#classify-answers').innerHTML !== html", arg=before)
    page.check("#classify-chosen input")
    says(page, NUMBERS, "chosen from the examples")
    page.wait_for_function("text => document.querySelector('#classify-lam output').textContent === text", arg=chosen)
    # Nothing moves when a query comes, and a phone scrolls to the answers.
    top = "document.querySelector('#classify-results').getBoundingClientRect().top + scrollY"
    before = page.evaluate(top)
    page.set_input_files(QUERIES, [EXAMPLES["sepia"][0]])
    wait_answers(page, 15)
    assert abs(page.evaluate(top) - before) < 30
    page.focus("#classify-answers [data-action=remove][data-index='14']")
    page.keyboard.press("Enter")
    wait_answers(page, 14)
    page.set_viewport_size({"width": 390, "height": 900})
    frames(page, 30)  # the page takes its new width
    before = page.evaluate(top)
    page.set_input_files(QUERIES, [EXAMPLES["sepia"][0]])
    wait_answers(page, 15)
    assert page.evaluate(top) == before
    page.wait_for_function("document.getElementById('classify-status').getBoundingClientRect().top < 900")
    page.set_viewport_size({"width": 1280, "height": 900})


# Without a browser.


@pytest.fixture(scope="module")
def tab(engines):
    with gr.Blocks():
        return Classify(Model(engines, gr.Textbox(), []))


def test_removing_the_first_class_while_a_task_is_read_leaves_the_others(tab):
    session = Session("somebody")
    # It cancels what is read into that class.
    read = done(tab._fill(tasks()["styles"], session, TINY), between=lambda: session.cancel("classify-0"))
    bars = [update[tab._busy.output] for update in read if tab._busy.output in update]
    assert bars and all(" of 38 images read" in bar for bar in bars), "one bar for all classes and queries"
    done(tab._remove_class(0, session, TINY))
    assert [len(session.evidence[f"classify-{index}"]) for index in range(4)] == [0, 6, 6, 6]
    assert len(session.evidence["classify-queries"]) == 14


@pytest.mark.parametrize(("classes", "last"), [(4, "3"), (5, "4"), (6, "2 others")])
def test_a_card_names_each_class_or_counts_two_others_and_more(classes, last):
    answer = {"probabilities": {f"{one}": (classes - one) / 100 for one in range(classes)}, "best": "0"}
    rows = re.findall(r"<th[^>]*>(.*?)</th>", _bars(answer | {"novelty": 0.1, "none_of_these": False}, 0.5))
    assert (len(rows), rows[-1]) == (min(classes, 5), last)


@pytest.mark.parametrize("weight", [1.0, 2.0])
def test_the_code_names_files_only_where_they_say_it_all(engines, weight):
    """`test_snippet` has all that makes them say less."""
    engine = engines.get(TINY)
    classes = {key: engine.read(EXAMPLES[key][:2]).replace(1, weight=weight) for key in ("sepia", "sketch")}
    code = _python_code(Recipe(prior=TINY), classes, Evidence())
    assert ("sepia_01.png" in code) == (weight == 1) == ("Download the classifier" not in code)


def test_shipped_digits_have_their_license():
    assert "Attribution-Share Alike 3.0" in (ROOT / "assets/examples/digits/LICENSE.md").read_text(encoding="utf-8")
    task = tasks()["digits"]
    assert [len(files) for files in task.classes.values()] == [5] * 10
    assert all(Image.open(file).size == (28, 28) for files in task.classes.values() for file in files)
