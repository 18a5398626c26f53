"""One text of notice, answer, label and disclaimer, for clients that know only one text."""

from __future__ import annotations

from mulmed.safety import label
from mulmed.serving.exchange import Exchange

#: Before the notice, and before the label below the answer: so they are told from the model's own words.
_NOTICE, _LABEL = "⚠ ", "— "


def framed(exchange: Exchange, text: str) -> str:
    """An answer as clients show it that know only one text: the notice above it, label and disclaimer below."""
    if not exchange.label:  # in evaluation
        return text
    before = f"{_NOTICE}{exchange.notice}\n\n" if exchange.notice else ""
    stop = "。" if exchange.language == "zh" else ". "
    return f"{before}{text}\n\n{_LABEL}{exchange.label}{stop}{exchange.disclaimer}"


def unframed(text: str) -> str:
    """An earlier answer as the model wrote it: what :func:`framed` put around it is not sent to the model again."""
    if text.startswith(_NOTICE):
        text = text.partition("\n\n")[2]
    answer, _, last = text.rpartition("\n\n")
    labels = tuple(f"{_LABEL}{label(language)}" for language in ("en", "zh"))
    return answer if last.startswith(labels) else text
