"""Where events and sessions are kept and queried."""
