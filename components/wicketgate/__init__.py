"""Pulumi components that give bots their identity, their policies and their gateway."""
