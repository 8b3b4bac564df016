"""This project against what its users would otherwise pick: `python -m bench`, or `make bench`."""
