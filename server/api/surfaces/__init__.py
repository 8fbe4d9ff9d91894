"""What every surface beside chat and text shares: a chat stands for a request, and is replied to."""
