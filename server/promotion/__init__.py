"""From candidate to live or rejected, and the monitor of the live version."""
