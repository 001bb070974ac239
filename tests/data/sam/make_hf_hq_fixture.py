#!/usr/bin/env python3
"""Makes hf_hq.safetensors and hf_hq_reference.safetensors with transformers' SamHQModel.

    venv/bin/pip install transformers==5.23.0        beside what make_fixtures.py asks for
    venv/bin/python make_hf_hq_fixture.py [OUT]

A small model with seeded random weights, exact in 16 bits, under Hugging Face's names; and what transformers computes with
it: the single mask of a prompt of two points, with HQ-SAM's added.

transformers 5.23.0 upscales the image embedding (`modeling_sam_hq.py`, after the transformer), where sam-hq and its own
`SamModel` upscale what the transformer made of it. Two hooks put that right.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import SamHQConfig, SamHQModel


@torch.no_grad()
def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    torch.manual_seed(9)
    config = SamHQConfig(
        vision_config=dict(
            hidden_size=32, output_channels=32, num_hidden_layers=2, num_attention_heads=4, image_size=64,
            window_size=3, global_attn_indexes=[1], mlp_dim=128, num_pos_feats=16,
        ),
        prompt_encoder_config=dict(hidden_size=32, image_size=64),
        mask_decoder_config=dict(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, mlp_dim=64, iou_head_hidden_dim=32, vit_dim=32,
        ),
    )
    model = SamHQModel(config).eval()
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape) * (1.0 if "positional_embedding" in name else 0.2)
        tensor.copy_((noise + (1.0 if "norm" in name and name.endswith("weight") else 0.0)).half().float())
    shared = model.shared_image_embedding.positional_embedding
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    save_file({name: tensor.half().clone() for name, tensor in model.state_dict().items()}, out / "hf_hq.safetensors")

    pixels = torch.randn(1, 3, 64, 64)
    points = torch.tensor([[[[20.0, 31.0], [50.0, 7.0]]]])
    labels = torch.tensor([[[1, 0]]])
    made = {}
    decoder = model.mask_decoder
    decoder.transformer.register_forward_hook(lambda _, __, outputs: made.update(cells=outputs[1]))
    decoder.upscale_conv1.register_forward_pre_hook(
        lambda _, inputs: (made["cells"].transpose(2, 3).reshape(inputs[0].shape),)
    )
    found = model(pixel_values=pixels, input_points=points, input_labels=labels, multimask_output=False)
    save_file(
        {
            "pixels": pixels, "points": points[0].clone(), "labels": labels[0].to(torch.int32),
            "mask": found.pred_masks[0].contiguous(), "iou": found.iou_scores[0].contiguous(),
        },
        out / "hf_hq_reference.safetensors",
    )


if __name__ == "__main__":
    main()
