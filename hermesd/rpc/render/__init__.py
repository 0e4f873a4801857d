"""Texts for terminals: each kind of result in its own module, from plain values to lines that fit the page."""
