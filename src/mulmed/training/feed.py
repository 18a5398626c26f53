"""Packs on their way to the device: the next one is copied while the model works on this one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from mulmed.training.packing import Pack, padded

#: Rows of a pack on a GPU are a multiple of this: whole tiles of a matrix product.
TILE = 128


def feed(packs: Iterable[Pack], device: torch.device) -> Iterator[Pack]:
    """The packs, in order, on the device; on a CPU as they are.

    On a GPU they are padded to whole tiles, and copied from pinned memory on a stream of their own, one ahead of
    the one in use. Nobody waits for a copy but the device itself.
    """
    if device.type != "cuda":
        yield from packs
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    ahead: Pack | None = None
    for pack in packs:
        with torch.cuda.stream(stream):
            following = _on_device(padded(pack, TILE), device)
        if ahead is not None:
            yield _ready(ahead, stream)
        ahead = following
    if ahead is not None:
        yield _ready(ahead, stream)


def _on_device(pack: Pack, device: torch.device) -> Pack:
    tensors = {
        name: getattr(pack, name).pin_memory().to(device, non_blocking=True)
        for name in ("ids", "positions", "sources", "targets")
    }
    return replace(pack, **tensors)


def _ready(pack: Pack, stream: torch.cuda.Stream) -> Pack:
    current = torch.cuda.current_stream(stream.device)
    current.wait_stream(stream)
    for tensor in (pack.ids, pack.positions, pack.sources, pack.targets):
        tensor.record_stream(current)
    return pack
