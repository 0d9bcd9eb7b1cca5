"""What happened, as events: the schema, and the way into the store."""
