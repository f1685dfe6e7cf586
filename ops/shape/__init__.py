"""Measures the shape of the code: sizes, import circles, floors, and how far one event travels; `make shape` prints it."""
