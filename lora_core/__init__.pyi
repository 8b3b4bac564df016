from lora_core.methods.layers import LoRALinear as LoRALinear
from lora_core.methods.layers import inject as inject
from lora_core.methods.layers import merge as merge
from lora_core.methods.save_load import load_adapter as load_adapter
from lora_core.methods.save_load import save_adapter as save_adapter
