"""Anthropic's Messages: what clients send, the reply, its events, its errors."""
