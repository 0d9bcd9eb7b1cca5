"""The documents that the toolkit renders and the gateway reads: the only thing both halves share."""
