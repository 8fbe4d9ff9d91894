"""Reward estimators, one file each, and a dict of their names."""
