"""The same questions on a real language model: SmolLM2-135M-Instruct, tasks that it half knows."""
