"""The decision over a candidate: pure, and fed query by query."""
