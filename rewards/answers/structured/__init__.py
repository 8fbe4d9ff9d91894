"""Answers with fields: JSON, and calls of tools."""
