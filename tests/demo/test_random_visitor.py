"""A random visitor (`benchmarks.hands`): at rest the page shows the last result of the server, for its own controls."""

import random

import pytest

from benchmarks.hands import begin, served
from demo.tabs.studio_results import View


@pytest.fixture(scope="module")
def url(engines):  # whose cache folder it shares
    with served() as address:
        yield address


def test_at_rest_the_page_shows_the_last_result_of_the_server(page, url):
    hands = begin(page, url, random.Random(0))
    done = []
    for _ in range(6):
        done.append(hands.burst())
        assert not (wrong := hands.rest(most=600)), (done, wrong)
    # What is wrong is seen.
    page.evaluate("document.querySelector('#sheet img').src = 'data:image/png;base64,'")
    page.evaluate("document.querySelector('#samples-status').innerText = 'updating…'")
    page.evaluate("history.replaceState(null, '', '?example=neither')")
    wrong = " ".join(hands.rest(seconds=0))
    assert "sheet is" in wrong and "updating…" in wrong and "address is" in wrong
    hands.session.state(View).result = None
    assert "no samples" in hands.rest(seconds=0)[0]
