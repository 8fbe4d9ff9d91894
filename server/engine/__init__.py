"""The engine contract, and behind it vLLM, which is known here alone, or a scripted double."""
