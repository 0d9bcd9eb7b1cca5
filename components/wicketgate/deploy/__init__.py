"""Deployments: one description, rendered for each kind of place."""
