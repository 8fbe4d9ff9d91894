"""The guards: whether a version can still do what base can, beyond the traffic of the trial."""
