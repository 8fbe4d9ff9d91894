"""Labels of the gate: from the operator's file, and from feedback."""
