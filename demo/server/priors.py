"""The priors that one running page serves: loaded at first use, kept, and shared by all sessions."""

import contextlib
import fnmatch
import os
import reprlib
import threading
import time
from collections import OrderedDict
from pathlib import Path
from weakref import WeakValueDictionary

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.hub import OWNER, VISITOR, is_hub_address
from transflow_core.pictures import PictureReader
from transflow_core.priors.catalogue import load_prior, shipped_priors
from transflow_core.priors.prior import pick_device
from transflow_core.runtime.worker import Cancelled, ComputeWorker

from ..examples import example_sets
from .files import AGE, EVERY

# Addresses that are fetched at once: each may take all of the host's connection for minutes.
_FETCHING = 2
# So many priors stay in memory, by whether they are from Hub addresses. The least recently used of a kind goes first:
# no address removes an offered prior.
_MOST = {False: 3, True: 1}


class Engines:
    """Engines by the name or address of their prior.

    Args:
        folder: its `.safetensors` files are offered beside the shipped priors; None offers the shipped ones only.
        device: see `load_prior`.
        hub: which Hub addresses visitors may load: "off", "on", or patterns of owner/repo with commas between them,
            such as "me/glow, friends/*". By default the value of TRANSFLOW_HUB in the environment, or "off".
    """

    def __init__(self, folder: Path | None = None, device: str = "auto", hub: str | None = None) -> None:
        self._folder, self._device = folder, device
        hub = os.environ.get("TRANSFLOW_HUB", "") if hub is None else hub
        self._hub = {"": [], "off": [], "on": ["*"]}.get(hub.strip().lower(), [one.strip() for one in hub.split(",")])
        if wrong := [one for one in self._hub if "/" not in one and one != "*"]:
            raise SystemExit(f"error: TRANSFLOW_HUB has {wrong[0]!r}. Give off, on, or patterns such as me/*.")
        of = "" if self._hub == ["*"] else f" of {', '.join(self._hub)}"
        self._addresses = f", or hf://owner/repo/file{of}" if self._hub else ""
        self._fetching = threading.Semaphore(_FETCHING)
        # A GPU needs no such thread.
        self._compute: ComputeWorker | None = ComputeWorker.shared() if pick_device(device).type == "cpu" else None
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._loading: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()  # by name: one loads it
        self._lock = threading.Lock()  # held for a moment, never while a prior is loaded
        # Sets that some session has, by prior and key. All have the same one: with its posterior it takes 30 MB.
        self.examples: WeakValueDictionary[tuple[str, str], Evidence] = WeakValueDictionary()

    def names(self) -> list[str]:
        """The names in the model picker: shipped priors, then the folder's files."""
        return [*shipped_priors(), *self._files()]

    @property
    def about(self) -> str:
        """What a visitor may choose, in a sentence."""
        return "The model that your images steer" + (self._addresses and f": one of these{self._addresses}")

    def _allowed(self, address: str) -> bool:
        owner, _, rest = address.removeprefix("hf://").partition("/")
        return any(fnmatch.fnmatchcase(f"{owner}/{rest.partition('/')[0]}", pattern) for pattern in self._hub)

    def _files(self) -> dict[str, Path]:
        """By name: no visitor sees where they lie on the host's disk."""
        if self._folder is None or not self._folder.is_dir():
            return {}
        return {path.name: path for path in sorted(self._folder.iterdir()) if path.suffix == ".safetensors"}

    def get(self, name: str) -> Engine:
        """The engine of a prior. Raises what `load_prior` raises, and ValueError for a prior that is not offered.

        A request for a prior that is being loaded, or downloaded, waits for it; no other request does. A visitor may
        name a shipped prior, an offered file, or a Hub address that the host allows (`hub`), but no path of its disk.
        """
        if name not in self.names() and not (is_hub_address(name) and self._allowed(name)):
            offered = ", ".join(self.names()) + self._addresses
            raise ValueError(f"{reprlib.repr(name)} is not a model of this server. Choose {offered}.")
        with self._lock:
            loading = self._loading.setdefault(name, threading.Lock())
        with loading:
            engine = self._engines.get(name) or self._load(name)
            with self._lock:
                self._engines[name] = engine
                self._engines.move_to_end(name)
                kind = is_hub_address(name)
                same = [other for other in self._engines if is_hub_address(other) == kind]
                for least_recent in same[: -_MOST[kind]]:
                    del self._engines[least_recent]
        return engine

    def forget(self, seconds: float) -> None:
        """Drop what is kept in memory of images that were not used for so long."""
        with self._lock:
            engines = list(self._engines.values())
        for engine in engines:
            engine.forget(seconds)

    def keep_examples(self, name: str) -> None:
        """Invert the example sets of the row while no request waits, and again before they are dropped, until the
        process ends: so the first click on one is quick. The page opens with the first of them. The faces that the
        model draws by itself, which help a visitor's few photographs, are made then as well.

        On a GPU, which needs no such preparation, nothing happens.
        """
        with contextlib.suppress(Cancelled):  # the process ends
            while self._compute is not None:
                engine = self.get(name)
                for some in filter(lambda one: one.shown, example_sets().values()):
                    posterior = engine.read(some.files, align="never", priority="idle").posterior()
                    looks = engine.looks(posterior, priority="idle")
                    if looks.own is not None:
                        engine.call(looks.own, priority="idle")  # the prior keeps them
                time.sleep(max(EVERY, AGE / 2))

    def _load(self, name: str) -> Engine:
        from_hub = is_hub_address(name)
        if from_hub and not self._fetching.acquire(blocking=False):
            raise ValueError("The server is loading other models. Try again in a few minutes.")
        try:
            access = VISITOR if from_hub else OWNER
            prior = load_prior(self._files().get(name, name), device=self._device, access=access)
            return Engine(prior, compute=self._compute, pictures=PictureReader.shared())
        finally:
            if from_hub:
                self._fetching.release()
