"""Names the version of Callboard: that of pyproject.toml, as `make release` writes it into both."""

VERSION = "0.1.0"
