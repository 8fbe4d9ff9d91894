"""Answers: how they are read from a rollout, and when two are the same."""
