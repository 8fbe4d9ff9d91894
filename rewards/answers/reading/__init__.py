"""How an answer is read out of a rollout's text."""
