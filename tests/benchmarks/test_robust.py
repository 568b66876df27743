"""The page of misaligned faces says what its numbers say."""

from types import SimpleNamespace

from benchmarks.robust import METHODS, MISALIGNED, SETS, SPOILT, page


def test_what_misalignment_does_is_counted_over_sets():
    found = {
        (name, how, kind): {"energy": [1.0, 1.2, 1.1], "torn": [0.0, 6.0, 0.0]}
        for name in SETS
        for how in METHODS
        for kind in (*SPOILT, *MISALIGNED)
    }
    moved = [kind for kind in MISALIGNED if "12" in kind]
    for name, (kind,) in zip(SETS[:3], [moved] * 3, strict=True):
        found[name, "local", kind] = {"energy": [5.0, 5.1, 5.3], "torn": [50.0, 56.0, 50.0]}
    faces = SimpleNamespace(alarms={"torn": 5.0}, misses={"torn": 2.0})
    words = page(
        found,
        {name: [(0.004, 0.012)] for name in SETS},
        dict.fromkeys(SETS, 0.0),
        faces,
        SimpleNamespace(splits=3, prior="celeba64"),
    )
    assert "- local, moved most: farther on 3, nearer on 0; more torn on 3, fewer on 0." in words
    assert "- local, turned most: farther on 0, nearer on 0; more torn on 0, fewer on 0." in words
    assert "| by 12 % | 1.1 ± 0.2 / 2 | 5.1 ± 0.4 / 52 |" in words
