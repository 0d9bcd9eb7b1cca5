"""Builds the gateway's image from the lock, and provides a real container engine for its tests."""
