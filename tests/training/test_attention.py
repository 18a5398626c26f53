"""Every way to attend inside examples, compiled or not: the loss and gradients of the plain one."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig

from mulmed.training.attention import Backend, attention_arguments, gpu_backend, use_packed_attention
from mulmed.training.lora import trainable
from mulmed.training.model import compile_blocks, gpu_precision, why_not_compiled
from mulmed.training.packing import Pack, make_pack, padded
from mulmed.training.step import accumulate
from tests.training.small import adapted

pytestmark = pytest.mark.usefixtures("single_thread")
SHAPE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
}
CONFIGS = {
    "llama": LlamaConfig(**SHAPE),
    "gemma": Gemma3TextConfig(
        **SHAPE,
        sliding_window=5,
        layer_types=["sliding_attention", "full_attention"],
        query_pre_attn_scalar=16,
    ),
}


def draw_pack(seed: int, lengths: tuple[int, ...]) -> Pack:
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(1, 97, (n,), generator=generator).tolist() for n in lengths]
    return make_pack(ids, [[i > n // 2 for i in range(n)] for n in lengths])


PACKS = [draw_pack(1, (9, 14, 3)), draw_pack(2, (20, 6)), draw_pack(3, (17,)), draw_pack(4, (4, 5, 6, 7))]
TARGETS = sum(len(p.targets) for p in PACKS)


def build(kind: str, backend: Backend, dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[kind], dtype=dtype)
    use_packed_attention(model, backend)
    adapted(model)
    return model.to(dtype) if dtype == torch.float64 else model


def loss_and_gradient(model: Any, packs: list[Pack]) -> tuple[float, torch.Tensor]:
    loss = accumulate(model, packs, TARGETS).item()
    return loss, torch.cat([p.grad.flatten() for p in trainable(model).values() if p.grad is not None])


def flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """What torch says of ``varlen_attn``, which runs on a GPU only: tensors (T, heads, size), offsets int32."""
    assert cu_seq_q.dtype == torch.int32
    assert torch.equal(cu_seq_q, cu_seq_k)
    ends = cu_seq_q.tolist()
    assert ends[0] == 0
    assert ends[-1] == query.shape[0]
    assert max(b - a for a, b in itertools.pairwise(ends)) <= max_q == max_k
    left, right = window_size
    assert right == 0
    assert enable_gqa == (query.shape[1] != key.shape[1])
    out = torch.empty_like(query)
    for a, b in itertools.pairwise(ends):
        if a == b:
            continue
        q, k, v = (x[a:b].transpose(0, 1) for x in (query, key, value))
        k, v = (x.repeat_interleave(q.shape[0] // k.shape[0], 0) for x in (k, v))
        distance = torch.arange(b - a)[:, None] - torch.arange(b - a)[None, :]
        hidden = (distance < 0) if left < 0 else (distance < 0) | (distance > left)
        scores = (q @ k.transpose(1, 2)) * (q.shape[-1] ** -0.5 if scale is None else scale)
        out[a:b] = (scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v).transpose(0, 1)
    return out


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU's attentions on a CPU: flex in its unfused form, which torch keeps from training, and flash as it is documented."""
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *_: None)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", flash)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("kind", ["llama", "gemma"])
@pytest.mark.parametrize("backend", ["varlen", "flex"])
def test_every_backend_computes_the_same(kind: str, backend: Backend) -> None:
    expected, expected_gradient = loss_and_gradient(build(kind, "sdpa"), PACKS)
    loss, gradient = loss_and_gradient(build(kind, backend), PACKS)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert expected_gradient.abs().mean() > 1e-4
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-13)


