//! Segment Anything's losses, and the encoder's own while it learns first.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, sigmoid};
use grainstore::sam::MASK_THRESHOLD;

/// # Shapes
/// - logits: `[clicks, outputs, pixels]`; targets: `[clicks, 1, pixels]`; valid: `[1, 1, pixels]`
/// - output: `[clicks, outputs]`
pub fn focal_loss(logits: Tensor<3>, targets: Tensor<3>, valid: Tensor<3>) -> Tensor<2> {
    const ALPHA: f32 = 0.25;
    const GAMMA: i32 = 2;
    // Of the foreground -log p, of the background -log(1 - p), which is x - log p.
    let cross_entropy = logits.clone() * (1f32 - targets.clone()) - log_sigmoid(logits.clone());
    let off = (sigmoid(logits) - targets.clone()).powi_scalar(GAMMA);
    let alpha = targets * (2.0 * ALPHA - 1.0) + (1.0 - ALPHA);
    let count = valid.clone().sum_dim(2);
    let loss = (cross_entropy * off * alpha * valid).sum_dim(2) / count;
    loss.squeeze_dim(2)
}

/// # Shapes
/// As of [`focal_loss`].
pub fn dice_loss(logits: Tensor<3>, targets: Tensor<3>, valid: Tensor<3>) -> Tensor<2> {
    let share = sigmoid(logits) * valid.clone();
    let targets = targets * valid;
    let both = (share.clone() * targets.clone()).sum_dim(2);
    let all = share.sum_dim(2) + targets.sum_dim(2);
    let alike = (both * 2.0 + 1.0) / (all + 1.0);
    (1f32 - alike).squeeze_dim(2)
}

/// IoU of the thresholded masks with the targets, cut off from the gradients.
///
/// # Shapes
/// As of [`focal_loss`].
pub fn true_iou(logits: Tensor<3>, targets: Tensor<3>, valid: Tensor<3>) -> Tensor<2> {
    let mask = logits.detach().greater_elem(MASK_THRESHOLD).float() * valid.clone();
    let targets = targets * valid;
    let both = (mask.clone() * targets.clone()).sum_dim(2);
    let either = mask.sum_dim(2) + targets.sum_dim(2) - both.clone();
    (both / either.clamp_min(1.0)).squeeze_dim::<2>(2)
}

/// How far the linear head's answer is from what each pixel shows: whether it is of an object, where the
/// middle of that object lies, and its colour.
///
/// # Shapes
/// - found, target: `[pixels, 12]`: object or not, waves of the middle, RGB; valid: `[pixels, 1]`
pub fn dense_loss(found: Tensor<2>, target: Tensor<2>, valid: Tensor<2>) -> Tensor<1> {
    let object = target.clone().narrow(1, 0, 1);
    let logit = found.clone().narrow(1, 0, 1);
    let cross_entropy = logit.clone() * (1f32 - object.clone()) - log_sigmoid(logit);
    let error = (found - target).square();
    let middle = error.clone().narrow(1, 1, 8).sum_dim(1) * object * 0.5;
    let color = error.narrow(1, 9, 3).sum_dim(1);
    ((cross_entropy + middle + color * 0.3) * valid.clone()).sum() / valid.sum()
}
