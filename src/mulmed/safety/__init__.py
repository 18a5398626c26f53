"""What stands around the model, never inside it: pure functions, the same whatever the model says.

Before: :func:`red_flags` in what the user writes.
"""

from mulmed.safety.redflags import RedFlag, red_flags

__all__ = ["RedFlag", "red_flags"]
