"""The science: answers, votes, reward estimators, advantages. Pure functions over plain data."""
