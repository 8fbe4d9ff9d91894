"""OpenAI's Responses: what clients send, the reply, its events."""
