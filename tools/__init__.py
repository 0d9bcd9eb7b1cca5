"""Tooling of the repository; nothing of it ships."""
