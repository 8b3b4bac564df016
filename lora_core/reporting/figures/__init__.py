"""The figures, one file each: `draw` takes files and settings and returns the figure and the frame that it shows."""
