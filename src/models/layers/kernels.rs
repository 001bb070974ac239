//! Activations on the CPU, where burn-flex's own operations are slow: [`grainstore_kernels`]. All other devices, and tensors that need
//! gradients, use burn's operations.

use burn::tensor::{DType, Device, Tensor, TensorData, activation};

/// Whether tensors on this device can be processed as slices: on burn-flex, outside of training.
pub(in crate::models) fn works_on_slices(device: &Device, dtype: DType) -> bool {
    dtype == DType::F32 && !device.is_autodiff() && is_flex(device)
}

fn is_flex(device: &Device) -> bool {
    *device == Device::flex()
}

/// The exact GELU, `x * (1 + erf(x / sqrt 2)) / 2`.
///
/// # Shapes
/// - input and output: any
pub(in crate::models) fn gelu<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    let device = input.device();
    if !works_on_slices(&device, input.dtype()) {
        return activation::gelu(input);
    }
    let data = update_values(input.into_data(), grainstore_kernels::gelu);
    Tensor::from_data(data, &device)
}

/// `x * sigmoid(1.702 x)`, an approximation of GELU.
///
/// # Shapes
/// - input and output: any
pub(in crate::models) fn quick_gelu<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    let device = input.device();
    if !works_on_slices(&device, input.dtype()) {
        return input.clone() * activation::sigmoid(input * 1.702);
    }
    let data = update_values(input.into_data(), grainstore_kernels::quick_gelu);
    Tensor::from_data(data, &device)
}

/// Changes values in place, or in a copy if the data is not writable.
pub(in crate::models) fn update_values(
    mut data: TensorData,
    update: impl FnOnce(&mut [f32]),
) -> TensorData {
    if let Ok(values) = data.as_mut_slice::<f32>() {
        update(values);
        return data;
    }
    let mut values: Vec<f32> = data.iter::<f32>().collect();
    update(&mut values);
    TensorData::new(values, data.shape().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_is_burns() {
        let device = Device::flex();
        let input: Vec<f32> = (-40_000..40_000).map(|i| i as f32 * 2e-4).collect();
        let input = Tensor::<1>::from_floats(input.as_slice(), &device);
        let fast = gelu(input.clone());
        let difference = (fast - activation::gelu(input))
            .abs()
            .max()
            .into_scalar::<f32>();
        assert!(difference < 2e-6, "{difference}");
    }
}
