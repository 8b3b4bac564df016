from lora_core.layers import LoRALinear as LoRALinear
from lora_core.layers import inject as inject
from lora_core.layers import merge as merge
