"""What learner and server share: buffer, releases, ledger, lease, adapter folders. No torch."""
