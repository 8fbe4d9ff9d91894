"""The talk's claims put to the test on the small model: `python -m evals.experiments`."""
