"""One process or many: what `torchrun` started, and what its processes must agree on."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ..priors.prior import pick_device

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of a run: this one's number, of how many, and where it computes. Number 0 measures and writes."""

    rank: int
    count: int
    device: torch.device

    @classmethod
    @contextmanager
    def joined(cls, device: str | torch.device = "auto") -> "Iterator[Processes]":
        """The group that `torchrun` announces in the environment, or this process alone, on the devices of a kind."""
        device = pick_device(device)
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            yield cls(0, 1, device)
            return
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield cls(dist.get_rank(), dist.get_world_size(), device)
            dist.barrier()  # who leaves while others compute can abort them
        finally:
            dist.destroy_process_group()
            # What still refers to the group goes now: gloo's threads abort a process that is ending
            # (https://github.com/pytorch/pytorch/pull/179291).
            gc.collect()

    def first_then_all(self, job: Callable[[], T]) -> T:
        """The job's result in every process: the first does it alone, the others find on the disk what it left."""
        found = None if self.rank else job()
        if self.count > 1:
            dist.barrier()
        return job() if found is None else found

    def of_the_first(self, *numbers: float) -> list[float]:
        """The first process's numbers, in every process."""
        if self.count == 1:
            return list(numbers)
        row = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.broadcast(row, 0)
        return row.tolist()

    def mine(self, x: Tensor) -> Tensor:
        """This process's part of a batch, on its device: (size, …) -> (size / count, …)."""
        return x.chunk(self.count)[self.rank].to(self.device)
