"""The second reader of red flags, where this machine has the base it reads with."""

from __future__ import annotations

from collections.abc import Callable

from mulmed.base.embedded import EMBEDDED, convert_embedded, identity
from mulmed.errors import MulmedError
from mulmed.recipe.serving import ReaderChoice
from mulmed.safety.redflags import SecondReader

#: Whose first layers read.
BASE = EMBEDDED["gemma3-270m"]


def open_reader(choice: ReaderChoice, tell: Callable[[str], None]) -> SecondReader | None:
    """The reader as the settings want it; None: rules and classifier stand alone, which is told.

    Raises:
        MulmedError: it is required, and the base's packages are not installed.
    """
    if choice == "never":
        return None
    try:
        folder = convert_embedded(BASE, tell).path
    except MulmedError as error:
        if choice == "always":
            raise
        tell(
            f"Red flags are looked for without the second reader, which finds more of them: {error.what} {error.remedy}"
        )
        return None
    from mulmed.safety.reader import Reader

    return Reader(folder, identity(BASE))
