"""Divides work among processes: leases, leader election for a role, and partitions that are distributed evenly."""
