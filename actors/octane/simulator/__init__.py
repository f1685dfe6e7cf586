"""A simulator of Octane that speaks its wire."""
