"""Answers: how they are read out of a rollout, and when two are the same."""
