"""The journal (no record, no execution) and the recordings of sessions."""
