"""Lets programs and libraries report to a run as they are; each module needs only its own library."""
