"""Octane: a render seen over gRPC, and a simulator that speaks the same wire."""
