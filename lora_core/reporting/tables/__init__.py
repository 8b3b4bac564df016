"""The tables, one file each: `draw` takes files and settings and returns the table."""
