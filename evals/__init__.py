"""Measuring: datasets, the avg@k / maj@k / pass@k protocol, the demo's client, its plots."""
