"""A stand-in for Pulumi's Python language host, which is published with the official CLI alone."""
