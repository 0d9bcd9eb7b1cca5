"""The web UI: the same rules as the API, for people with a browser."""
