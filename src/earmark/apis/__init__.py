"""What each provider API calls its options and counters: one pure file per API, no network."""
