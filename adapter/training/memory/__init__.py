"""Memory: what a model needs, computed from its config; what there is; what to do when it runs out."""
