"""MulMed: make, judge and serve a cross-lingual, multi-task medical language model."""

import os

__version__ = "0.1.0"

# Libraries tell their makers how they are used unless this is set before they are imported (https://donottrack.sh).
os.environ.setdefault("DO_NOT_TRACK", "1")
