"""Cameras of Linux, through the kernel's interface V4L2."""
