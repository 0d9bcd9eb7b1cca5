"""Coverage-guided fuzzers of what strangers' bytes reach: `python -m fuzz codec|decision`."""
