"""The data: tasks, their metrics, and their examples from the source to batches."""
