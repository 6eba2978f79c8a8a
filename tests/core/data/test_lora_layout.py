"""Names of layers in files, both ways."""

import pytest

from videomage_core.data.lora_layout import UNET, WAN, layout_of_keys, layout_of_modules
from videomage_core.data.wan_lora import wan_layer

PARTS = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_out.0", "ffn.net.0.proj",
         "ffn.net.2")  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_a_wan_module_is_called_as_others_call_it(part):
    module = f"blocks.12.{part}"
    assert WAN.to_file(module) == wan_layer(module)
    assert WAN.from_file(WAN.to_file(module)) == module
    keys = WAN.keys(module)
    assert keys[0] == f"diffusion_model.{wan_layer(module)}.lora_A.weight" and WAN.modules(keys) == [module]
    assert layout_of_modules([module]) is layout_of_keys(keys) is WAN


def test_a_u_net_s_modules_keep_their_names():
    module = "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0"
    assert layout_of_modules([module]) is UNET and UNET.modules(UNET.keys(module)) == [module]
    assert layout_of_keys(UNET.keys(module)) is UNET
