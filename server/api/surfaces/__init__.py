"""What surfaces beside chat and text share: a chat stands for the request."""
