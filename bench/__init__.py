"""Measurements of the data path, paired against direct and PgBouncer in one run."""
