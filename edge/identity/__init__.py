"""This file is where it begins who a client is and what it may do: keys, tokens, grants, tickets, limits."""
