"""Checks that `callboard doctor` makes: of this machine, of NATS, of the edge."""
