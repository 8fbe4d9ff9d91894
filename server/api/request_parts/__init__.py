"""What requests are made of: messages, prompts, grammars, and the extra fields of the engine."""
