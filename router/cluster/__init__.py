"""Divides work among processes: leases, roles that one process holds, and partitions that each has its share of."""
