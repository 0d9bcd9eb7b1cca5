"""The agent: dials out, holds the credentials, logs in to targets."""
