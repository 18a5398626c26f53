"""Blind review by clinicians: study, store, pages, agreement, results."""
