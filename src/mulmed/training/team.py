"""The processes that take one optimizer step together: who works on what, and how they agree.

Each has the adapters and their optimizer whole, and adds up its own examples' part of the gradient; the parts are
summed before the update, so that all of them make the same one. (That is data parallelism as DDP has it, but for one
message a step: adapters are small, and gradients are also made by threads that DDP's hooks do not see.) The frozen base is
whole in each, too, or cut into parts among them (FSDP2) where it does not fit: then a block's weights are put together
just for its turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from mulmed.prompts import Example
from mulmed.training.packing import Pack, make_pack, pack_lengths, packs_of


@dataclass(frozen=True, slots=True)
class Team:
    """One process's place in a team; the process group is made by whoever starts it.

    Attributes:
        rank: this process's number, from 0.
        size: how many there are.
        gpu: number of this process's GPU on its machine.
        shard: whether the base is cut into parts among them.
    """

    rank: int = 0
    size: int = 1
    gpu: int = 0
    shard: bool = False

    def share(self, examples: Sequence[Example], capacity: int, side_by_side: int = 1) -> list[Pack]:
        """This process's part of a batch as packs; all processes' parts together are the batch.

        With a base in parts each process gets as many packs, for all must take part in putting a block together:
        a pack of one token from which nothing is learned fills up.

        Args:
            examples: the whole batch, the same in every process.
            capacity: tokens that a process computes at a time.
            side_by_side: packs that share these tokens.
        """
        if self.size == 1:
            return packs_of(examples, capacity, side_by_side)
        parts = divide([len(e.ids) for e in examples], self.size)
        packs = packs_of([examples[i] for i in parts[self.rank]], capacity, side_by_side)
        if self.shard:
            most = max(len(pack_lengths([len(examples[i].ids) for i in part], capacity)) for part in parts)
            packs += [make_pack([[0]], [[False]])] * (most - len(packs))
        return packs

    def total(self, part: torch.Tensor) -> torch.Tensor:
        """The sum of all processes' parts, the same in each."""
        if self.size > 1:
            dist.all_reduce(part)
        return part

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by the sum over all processes, in one message."""
        if self.size == 1:
            return
        parameters = list(parameters)
        for p in parameters:
            if p.grad is None:  # this process had no example
                p.grad = torch.zeros_like(p)
        flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
        dist.all_reduce(flat)
        for p, part in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
            p.grad = part.view_as(p)

    def spread(self, model: Any, device: torch.device) -> None:
        """Cut the frozen weights of the model's blocks into parts, one a process, on the device.

        Embedding, head and adapters stay whole in each: they are small, and the loss reads the head directly.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
        from torch.distributed.tensor import DTensor

        mesh = init_device_mesh(device.type, (self.size,))
        body = model.base_model
        learned = {p for p in model.parameters() if p.requires_grad}
        for block in body.layers:
            fully_shard(block, mesh=mesh, ignored_params=learned)
        outside = {p for p in body.parameters() if not isinstance(p, DTensor)}
        fully_shard(body, mesh=mesh, ignored_params=outside)
        for parameter in (*model.parameters(), *model.buffers()):
            if parameter.device != device:
                parameter.data = parameter.data.to(device)


#: A process by itself.
ALONE = Team()


def divide(lengths: Sequence[int], parts: int) -> list[list[int]]:
    """Indices in so many parts of about as many tokens each: the longest first, each to the part with the fewest.

    The same in every process that asks.
    """
    found: list[list[int]] = [[] for _ in range(parts)]
    tokens = [0] * parts
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        least = tokens.index(min(tokens))
        found[least].append(i)
        tokens[least] += lengths[i]
    return [sorted(part) for part in found]
