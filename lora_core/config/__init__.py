"""The configuration: read, checked, and resolved for each method and task."""
