"""The one path of an operation, shared by all protocols: decide, mask, record."""
