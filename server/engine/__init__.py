"""The engine contract; behind it vLLM, known in this folder alone, and a scripted double."""
