"""A Wan base of random weights, as a WanPipeline's folder: four frames and 8x8 pixels a latent place."""

from __future__ import annotations

from pathlib import Path

import torch

WORDS = (
    "<pad>", "</s>", "<unk>", "a", "an", "and", "dog", "cat", "robot", "is", "chasing", "of", "video", "static", "on",
    "plain", "background", "empty", "scene", "grass", "passing", "rain",
)  # fmt: skip


def write_tiny_wan(folder: Path) -> Path:
    """Write it; two blocks of four heads, of which some are temporal."""
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

    words = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text_encoder = UMT5EncoderModel(
            UMT5Config(vocab_size=len(words), d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2)
        )
        torch.nn.init.normal_(text_encoder.get_input_embeddings().weight)
        pipeline = WanPipeline(
            tokenizer=PreTrainedTokenizerFast(
                tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
            ),
            text_encoder=text_encoder,
            vae=AutoencoderKLWan(
                base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
            ),
            scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
            transformer=WanTransformer3DModel(
                num_attention_heads=4, attention_head_dim=24, text_dim=16, freq_dim=16, ffn_dim=64, num_layers=2
            ),
        )
        with torch.no_grad():  # so that attention is not even everywhere, and what it finds is seen
            for block in pipeline.transformer.blocks:
                for layer in (block.attn1.to_q, block.attn1.to_k, block.attn2.to_q, block.attn2.to_k):
                    layer.weight.mul_(3)
    pipeline.save_pretrained(folder)
    return folder
