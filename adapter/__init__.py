"""The learner, and the two channels it owns: rollout buffer in, adapter releases out."""
