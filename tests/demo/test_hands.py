"""Random hands (`benchmarks.hands`): at rest the page shows what the server made last, of what its controls say."""

import random

import pytest

from benchmarks.hands import begin, served
from demo.studio.screen import Screen


@pytest.fixture(scope="module")
def url(engines):  # whose cache folder it shares
    with served() as address:
        yield address


@pytest.mark.parametrize("seed", range(2))
def test_at_rest_the_page_shows_what_the_server_made_last(page, url, seed):
    hands = begin(page, url, random.Random(seed))
    done = []
    for _ in range(4):
        done.append(hands.burst())
        assert not (wrong := hands.rest(most=600)), (done, wrong)


def test_what_is_wrong_is_seen(page, url):
    hands = begin(page, url, random.Random(0))
    assert not hands.rest()
    page.evaluate("document.querySelector('#sheet img').src = 'data:image/png;base64,'")
    page.evaluate("document.querySelector('#samples-status').innerText = 'updating…'")
    page.evaluate("history.replaceState(null, '', '?example=sepia')")
    wrong = " ".join(hands.rest(seconds=0))
    assert "sheet is" in wrong and "updating…" in wrong and "address is" in wrong
    hands.session.of_kind(Screen).whole = None
    assert "no whole images" in hands.rest(seconds=0)[0]
