"""From candidate to live or rejected, and the watch over the live version."""
