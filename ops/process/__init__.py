"""The processes of Callboard: how each is started, watched over, asked how it is, and ended."""
