"""What learner and server share: buffer, releases, ledger, adapter folders. No torch."""
