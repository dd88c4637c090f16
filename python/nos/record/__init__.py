"""What the core was told and what it decided, written down and done again."""
