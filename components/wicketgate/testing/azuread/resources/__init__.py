"""The resources of the stand-in: each module holds their schemas and the requests of their lifecycle."""
