"""HTML in running text: entities and tags, with the line breaks that block tags stand for."""

from __future__ import annotations

import html
import re

from mulmed.corpus.edits import Draft, Edit

_ENTITY = re.compile(r"&(?:#\d{2,7}|#[xX][0-9a-fA-F]{2,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_ATTRIBUTES = r"(?:\s+[A-Za-z:-]+(?:\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+)))*\s*/?"
_BLOCK = "p|div|li|tr|h[1-6]|table|ul|ol|blockquote|pre|section|article|body|html|head|header|footer|title"
_INLINE = "span|em|strong|font|center|small|big|img|hr|td|th|tbody|thead|code|iframe|input|button|link|meta"
_HIDDEN = re.compile(r"<!--.*?-->|<(script|style)\b[^<>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BREAK_TAG = re.compile(rf"</?(?:br|{_BLOCK}){_ATTRIBUTES}>", re.IGNORECASE)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE}){_ATTRIBUTES}>", re.IGNORECASE)
# One letter between angle brackets may be a comparison; with its closing tag it is markup.
_SHORT_TAG = re.compile(rf"<(a|b|i|s|u|q){_ATTRIBUTES}>(?=[^<>]*(</\1\s*>))", re.IGNORECASE)
# 10<sup>9</sup> must not become 109.
_POWER = re.compile(r"(?<=[\w)])<sup>\s*([+\-−]?\d+)\s*</sup>", re.IGNORECASE)
_SCRIPT_TAG = re.compile(r"</?su[bp]\s*>", re.IGNORECASE)


def without_entities(draft: Draft) -> None:
    """Character references become their characters."""
    if "&" in draft.text:
        draft.sub(_ENTITY, lambda m: html.unescape(m[0]), "entity")


def without_tags(draft: Draft) -> None:
    """Tags, comments, scripts and style sheets go; ``p < 0.05 and n > 3`` is no tag."""
    if "<" not in draft.text or ">" not in draft.text:
        return
    draft.sub(_HIDDEN, "", "tag")
    draft.sub(_POWER, lambda m: f"^{m[1]}", "tag")
    draft.sub(_SCRIPT_TAG, "", "tag")
    draft.sub(_INLINE_TAG, "", "tag")
    draft.sub(_BREAK_TAG, "\n", "tag")
    while draft.change(
        Edit(*span, "", "tag") for m in _SHORT_TAG.finditer(draft.text) for span in (m.span(), m.span(2))
    ):
        pass  # a pair may have stood inside another
