"""What each command of `ratchet` does, once parsed."""
