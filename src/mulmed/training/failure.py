"""What is left of a run whose loss or gradient is no number any more: a checkpoint, and on what it broke."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mulmed.artifact import write_json
from mulmed.errors import MulmedError
from mulmed.prompts import Example
from mulmed.training.checkpoint import FOLDER, State, save_checkpoint

FAILURE = "failure.json"
_SHOWN = 8


def not_finite(
    what: str, step: int, steps: int, batch: Sequence[Example], out: Path, state: State
) -> MulmedError:
    """Save what can be saved, and say what happened.

    The records of the batch are named in ``checkpoint/failure.json``. ``state`` becomes the checkpoint,
    unless it holds numbers that are not finite either: then the last one stays.

    Args:
        what: loss, gradient or validation loss.
        step: the optimizer step (from 1) in which it was found; 0 before the first.
        steps: optimizer steps of the whole run.
        batch: the examples of that step.
        out: the run's folder.
        state: of the run, without that step's update unless validation came after it.
    """
    (out / FOLDER).mkdir(exist_ok=True)
    ids = [e.record_id for e in batch]
    write_json(out / FOLDER / FAILURE, {"what": what, "step": step, "records": ids})
    kept = "The last checkpoint, if there was one, is kept."
    if state.step and state.is_finite():
        save_checkpoint(out, state)
        kept = f"A checkpoint after step {state.step} is kept."
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return MulmedError(
        f"The {what} is no longer finite at optimizer step {step} of {steps}."
        + (f" Its batch holds the records {', '.join(ids[:_SHOWN])}{more}." if ids else ""),
        where=str(out / FOLDER / FAILURE),
        remedy=f"Look at these records; lower learning_rate, or set precision: float32. {kept}",
    )
