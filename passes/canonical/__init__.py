"""The rewrite rules of `canonicalize`, one file a subject; each says what it keeps exact by its text test."""
