#!/usr/bin/env python3
"""Makes hf/ and hf_reference.safetensors with transformers' Sam2Model.

    venv/bin/pip install transformers==5.23.0        beside what make_sam2.py asks for
    venv/bin/python make_hf.py [OUT]

A small model with seeded random weights, exact in 16 bits, as `save_pretrained` writes it, its windows and heads only in
config.json; and what transformers computes with it.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Sam2Config, Sam2Model

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from make_sam2 import by_cell, randomise  # noqa: E402


@torch.no_grad()
def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    torch.manual_seed(7)
    backbone = dict(
        model_type="sam2_hiera_det_model",
        hidden_size=16, num_attention_heads=2, image_size=[96, 96], window_positional_embedding_background_size=[5, 5],
        blocks_per_stage=[1, 1, 2, 1], embed_dim_per_stage=[16, 32, 64, 128], num_attention_heads_per_stage=[2, 4, 8, 16],
        window_size_per_stage=[4, 4, 6, 3], global_attention_blocks=[3],
    )
    config = Sam2Config(
        vision_config=dict(
            backbone_config=backbone, backbone_channel_list=[128, 64, 32, 16], fpn_hidden_size=32,
            backbone_feature_sizes=[[24, 24], [12, 12], [6, 6]],
        ),
        prompt_encoder_config=dict(hidden_size=32, image_size=96),
        mask_decoder_config=dict(hidden_size=32, num_attention_heads=4, mlp_dim=64, iou_head_hidden_dim=32),
    )
    model = Sam2Model(config).eval()
    randomise(model, 5)
    shared = model.shared_image_embedding.positional_embedding
    shared.copy_(torch.randn(shared.shape).half().float())
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    model.half().save_pretrained(out / "hf")
    model.float()

    pixels = torch.randn(1, 3, 96, 96)
    points = torch.tensor([[[[20.0, 31.0], [50.0, 7.0]]]])
    labels = torch.tensor([[[1, 0]]])
    s0, s1, embedding = model.get_image_embeddings(pixels)
    found = model(
        image_embeddings=[s0, s1, embedding], input_points=points, input_labels=labels, multimask_output=True,
    )
    save_file(
        {
            "pixels": pixels, "points": points[0].clone(), "labels": labels[0].to(torch.int32),
            "channels": torch.cat([embedding, by_cell(s1, 6, 1), by_cell(s0, 6, 2)], 1).contiguous(),
            "masks": found.pred_masks[0].contiguous(), "iou": found.iou_scores[0].contiguous(),
            "score": found.object_score_logits[0].contiguous(),
        },
        out / "hf_reference.safetensors",
    )


if __name__ == "__main__":
    main()
