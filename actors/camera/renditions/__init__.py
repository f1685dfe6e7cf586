"""Makes the rungs of a camera's ladder: scales, converts and encodes each captured picture once for all viewers."""
