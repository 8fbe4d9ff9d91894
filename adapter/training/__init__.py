"""The mathematics of an update: torch, PEFT, several processes as one; `memory/`, its plan."""
