"""The mathematics of an update: torch, PEFT, several processes as one."""
