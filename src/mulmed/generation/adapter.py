"""LoRA adapters of others, in peft's layout: only those that can be put on exactly."""

from __future__ import annotations

import json
from pathlib import Path

from mulmed.errors import MulmedError

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
#: Settings of peft under which an adapter computes something other than ``W x + alpha / r * B A x``.
_OTHER = (
    "use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform",
    "fan_in_fan_out", "trainable_token_indices", "megatron_config",
)  # fmt: skip


def check_adapter(folder: Path, key: str) -> tuple[Path, Path]:
    """The files of an adapter.

    Raises:
        MulmedError: a file is missing, the weights are pickled, or the adapter is of another kind than plain LoRA.
    """
    config, weights = folder / CONFIG, folder / WEIGHTS
    if (folder / "adapter_model.bin").exists() and not weights.exists():
        raise MulmedError(
            "The adapter's weights are pickled (adapter_model.bin); pickles can run code when they are read, and are refused.",
            where=f"{key}: {folder}",
            remedy="Convert them to adapter_model.safetensors on a machine you can afford to lose.",
        )
    for file in (config, weights):
        if not file.is_file():
            raise MulmedError(
                f"The adapter's folder lacks {file.name}.",
                where=f"{key}: {folder}",
                remedy="Name the folder that peft saved.",
            )
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
        odd = [name for name in _OTHER if settings.get(name)]
        if settings["peft_type"] != "LORA" or settings.get("bias", "none") != "none":
            odd.append("peft_type" if settings["peft_type"] != "LORA" else "bias")
        if not isinstance(settings["target_modules"], list):
            odd.append("target_modules")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MulmedError(
            f"The adapter's settings are broken: {error!r}.",
            where=str(config),
            remedy="Fetch the file again.",
        ) from error
    if odd:
        raise MulmedError(
            f"The adapter is no plain LoRA ({', '.join(odd)}), and would compute something else here.",
            where=str(config),
            remedy="Merge it into its base with peft, and name the merged folder as `model`.",
        )
    return config, weights
