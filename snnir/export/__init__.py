"""Programs in other forms: bundles, replays, hardware files and NIR."""
