"""Which version answers: the live pointer, leases, and what is known of each version's answers."""
