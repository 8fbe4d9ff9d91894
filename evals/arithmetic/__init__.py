"""Arithmetic questions, and a small chat model of our own that answers them imperfectly."""
