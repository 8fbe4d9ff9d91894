"""When two answers are the same: one form for answers that plainly are."""
