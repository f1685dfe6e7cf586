"""Surfaces: the addresses of documents and protocols, each a row in a table that says what it reads and in which dialect."""
