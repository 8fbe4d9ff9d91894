"""How judges of mathematics are asked: their time, and what they have decided."""
