"""Training on a GPU: this project's loop compared with HF Trainer + PEFT (`python -m bench.gpu --help`)."""
