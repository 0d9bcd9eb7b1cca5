"""Policies as Pulumi components."""
