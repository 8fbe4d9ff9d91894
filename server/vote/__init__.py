"""One question answered by several rollouts and a vote, or passed through."""
