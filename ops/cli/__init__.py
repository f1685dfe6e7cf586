"""The commands: what each takes, and what each does."""
