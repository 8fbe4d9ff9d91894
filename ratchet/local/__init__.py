"""The local stack: programs, child processes, an observer."""
