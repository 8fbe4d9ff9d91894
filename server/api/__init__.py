"""What clients send and get: requests, replies, errors, keys and quotas."""
