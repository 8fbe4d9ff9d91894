"""What becomes of each field that a client may send: a table for each surface."""
