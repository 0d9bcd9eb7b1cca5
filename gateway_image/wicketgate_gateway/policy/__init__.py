"""Compiling policies and deciding operations: the only place where a verdict is made."""
