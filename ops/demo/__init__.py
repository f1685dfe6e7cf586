"""Demonstrations: small programs that are what they say they are."""
