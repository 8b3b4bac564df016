"""The pre-trained models that the methods start from."""
