"""Prints how the paper's protocol and those of Hu et al. differ, for docs/protocols.md."""

from lora_core.config.protocol import compare

print(compare("table7", "hu-table9", "ms-scripts"), end="")
