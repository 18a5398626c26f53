"""MulMed: make, judge and serve a cross-lingual, multi-task medical language model."""

__version__ = "0.1.0"
