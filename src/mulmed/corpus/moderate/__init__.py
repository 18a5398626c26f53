"""Insulting, degrading, pornographic and selling text kept out; clinical words never; people in danger tagged."""

from mulmed.corpus.moderate.groups import Removal, group_terms, removal, removals
from mulmed.corpus.moderate.judge import Verdict, judge_text
from mulmed.corpus.moderate.records import moderate_record, moderate_records
from mulmed.corpus.moderate.selling import without_selling

__all__ = [
    "Removal",
    "Verdict",
    "group_terms",
    "judge_text",
    "moderate_record",
    "moderate_records",
    "removal",
    "removals",
    "without_selling",
]
