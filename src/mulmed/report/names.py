"""How the report writes names, numbers and times."""

from __future__ import annotations

from collections.abc import Sequence

from mulmed.recipe.language import added

LANGUAGES = {"en": "English", "zh": "Chinese"}
LABELS = {"en": "English", "zh": "Chinese 中文"}  # in figures, where a reader of Chinese looks first
TASKS = {
    "all": "all tasks",
    "instruction": "instructions",
    "summary": "lay summaries",
    "qa": "question answering",
    "dialogue": "doctor-patient dialogue",
}
STAGES = {
    "read": "Read",
    "repair": "Repair encoding and markup",
    "deidentify": "Replace identities",
    "moderate": "Remove offensive, biased, spam",
    "truncate": "Shorten long texts",
    "deduplicate": "Remove duplicates",
    "decontaminate": "Remove overlap with tests",
}
#: The corpus stage's rule for records that a source's ``limit`` left out: no loss to the cleaning.
OVER_LIMIT = "over the limit"
MINUS = "\N{MINUS SIGN}"


def language(code: str) -> str:
    """English name of a language, or its code where the report knows none."""
    own = added().get(code)
    return own.name if own else LANGUAGES.get(code, code)


def label(code: str) -> str:
    """A language's name in English and in itself, for figures."""
    own = added().get(code)
    return f"{own.name} {own.own_name}" if own else LABELS.get(code, code)


def task(key: str) -> str:
    """A task in plain words."""
    return TASKS.get(key, key)


def stage(key: str) -> str:
    """A cleaning stage in plain words."""
    return STAGES.get(key, key)


def count(value: int) -> str:
    """``12345`` as ``12,345``."""
    return f"{value:,}"


def decimal(value: float, digits: int = 3) -> str:
    """A fixed number of decimals with a true minus sign; never a negative zero."""
    text = f"{value:.{digits}f}"
    return f"{MINUS}{text[1:]}" if text.startswith("-") and float(text) != 0 else text.lstrip("-")


def percent(value: float) -> str:
    """``0.0123`` as ``1.2%``."""
    return f"{value:.1%}"


def signed(value: float, digits: int = 3) -> str:
    """Like :func:`decimal`, with a plus sign before positive numbers."""
    text = decimal(value, digits)
    return text if text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def p_value(value: float) -> str:
    """``0.021``, or ``below 0.001``."""
    return "below 0.001" if value < 0.001 else decimal(value)


def parameters(value: int) -> str:
    """``134515008`` as ``135 million``, ``6738415616`` as ``6.7 billion``."""
    return f"{value / 1e9:.1f} billion" if value >= 1e9 else f"{value / 1e6:.0f} million"


def duration(seconds: float) -> str:
    """Seconds as ``7 h 23 min``, ``4 min 5 s`` or ``3.2 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def joined(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))
