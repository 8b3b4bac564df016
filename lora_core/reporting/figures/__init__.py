"""Figures from records, in one style, each with the CSV it was drawn from beside it.

A function here returns the figure and the frame that it shows; `style.save` writes both.
"""
