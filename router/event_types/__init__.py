"""Declares the event types that Callboard knows: of each its data, its delivery class and what it means for a run."""