@pytest.mark.usefixtures("here")
def test_compiled_blocks_compute_the_same() -> None:
    """And are compiled for a few shapes, not anew for every pack and block."""
    torch.compiler.reset()
    counters.clear()
    expected, expected_gradient = loss_and_gradient(build("llama", "sdpa"), PACKS[:2])
    model = build("llama", "flex")
    compile_blocks(model, backend="aot_eager")
    loss, gradient = loss_and_gradient(model, PACKS[:2])
    assert loss == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-13)
    # Of one length, then of any; the first block, whose input nobody derives by, apart from the others.
    assert 1 <= counters["stats"]["unique_graphs"] <= 4
    assert not counters["graph_break"]


@pytest.mark.parametrize("kind", ["llama", "gemma"])
def test_padding_a_pack_changes_nothing(kind: str) -> None:
    more = [padded(pack, 32) for pack in PACKS]
    assert [sum(p.lengths) for p in more] == [32, 32, 32, 32]
    assert all(p.ids.shape == p.positions.shape == (1, 32) for p in more)
    assert padded(more[0], 16) is more[0]
    expected, expected_gradient = loss_and_gradient(build(kind, "sdpa"), PACKS)
    loss, gradient = loss_and_gradient(build(kind, "sdpa"), more)
    assert loss == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-13)


def test_half_precision_keeps_small_gradients() -> None:
    """Divided by a million target tokens, float16 would hold nothing but zeros; the scale lifts them."""
    model = build("llama", "sdpa", torch.float16)
    wide = build("llama", "sdpa", torch.float32)
    wide.load_state_dict(model.state_dict())
    gradients = []
    for m in (model, wide):
        accumulate(m, PACKS, 10**6, scale=2.0**16)
        gradients.append(torch.cat([p.grad.flatten() for p in trainable(m).values() if p.grad is not None]))
    narrow, exact = gradients
    assert narrow.dtype == torch.float32
    assert 0 < exact.abs().max() < torch.finfo(torch.float16).tiny
    assert (narrow - exact).norm() < 0.05 * exact.norm()


def test_offsets_are_padded_by_empty_examples() -> None:
    model = build("llama", "varlen")
    arguments = attention_arguments(model, PACKS[0])
    assert arguments["offsets"].tolist() == [0, 9, 23] + [26] * 61
    assert arguments["longest"] == 16
    assert attention_arguments(build("llama", "sdpa"), PACKS[0]) == {"lengths": (9, 14, 3)}


@pytest.mark.parametrize(
    ("asked", "capability", "dtype"),
    [
        ("auto", (9, 0), torch.bfloat16),  # H200
        ("auto", (8, 6), torch.bfloat16),  # RTX 3090
        ("auto", (7, 5), torch.float16),  # T4
        ("auto", (6, 1), torch.float32),  # GTX 1080: float16 runs at a 64th of float32's speed
        ("float32", (9, 0), torch.float32),
        ("bfloat16", (7, 5), torch.bfloat16),
        ("float16", (9, 0), torch.float16),
    ],
)
def test_precision_by_hardware(asked: str, capability: tuple[int, int], dtype: torch.dtype) -> None:
    chosen, reason = gpu_precision(asked, capability)
    assert chosen == dtype
    assert (reason == "the recipe asks for it") == (asked != "auto")


@pytest.mark.parametrize(
    ("capability", "dtype", "compiles", "varlen", "backend"),
    [
        ((9, 0), torch.bfloat16, True, True, "varlen"),
        ((8, 6), torch.float16, False, True, "varlen"),  # needs no compiler
        ((9, 0), torch.float32, True, True, "flex"),
        ((8, 0), torch.bfloat16, True, False, "flex"),  # an older torch
        ((9, 0), torch.float32, False, True, "sdpa"),
        ((7, 5), torch.float16, True, True, "sdpa"),
    ],
)
def test_attention_by_hardware(
    capability: tuple[int, int], dtype: torch.dtype, compiles: bool, varlen: bool, backend: Backend
) -> None:
    assert gpu_backend(capability, dtype, compiles=compiles, varlen=varlen) == backend


def test_a_cpu_compiles_nothing() -> None:
    assert why_not_compiled(torch.device("cpu")) == "it gains nothing on a CPU"
