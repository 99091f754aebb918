"""Programs and what they do: running, verifying, comparing, counting, and runs over data sets."""
