"""A real language model that comes as a package, and questions that it half knows."""
