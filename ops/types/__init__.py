"""Generates types of events for other programs, in TypeScript and in Python, from the catalogue."""
