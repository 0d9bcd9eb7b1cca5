"""Entra identities as Pulumi components."""
