"""Whether one visitor delays another: a click on an example set, alone and beside somebody who uploads 100 photographs.

    python -m benchmarks.visitors

Starts `python app.py` twice, once for each, so that what is read and inverted is in nobody's cache at the first round
of clicks. A wait is from the click to the last of what follows it: cards, whole samples, and the inner tab that is
open; what a later drag will show is begun, as a browser does, and not waited for. Photographs are those of
../shared/data/photos, stored anew at several qualities, or faces of assets/examples in larger pictures. Needs an idle
machine.
"""

import argparse
import io
import itertools
import json
import secrets
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Set
from typing import Any

import httpx
from PIL import Image

from benchmarks.page import ROOT, serve

EXAMPLES = ROOT / "assets" / "examples"
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "photos"
UPLOADED = 100
# A connection that the server closes while a request is on its way to it is no fault of either: each has its own.
ONCE = httpx.Limits(max_keepalive_connections=0)


class Visitor:
    """A page that is open, without a browser: its events by the requests that Gradio's own script makes.

    Args:
        url: where the page is.
        headers: of all that it asks for, such as its address.

    Attributes:
        session: as Gradio knows it.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._client = httpx.Client(base_url=f"{url}/gradio_api", timeout=None, headers=headers, limits=ONCE)
        self.session = secrets.token_hex(6)
        config = httpx.get(f"{url}/config", timeout=60).json()
        self._events = {event["id"]: event for event in config["dependencies"]}
        self._components = {component["id"]: component["props"] for component in config["components"]}
        self._within: dict[str | None, set[int]] = defaultdict(set)  # the components in a box, by its id
        self._place(config["layout"], ())
        # Each answer has the number of the last one beside what it shows.
        self._ahead, self._signals = self._labelled("strip", "Last answer"), self._labelled("Signal")
        self.happens(None, "load")

    def _labelled(self, *labels: str) -> set[int]:
        return {key for key, props in self._components.items() if props.get("label") in labels}

    def _place(self, node: dict[str, Any], around: tuple[str | None, ...]) -> None:
        around += (self._components.get(node["id"], {}).get("elem_id"),)
        for elem_id in around:
            self._within[elem_id].add(node["id"])
        for child in node.get("children") or ():
            self._place(child, around)

    def upload(self, files: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
        """Files as an upload event takes them."""
        paths = self._client.post("/upload", files=[("files", file) for file in files]).raise_for_status().json()
        names = (name for name, _ in files)
        meta = {"_type": "gradio.FileData"}
        return [{"path": path, "orig_name": name, "meta": meta} for path, name in zip(paths, names, strict=True)]

    def happens(self, elem_id: str | None, name: str, value: Any = None, data: Any = None) -> float:
        """Let an event of a component happen, with all that follows it; gives the seconds.

        Args:
            elem_id: of the component, or of the box that it lies in; None for the page.
            name: of the event.
            value: of the component, where it is an input.
            data: the event's own.
        """
        start = time.perf_counter()
        of = self._within[elem_id] if elem_id else set()
        begun = self._begun_by(of if elem_id else None, name)
        assert begun, f"no event {name} of {elem_id}"
        while begun:
            event = begun.pop(0)
            if event["backend_fn"]:
                self._run(event, {key: value for key in of}, data)
            begun += [after for after in self._events.values() if after.get("trigger_after") == event["id"]]
            begun += self._begun_by(self._signals.intersection(event["outputs"]), "change")
            data = None
        return time.perf_counter() - start

    def _begun_by(self, components: Set[int] | None, name: str) -> list[dict[str, Any]]:
        """The events that begin with this one of any of these components, or of the page."""
        return [
            event
            for event in self._events.values()
            if any(of == name and (components is None or key in components) for key, of in event["targets"])
        ]

    def leave(self) -> None:
        """Close the page: a browser's heartbeat ends then."""
        with self._client.stream("GET", f"/heartbeat/{self.session}") as stream:
            next(stream.iter_bytes(), None)

    def request(self, elem_id: str, name: str, data: Any = None) -> dict[str, Any]:
        """What a browser posts for the first event of this name of a component."""
        return self._body(self._begun_by(self._within[elem_id], name)[0], {}, data)

    def _body(self, event: dict[str, Any], values: dict[int, Any], data: Any) -> dict[str, Any]:
        inputs = [values.get(key, self._components[key].get("value")) for key in event["inputs"]]
        return {"fn_index": event["id"], "data": inputs, "event_data": data, "session_hash": self.session}

    def _run(self, event: dict[str, Any], values: dict[int, Any], data: Any) -> None:
        body = self._body(event, values, data)
        asked = self._client.post("/queue/join", json=body).raise_for_status().json()["event_id"]
        if event["outputs"] and self._ahead.issuperset(event["outputs"]):
            return
        with self._client.stream("GET", "/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                if message.get("msg") == "process_completed" and message.get("event_id") == asked:
                    assert message["success"], message
                    return
        raise RuntimeError("the page hung up")


def photographs(salt: int) -> list[tuple[str, bytes]]:
    """Names and contents of 100 photographs that nobody sent before: `salt` makes others of them."""
    shared = sorted(PHOTOGRAPHS.glob("*.jpg"))
    files = []
    for index, path in zip(range(UPLOADED), itertools.cycle(shared or sorted(EXAMPLES.glob("*/*.png")))):
        with Image.open(path) as image:
            picture = image.convert("RGB")
        if not shared:
            scene = Image.new("RGB", (1600, 1200), (90, 120, index))
            scene.paste(picture.resize((700, 700), Image.Resampling.LANCZOS), (450, 250))
            picture = scene
        picture.putpixel((0, 0), (salt % 256, index, 0))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=95 - index // 10)
        files.append((f"{index}.jpg", buffer.getvalue()))
    return files


def waits(url: str, sets: int) -> tuple[list[float], list[float]]:
    """Seconds from a click on each example set to the last of what follows: at first, and again."""
    visitor = Visitor(url)
    keys = list(json.loads((EXAMPLES / "sets.json").read_text(encoding="utf-8")))[:sets]
    first, again = (
        [visitor.happens("evidence-examples", "select", data={"example": key}) for key in keys] for _ in range(2)
    )
    return first, again


def _uploading(url: str, over: threading.Event, under_way: threading.Event) -> None:
    visitor = Visitor(url)
    for salt in itertools.count(1):
        files = visitor.upload(photographs(salt))
        under_way.set()
        if over.is_set():
            return
        try:
            visitor.happens("evidence-files", "upload", value=files)
            visitor.happens("evidence-clear", "click")
        except (AssertionError, RuntimeError, httpx.HTTPError):
            if over.is_set():  # the page was ended, in the midst of it
                return
            raise


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sets", type=int, default=7, help="how many example sets are clicked")
    given = parser.parse_args()
    found = []
    for beside in (False, True):
        process, url, _ = serve()
        over, under_way = threading.Event(), threading.Event()
        heavy = threading.Thread(target=_uploading, args=(url, over, under_way), daemon=True)
        try:
            if beside:
                heavy.start()
                under_way.wait()
            found.append(waits(url, given.sets))
        finally:
            over.set()
            process.terminate()
            process.wait()
    print("| a click on an example set of 18 | alone | beside 100 photographs | ratio |\n|---|---|---|---|")
    for what, alone, beside in zip(("for the first time", "again"), *found, strict=True):
        ours, theirs = statistics.median(alone), statistics.median(beside)
        print(
            f"| {what} | {ours:.2f} s ({min(alone):.2f}-{max(alone):.2f}) | "
            f"{theirs:.2f} s ({min(beside):.2f}-{max(beside):.2f}) | {theirs / ours:.2f} |"
        )


if __name__ == "__main__":
    main()
