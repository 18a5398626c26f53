"""The one exception a user sees: what happened, where, and how to mend it."""

from __future__ import annotations


class MulmedError(Exception):
    """Something the user can mend.

    Args:
        what: what is wrong, in one sentence.
        where: the file, record or recipe key it concerns (never the text of a record).
        remedy: what to do about it.

    The command line prints the three parts and exits with code 2.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"where: {self.where}")
        if self.remedy:
            parts.append(f"remedy: {self.remedy}")
        return "\n  ".join(parts)
