//! Segment Anything's losses, and the encoder's own while it learns first.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, sigmoid};
use grainstore::models::sam::MASK_THRESHOLD;

use crate::looks::LOOKS;

/// Weight of what objects look like among what their pixels tell.
const LOOKS_OF_PIXELS: f32 = 4.0;

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
/// middle of that object lies, its colour, and what it looks like.
///
/// # Shapes
/// - found, target: `[pixels, DENSE]`: object or not, waves of the middle, RGB, looks; valid: `[pixels, 1]`
pub fn dense_loss(found: Tensor<2>, target: Tensor<2>, valid: Tensor<2>) -> Tensor<1> {
    let object = target.clone().narrow(1, 0, 1);
    let logit = found.clone().narrow(1, 0, 1);
    let cross_entropy = logit.clone() * (1f32 - object.clone()) - log_sigmoid(logit);
    let off = found - target;
    let error = off.clone().narrow(1, 0, 12).square();
    let middle = error.clone().narrow(1, 1, 8).sum_dim(1) * object.clone() * 0.5;
    let color = error.narrow(1, 9, 3).sum_dim(1);
    let looks = huber(off.narrow(1, 12, LOOKS)).mean_dim(1) * object * LOOKS_OF_PIXELS;
    ((cross_entropy + middle + color * 0.3 + looks) * valid.clone()).sum() / valid.sum()
}

/// The square of an error up to 1, then rising evenly (without branches: 2 sqrt(1 + x^2) - 2).
fn huber(error: Tensor<2>) -> Tensor<2> {
    (error.square() + 1.0).sqrt() * 2.0 - 2.0
}

/// How far the linear layer's answer is from what the objects clicked on look like, over the clicks on objects.
///
/// # Shapes
/// - found, target: `[clicks, LOOKS]`; on_object: `[clicks, 1]`
pub fn looks_loss(found: Tensor<2>, target: Tensor<2>, on_object: Tensor<2>) -> Tensor<1> {
    let error = huber(found - target).mean_dim(1);
    (error * on_object.clone()).sum() / on_object.sum().clamp_min(1.0)
}
