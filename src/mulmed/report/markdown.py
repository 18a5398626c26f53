"""The report's tables as Markdown, for a document that stands beside the code."""

from __future__ import annotations

from collections.abc import Sequence

from mulmed.report.headline import Comparison, findings, lead
from mulmed.report.score_tables import difference_table, main_table
from mulmed.report.scores import Scores
from mulmed.report.tables import Cell, Group, Table


def to_markdown(table: Table) -> str:
    """The table in GitHub's Markdown, its caption above; groups fill a first column of their own, notes stand in brackets."""
    grouped = any(group.title for group in table.groups)
    columns = (*([""] if grouped else []), *table.columns)
    words = table.text_columns + grouped
    lines = [
        _row(columns),
        "|" + "|".join("---" if i < words else "---:" for i in range(len(columns))) + "|",
        *(
            _row((*([group.title] if grouped else []), *map(_text, row)))
            for group in table.groups
            for row in group.rows
        ),
    ]
    return f"{table.caption}\n\n" + "\n".join(lines) + "\n"


def results_document(name: str, pair: Comparison, scores: Scores, training: Sequence[Table]) -> str:
    """What a run came to: the findings in words, scores, the main model's differences from every other, losses.

    Args:
        name: the recipe's.
        pair: the main model, and what the findings hold it against.
        scores: of every model.
        training: tables of the training steps.
    """
    differences = difference_table(scores)
    ours = [
        Group(group.title, tuple(row for row in group.rows if pair.model in row[0].text.split(" minus ")))
        for group in differences.groups
    ]
    against = Table(differences.caption, differences.columns, tuple(ours))
    parts = [
        f"# {name}",
        f"**{lead(pair, scores)}**",
        *findings(pair, scores),
        to_markdown(main_table(scores)),
        *([to_markdown(against)] if any(group.rows for group in ours) else []),
        *map(to_markdown, training),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _text(cell: Cell) -> str:
    return f"{cell.text} ({'; '.join(cell.notes)})" if cell.notes else cell.text
