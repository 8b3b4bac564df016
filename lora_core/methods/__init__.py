"""The methods: LoRA, what it is compared with, and the files that they are saved in."""
