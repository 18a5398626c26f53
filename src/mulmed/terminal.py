"""What the command line shows: progress of the stages, tables, messages."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from mulmed.errors import MulmedError

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def tell(line: str) -> None:
    """A line beside the results; what stands in brackets is no markup."""
    err.print(line, style="dim", soft_wrap=True, markup=False)


def print_path(label: str, path: Path) -> None:
    """Where something lies, whatever it is called."""
    out.print(f"{label}: [bold]{escape(str(path))}[/bold]", soft_wrap=True)


class Shower:
    """Progress of the stages: bars on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = err.is_terminal and not quiet
        self._bars: Bars | None = None
        self._task: Any = None
        self._title = ""
        self._started = self._told = 0.0

    def announce(self, stage: Any, status: Any) -> None:
        self._finish_stage()
        if status.state == "fresh":
            return
        self._title = stage.title
        self._started = self._told = time.monotonic()
        if self._quiet:
            return
        verb = "resuming" if status.state == "resumable" else "running"
        err.print(
            f"[bold]{stage.name}[/bold]: {stage.title} [dim]({verb}; {status.reason})[/dim]", soft_wrap=True
        )
        if self._live:
            self._bars = Bars(
                TextColumn("  {task.description}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=err,
                transient=True,
            )
            self._bars.start()
            self._task = self._bars.add_task("starting", total=None)

    def progress(self, stage: Any) -> Callable[[str, int, int], None]:
        def show(label: str, done: int, total: int) -> None:
            if self._bars is not None:
                self._bars.update(self._task, description=label, completed=done, total=total or None)
                return
            now = time.monotonic()
            if self._quiet or now - self._told < 10:
                return
            self._told = now
            left = (now - self._started) / done * (total - done) if done and total else None
            tail = f", about {left:.0f} s left" if left is not None else ""
            err.print(f"  {stage.name}: {done}/{total} {label}{tail}", soft_wrap=True)

        return show

    def _finish_stage(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
        if self._title and not self._quiet:
            err.print(f"  [green]done[/green] in {time.monotonic() - self._started:.1f} s")
        self._title = ""

    def close(self) -> None:
        if sys.exc_info()[0] is not None:
            self._title = ""
        self._finish_stage()


def print_plan(stages: Sequence[tuple[Any, Any]], steps: Sequence[Mapping[str, Any]]) -> None:
    """Stages with their status, and what the training steps will take, as :func:`mulmed.estimate.estimate` has it."""
    from rich.table import Table

    table = Table("stage", "what it does", "state", "why", box=None, pad_edge=False)
    colours = {"fresh": "green", "stale": "yellow", "resumable": "cyan"}
    for stage, status in stages:
        table.add_row(stage.name, stage.title, f"[{colours[status.state]}]{status.state}[/]", status.reason)
    out.print(table)
    columns = ("step", "examples", "tokens", "optimizer steps", "precision", "memory", "time")
    table = Table(*columns, box=None, pad_edge=False)
    for f in steps:
        table.add_row(
            f["step"],
            f"{f['examples']:,}",
            f"{f['tokens']:,}",
            f"{f['optimizer_steps']:,}",
            f["precision"] + (f", base {f['base_precision']}" if f["base_precision"] else ""),
            f"{f['memory_bytes'] / 2**30:.1f} GiB" + (" each" if f["processes"] > 1 else ""),
            "unknown" if f["seconds"] is None else _duration(f["seconds"]),
        )
    out.print()
    out.print(table)
    by = f", by {steps[0]['processes']} processes" if steps[0]["processes"] > 1 else ""
    out.print(f"[dim]Estimated {steps[0]['basis']}; on {steps[0]['device']}{by}.[/dim]")
    if any(f["seconds"] is None for f in steps):
        out.print("[dim]Time unknown: nothing of this run has been trained that way yet.[/dim]")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def print_scores(scores: Mapping[str, Any]) -> None:
    """Every model's scores over all tasks."""
    from rich.table import Column, Table

    shown = ("f1", "rouge1", "rouge2", "rougeL", "distinct1", "distinct2")
    table = Table(
        "language",
        Column("model", no_wrap=True),
        "n",
        *shown,
        title="All tasks, 95% intervals in the report",
        box=None,
        padding=(0, 0, 0, 1),  # six measures and a long name fit into 80 columns
    )
    cells = {(r["language"], r["model"], r["metric"]): r for r in scores["rows"] if r["task"] == "all"}
    for language, model in dict.fromkeys(key[:2] for key in cells):
        row = [cells.get((language, model, metric)) for metric in shown]
        values = [f"{r['value']:.3f}" if r else "–" for r in row]
        table.add_row(language, model, str(cells[language, model, shown[0]]["n"]), *values)
    out.print(table)


def print_engines(compared: Mapping[str, Mapping[str, Any]]) -> None:
    """Engines other than the reference, and how far they agree with it."""
    from mulmed.report.engines import agreement_sentence

    for model, found in compared.items():
        out.print(
            f"[dim]{model} by {found['engine']}, against transformers: {agreement_sentence(found)}[/dim]"
        )


def print_funnel(funnel: Mapping[str, Any]) -> None:
    """What each stage of cleaning changed and dropped."""
    from rich.table import Table

    table = Table("stage", "in", "out", "changed", "dropped", "rules", box=None, title="Cleaning")
    for s in funnel["stages"]:
        rules = ", ".join(f"{k} {v}" for k, v in sorted(s["rules"].items(), key=lambda kv: -kv[1]))
        table.add_row(s["stage"], *(f"{s[k]:,}" for k in ("in", "out", "changed", "dropped")), rules)
    out.print(table)
    for code, gaps in funnel.get("languages", {}).items():
        out.print(f"[bold]What {code} does not get:[/] " + escape(" ".join(gaps)))


def print_table1(rows: Sequence[Mapping[str, Any]]) -> None:
    """The paper's Table 1."""
    from rich.table import Table

    columns = ("size", "abstract", "summary", "question", "answer", "turns")
    table = Table("source", "task", "language", *columns, box=None, title="Table 1")
    for r in rows:
        table.add_row(
            r["source"],
            r["task"],
            r["language"],
            *("–" if r[c] is None else f"{r[c]:,}" if c == "size" else f"{r[c]:.1f}" for c in columns),
        )
    out.print(table)


def print_error(error: MulmedError) -> None:
    """What is wrong, where, and what to do about it."""
    err.print(f"[bold red]error:[/] {escape(error.what)}", soft_wrap=True)
    if error.where:
        err.print(f"  where: {escape(error.where)}", soft_wrap=True)
    if error.remedy:
        err.print(f"  remedy: {escape(error.remedy)}", soft_wrap=True)
