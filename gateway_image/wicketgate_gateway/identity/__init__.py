"""Verifying Entra tokens and resolving groups."""
