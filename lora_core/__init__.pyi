from lora_core.methods.layers import LoRALinear as LoRALinear
from lora_core.methods.layers import inject as inject
from lora_core.methods.layers import merge as merge
