"""Listeners: the only sockets of the gateway."""
