"""SSH: a process of its own that speaks the protocol (asyncssh), and what it asks in the gateway's process."""
