"""Which providers are known, which are configured, and whether one works."""
