"""The preview: examples in colours, what was shortened, target-token shares."""

from __future__ import annotations

from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mulmed.prompts.inspect import spans, target_shares
from mulmed.stages import Run


def show_preview(work: Run, step: str, count: int, out: Console, *, as_json: bool) -> None:
    """Print ``count`` training examples a task and language, and the step's token accounting."""
    examples = work.examples(step, "train")
    shares = target_shares(examples)
    sources = work.recipe.steps[step].sources
    audit = pl.read_parquet(work.pipeline.folder("corpus") / "audit.parquet")
    shortened = dict(
        audit.filter((pl.col("stage") == "truncate") & pl.col("source").is_in(list(sources)))
        .group_by("rule")
        .agg(pl.col("id").n_unique())
        .sort("rule")
        .iter_rows()
    )
    chosen: list[Any] = []
    for share in shares:
        group = [e for e in examples if (e.task, e.language) == (share.task, share.language)]
        chosen += group[:count]
    if as_json:
        import orjson

        rows = {
            "step": step,
            "shares": [
                {
                    "task": s.task, "language": s.language, "examples": s.examples, "tokens": s.tokens,
                    "targets": s.targets, "target_share": round(s.target_share, 4), "longest": s.longest,
                }
                for s in shares
            ],
            "shortened": shortened,
            "examples": [
                {
                    "id": e.record_id,
                    "spans": [{"text": t, "learned": m} for t, m in spans(work.renderer, e)],
                }
                for e in chosen
            ],
        }  # fmt: skip
        out.file.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    for e in chosen:
        out.rule(f"{e.record_id}  {e.task}, {e.language}  {len(e.ids)} tokens, {e.targets} learned")
        text = Text()
        for piece, learned in spans(work.renderer, e):
            # Brackets as well as colour, so that it reads without colour and in a file.
            text.append(f"⟦{piece}⟧" if learned else piece, style="bold green" if learned else "dim")
        out.print(text)
    out.print("\n⟦…⟧ is learned, the rest is given.\n" if chosen else "")
    table = Table("task", "language", "examples", "tokens", "learned", "share", "longest", box=None)
    for s in shares:
        table.add_row(
            s.task, s.language, f"{s.examples:,}", f"{s.tokens:,}", f"{s.targets:,}",
            f"{s.target_share:.1%}", str(s.longest),
        )  # fmt: skip
    out.print(table)
    lines = ", ".join(f"{rule}: {n} records" for rule, n in shortened.items()) or "nothing"
    out.print(f"Shortened to the cutoff of {work.recipe.cutoff} tokens: {lines}.")
