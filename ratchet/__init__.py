"""The `ratchet` command: parses, wires, starts local processes. No logic."""
