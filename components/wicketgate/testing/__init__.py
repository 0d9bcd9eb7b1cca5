"""Fakes that ship: an Entra and Graph emulator, a workload issuer, and what both stand on."""
