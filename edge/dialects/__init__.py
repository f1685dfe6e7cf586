"""Dialects: the conversations that clients expect, as values, one protocol in a module; `table` gathers them."""
