"""Following result columns to their source, and masking values."""
