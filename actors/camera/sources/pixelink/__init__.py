"""Cameras of Pixelink, through the vendor's own wrapper and library."""
