"""Ratchet over several hosts, each a network namespace: `make bench-scale`."""
