"""The learner's loop: intake, scoring, worker, its metrics and logs."""
