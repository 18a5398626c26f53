"""Talking with a served model: the page in a browser, the same in a terminal, and the counts of both."""
