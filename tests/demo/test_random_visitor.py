"""A random visitor (`benchmarks.hands`): at rest the page shows the last result of the server, for its own controls."""

import random

import pytest

from benchmarks.hands import begin, served

from ..helpers import TIMEOUT


@pytest.fixture(scope="module")
def url(engines):  # whose cache folder it shares
    with served() as address:
        yield address


def test_at_rest_the_page_shows_the_last_result_of_the_server(page, url):
    hands = begin(page, url, random.Random(0))
    done = []
    for _ in range(2):
        done.append(hands.burst())
        assert not (wrong := hands.rest(most=TIMEOUT)), (done, wrong)
