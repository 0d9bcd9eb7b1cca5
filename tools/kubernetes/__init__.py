"""Provides a real Kubernetes node for end-to-end tests, built from published Go modules at pinned versions."""
