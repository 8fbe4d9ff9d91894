"""The buffer and the release store on Redis or Valkey."""
