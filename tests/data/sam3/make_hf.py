#!/usr/bin/env python3
"""Makes hf/ and hf_reference.safetensors with transformers' Sam3TrackerModel, the tracker of SAM 3.

    venv/bin/pip install transformers==5.23.0        beside what ../sam2/make_sam2.py asks for
    venv/bin/python make_hf.py [OUT]

A small model with seeded random weights, exact in 16 bits, and what transformers computes with it. Its tensors have the names
of the published file, which transformers renames as it loads (conversion_mapping.py): `save_pretrained` puts `tracker_model.`
before all of them. As in that file, there are tensors of the detector and of videos, and a neck of four levels.

transformers 5.23.0 adds the embedding of a picture that follows no others to the last of the four levels, which the decoder
never sees (modeling_sam3_tracker.py, `get_image_embeddings`); its video tracker and the official package drop that level
first. The reference is computed with the level dropped. The encoder and the neck of the official package (sam3 0.1.4), given
the same weights and the same epsilon, give the same image embedding up to 7e-7 of its largest number.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import Sam3TrackerConfig, Sam3TrackerModel

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "sam2"))
from make_sam2 import by_cell, randomise  # noqa: E402

SIDE, PATCH, DIM = 112, 14, 32
GRID = SIDE // PATCH


@torch.no_grad()
def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    torch.manual_seed(3)
    backbone = dict(
        model_type="sam3_vit_model", hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=3,
        image_size=SIDE, patch_size=PATCH, window_size=3, global_attn_indexes=[0, 2], pretrain_image_size=3 * PATCH,
    )
    config = Sam3TrackerConfig(
        vision_config=dict(
            model_type="sam3_vision_model", backbone_config=backbone, fpn_hidden_size=DIM,
            backbone_feature_sizes=[[4 * GRID] * 2, [2 * GRID] * 2, [GRID] * 2],
        ),
        prompt_encoder_config=dict(hidden_size=DIM, image_size=SIDE, patch_size=PATCH),
        mask_decoder_config=dict(hidden_size=DIM, num_attention_heads=4, mlp_dim=64, iou_head_hidden_dim=32),
    )
    model = Sam3TrackerModel(config).eval()
    randomise(model, 11)
    shared = model.shared_image_embedding.positional_embedding
    shared.copy_(torch.randn(shared.shape).half().float())
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    model.half().save_pretrained(out / "hf")
    file = out / "hf" / "model.safetensors"
    shared = ("tracker_model.detector_model.", "tracker_model.tracker_neck.")
    tensors = {
        name.removeprefix("tracker_model.") if name.startswith(shared) else name: tensor
        for name, tensor in load_file(file).items()
    }
    tensors["detector_model.detr_decoder.query_embed.weight"] = torch.zeros(2, 2).half()
    tensors["tracker_model.memory_encoder.fuser.weight"] = torch.zeros(2).half()
    save_file(tensors, file, metadata={"format": "pt"})
    model.float()
    neck = model.vision_encoder.neck
    neck.fpn_layers = neck.fpn_layers[:3]

    pixels = torch.randn(1, 3, SIDE, SIDE)
    points = torch.tensor([[[[20.0, 31.0], [90.0, 7.0]]]])
    labels = torch.tensor([[[1, 0]]])
    tokens = model.vision_encoder.backbone(pixels).last_hidden_state.reshape(1, GRID, GRID, -1)
    s0, s1, embedding = model.get_image_embeddings(pixels)
    # The tokens of the masks come after those of the object score and of the IoU.
    seen = []
    model.mask_decoder.transformer.register_forward_hook(lambda _, __, result: seen.append(result[0][0, :, 2:6].clone()))
    found = model(
        image_embeddings=[s0, s1, embedding], input_points=points, input_labels=labels, multimask_output=True,
    )
    box = model(
        image_embeddings=[s0, s1, embedding], input_boxes=torch.tensor([[[10.0, 12.0, 70.0, 100.0]]]),
        multimask_output=False,
    )
    save_file(
        {
            "pixels": pixels, "points": points[0].clone(), "labels": labels[0].to(torch.int32),
            "trunk": tokens.contiguous(),
            "channels": torch.cat([embedding, by_cell(s1, GRID, 1), by_cell(s0, GRID, 2)], 1).contiguous(),
            "masks": found.pred_masks[0].contiguous(), "iou": found.iou_scores[0].contiguous(),
            "score": found.object_score_logits[0].contiguous(), "tokens": seen[0],
            "box": torch.tensor([[10.0, 12.0, 70.0, 100.0]]), "box_iou": box.iou_scores[0].contiguous(), "box_masks": box.pred_masks[0].contiguous(),
            "box_tokens": seen[1],
        },
        out / "hf_reference.safetensors",
    )
    print(json.dumps(sorted(tensors), indent=0))


if __name__ == "__main__":
    main()
