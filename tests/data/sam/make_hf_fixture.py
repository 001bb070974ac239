#!/usr/bin/env python3
"""Makes hf.safetensors and hf_reference.safetensors with transformers' SamModel.

    venv/bin/pip install transformers==5.23.0        beside what make_fixtures.py asks for
    venv/bin/python make_hf_fixture.py [OUT]

A small model with seeded random weights, exact in 16 bits, under Hugging Face's names; and what
transformers computes with it. Its MLPs have no whole multiple of its channels, as in SlimSAM's pruned models.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import SamConfig, SamModel


@torch.no_grad()
def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    torch.manual_seed(7)
    config = SamConfig(
        vision_config=dict(
            hidden_size=24, output_channels=32, num_hidden_layers=2, num_attention_heads=4, image_size=64,
            window_size=3, global_attn_indexes=[1], mlp_dim=100, num_pos_feats=16,
        ),
        prompt_encoder_config=dict(hidden_size=32, image_size=64),
        mask_decoder_config=dict(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, mlp_dim=64, iou_head_hidden_dim=32
        ),
    )
    model = SamModel(config).eval()
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape) * (1.0 if "positional_embedding" in name else 0.2)
        tensor.copy_((noise + (1.0 if "norm" in name and name.endswith("weight") else 0.0)).half().float())
    shared = model.shared_image_embedding.positional_embedding
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    state = {name: tensor.half().clone() for name, tensor in model.state_dict().items()}
    save_file(state, out / "hf.safetensors")

    pixels = torch.randn(1, 3, 64, 64)
    points = torch.tensor([[[[20.0, 31.0], [50.0, 7.0]]]])
    labels = torch.tensor([[[1, 0]]])
    embedding = model.get_image_embeddings(pixels)
    result = model(
        image_embeddings=embedding, input_points=points, input_labels=labels, multimask_output=True,
    )
    save_file(
        {
            "pixels": pixels, "points": points[0].clone(), "labels": labels[0].to(torch.int32),
            "embedding": embedding.contiguous(), "masks": result.pred_masks[0].contiguous(),
            "iou": result.iou_scores[0].contiguous(),
        },
        out / "hf_reference.safetensors",
    )


main()
