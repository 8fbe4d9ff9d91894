"""What is kept of an answer: for the learner, for the gate, for feedback."""
