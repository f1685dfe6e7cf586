"""Pictures to viewers: what comes from NATS, what each viewer is sent of it, and in which form."""
