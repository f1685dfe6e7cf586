"""Records a camera: its H.264 as fragmented MP4 in files of at most ten minutes, and stills at an interval."""
