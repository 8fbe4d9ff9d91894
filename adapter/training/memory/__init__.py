"""What a model needs in memory, what there is, and what to do when it runs out."""
