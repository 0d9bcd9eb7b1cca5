"""Codecs: bytes in, events out; no I/O, no deciding."""
