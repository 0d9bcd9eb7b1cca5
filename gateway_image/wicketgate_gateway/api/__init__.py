"""The API for people: held operations, sessions, the kill switch. A process of its own."""
