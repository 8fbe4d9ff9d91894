"""Measurement: datasets, the avg@k / maj@k / pass@k protocol, traffic, reports and plots."""
