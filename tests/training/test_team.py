"""Several processes train what one does: the batch is shared without loss, and the weights come out the same."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor

from mulmed.errors import MulmedError
from mulmed.prompts import Example
from mulmed.recipe import Lora, Step
from mulmed.training.checkpoint import FOLDER as CHECKPOINT
from mulmed.training.job import Job, read_job, write_job
from mulmed.training.launch import FOLDER
from mulmed.training.log import LOG
from mulmed.training.loop import OUTCOME, RUN, train
from mulmed.training.lora import CONFIG, WEIGHTS
from mulmed.training.prepare import prepare
from mulmed.training.seal import SEAL
from mulmed.training.team import Team, divide
from mulmed.training.worker import MESSAGES, messages, told_error, work
from tests.training import small
from tests.training.processes import start, train_by_two

SETTINGS = Step(
    parent="base",
    sources=("t",),
    epochs=2,
    batch=5,  # of six examples: a second step of one, in which a process has none
    learning_rate=1e-2,
    micro_batch_tokens=128,
    validate_every=2,
    lora=Lora(r=4, dropout=0),
)


def job_of(
    base: Path, examples: list[Example], out: Path, *, shard: bool = False, settings: Step = SETTINGS
) -> Job:
    return Job(base, examples, examples[:3], settings, out, 7, "tiny", None, shard)


@given(st.lists(st.integers(1, 300), max_size=20), st.integers(1, 5), st.booleans(), st.sampled_from([1, 2]))
def test_a_batch_is_shared_whole(lengths: list[int], size: int, shard: bool, together: int) -> None:
    parts = divide(lengths, size)
    assert sorted(i for part in parts for i in part) == list(range(len(lengths)))
    tokens = [sum(lengths[i] for i in part) for part in parts]
    assert max(tokens) - min(tokens) <= max(lengths, default=0)
    batch = [
        Example(tuple(range(n)), (False,) + (True,) * (n - 1), str(i), "qa", "en")
        for i, n in enumerate(lengths)
    ]
    together = 1 if shard else together
    shares = [Team(rank, size, shard=shard).share(batch, 400, together) for rank in range(size)]
    learned = sum(len(pack.targets) for share in shares for pack in share)
    assert learned == sum(e.targets for e in batch)
    if shard and size > 1:
        assert len({len(share) for share in shares}) == 1
    else:
        assert sum(len(pack.ids[0]) for share in shares for pack in share) == sum(lengths)


def test_a_job_comes_back_from_its_files(tmp_path: Path, examples: list[Example]) -> None:
    before = Job(tmp_path, examples, [], SETTINGS, tmp_path / "out", 3, "b", range(5, 9), True)
    write_job(tmp_path, before)
    assert read_job(tmp_path) == before


@pytest.mark.usefixtures("single_thread")
def test_the_base_is_cut_and_the_adapters_are_not(tiny: Path, examples: list[Example]) -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        team = Team(shard=True)
        model = prepare(tiny, examples[:2], SETTINGS, small.CPU, seed=1, new_tokens=None, team=team).model
        in_parts = {name for name, p in model.named_parameters() if isinstance(p, DTensor)}
        whole = dict(model.named_parameters()).keys() - in_parts
        assert "model.layers.1.mlp.up_proj.weight" in in_parts
        assert "model.layers.0.self_attn.q_proj.base.weight" in in_parts
        assert {name for name in whole if "lora" not in name} == {
            "model.embed_tokens.weight",
            "model.norm.weight",
        }
        assert sum("lora" in name for name in whole) == 2 * 2 * 3
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def alone(tiny: Path, examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    train(tiny, examples, examples[:3], SETTINGS, out, seed=7, base_name="tiny", progress=lambda *_: None)
    return out


@pytest.mark.parametrize(
    ("shard", "threads", "tokens"),
    [(False, 1, 128), (False, 2, 1024), (True, 1, 128)],
    ids=["whole base", "packs side by side", "base in parts"],
)
def test_two_processes_give_the_weights_of_one(
    tiny: Path, examples: list[Example], alone: Path, tmp_path: Path, shard: bool, threads: int, tokens: int
) -> None:
    settings = SETTINGS.model_copy(update={"micro_batch_tokens": tokens})
    train_by_two(job_of(tiny, examples, tmp_path, shard=shard, settings=settings), threads)
    ours, theirs = load_file(tmp_path / WEIGHTS), load_file(alone / WEIGHTS)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-3, atol=2e-5)
        assert tensor.abs().max() > 1e-4  # B began as zeros
    found, expected = small.rows(tmp_path), small.rows(alone)
    assert len(found) == len(expected) == 7  # four steps; validated before the first and after each second
    for row, other in zip(found, expected, strict=True):
        for key in {"loss", "grad_norm", "validation_loss", "target_tokens", "tokens", "step"} & other.keys():
            assert row[key] == pytest.approx(other[key], rel=1e-4)
    assert json.loads((tmp_path / RUN).read_text())["processes"] == 2
    assert {p.name for p in tmp_path.iterdir()} - {FOLDER} == {p.name for p in alone.iterdir()}


def test_a_team_killed_at_a_random_moment_ends_in_the_same_bytes(
    taught: Path, examples: list[Example], tmp_path: Path
) -> None:
    """Each process has its own dropout, so the order of both is tested as well."""
    settings = small.SETTINGS.model_copy(update={"checkpoint_every": 1})
    train_by_two(job_of(taught, examples, tmp_path / "whole", settings=settings))
    out = tmp_path / "parts"
    team = start(job_of(taught, examples, out, settings=settings))
    while not (out / CHECKPOINT / "last.safetensors").exists():
        time.sleep(0.001)
        assert all(p.is_alive() for p in team)
    time.sleep(random.uniform(0, 0.2))
    victim = random.choice(team)
    victim.kill()
    for process in team:  # who is left cannot go on, and must not hang
        process.join(timeout=60)
        assert process.exitcode not in (0, None)
    shutil.rmtree(out / FOLDER)
    train_by_two(job_of(taught, examples, out, settings=settings))
    assert json.loads((out / RUN).read_text())["resumed_at"] > 0
    for name in (WEIGHTS, CONFIG, LOG, OUTCOME, SEAL):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_mistake_is_told_whoever_finds_it(tiny: Path, examples: list[Example], tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"lora": Lora(targets=("nothing",))})
    write_job(tmp_path, job_of(tiny, examples, tmp_path / "out", settings=settings))
    assert told_error(tmp_path) is None
    with pytest.raises(MulmedError) as caught:
        work(tmp_path, 1, 2, 0)
    told = told_error(tmp_path)
    assert told is not None
    assert str(told) == str(caught.value)
    assert "no linear layer called 'nothing'" in told.what
    assert told.where == "lora.targets"
    assert [kind for kind, _ in messages(tmp_path)[0]] == ["error"]  # only the first tells the rest


def test_messages_are_read_while_they_are_written(tmp_path: Path) -> None:
    with (tmp_path / MESSAGES).open("w") as file:
        file.write('["tell", "a"]\n["progress", ["b", 1, 2]]\n["tell", "no')
        file.flush()
        said, end = messages(tmp_path)
        assert said == [("tell", "a"), ("progress", ["b", 1, 2])]
        assert messages(tmp_path, end) == ([], end)
        file.write('w"]\n')
        file.flush()
        assert messages(tmp_path, end)[0] == [("tell", "now")]
