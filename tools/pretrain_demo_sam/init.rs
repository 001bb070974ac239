//! Where training starts: an encoder that already tells patches and places apart.
//!
//! A random projection of a patch is nearly its mean colour, and SAM's position embedding starts at zero,
//! so a plain start spends most of a short training on what is known beforehand. Here the patch embedding
//! starts as the patch's cosine transform, each coefficient scaled to unit variance over some scenes, and
//! the position embedding as the sines and cosines that masked autoencoders have.
//!
//! Attention starts with the same weights for queries and keys, so that what is alike or in one place attends
//! to each other (Trockman and Kolter, "Mimetic Initialization of Self-Attention Layers", 2023), and values pass
//! through it nearly as they are. A click's token then sees the place that was clicked from the first step.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use anyhow::{Result, bail};
use burn::module::Param;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use grainstore::models::sam::{DecoderAttention, ImageEncoder, PATCH_SIZE, PreparedImage, Sam};
use grainstore::scenes::SceneGenerator;

/// Seed of the scenes that coefficients are scaled by.
const SEED: u64 = 1 << 50;
const SCENES: usize = 40;
/// Variance of queries' and keys' weights, times the number of channels.
const ENCODER_GAIN: f64 = 1.0;
const DECODER_GAIN: f64 = 2.0;
/// Brightness and two colour differences, orthonormal.
const COLORS: [[f32; 3]; 3] = [
    [0.577_350, 0.577_350, 0.577_350],
    [FRAC_1_SQRT_2, -FRAC_1_SQRT_2, 0.0],
    [0.408_248, 0.408_248, -0.816_497],
];

/// Sets the weights that training starts from.
pub fn start(mut sam: Sam, device: &Device) -> Result<Sam> {
    let (side, grid) = (sam.config().image_size, sam.config().grid_size());
    let ImageEncoder::Vit(encoder) = &mut sam.image_encoder else {
        bail!("only a plain vision transformer is trained here");
    };
    let [dim, ..] = encoder.patch_embed.proj.weight.dims();
    let (weight, bias) = whitened(basis(dim), side)?;
    let shape = [dim, 3, PATCH_SIZE, PATCH_SIZE];
    let weight = Tensor::<4>::from_data(TensorData::new(weight, shape), device);
    encoder.patch_embed.proj.weight = Param::from_tensor(weight);
    let bias = Tensor::<1>::from_data(TensorData::new(bias, [dim]), device);
    encoder.patch_embed.proj.bias = Some(Param::from_tensor(bias));
    let positions = TensorData::new(positions(grid, dim), [1, grid, grid, dim]);
    encoder.pos_embed = Param::from_tensor(Tensor::<4>::from_data(positions, device));
    for block in &mut encoder.blocks {
        let weight = block.attn.qkv.weight.val();
        let [dim, three] = weight.dims();
        let queries = random([dim, dim], ENCODER_GAIN / dim as f64, device);
        let values = weight.narrow(1, 2 * dim, three - 2 * dim);
        let tied = Tensor::cat(vec![queries.clone(), queries, values], 1);
        block.attn.qkv.weight = weights(tied);
    }
    let transformer = &mut sam.mask_decoder.transformer;
    let mut cross = vec![&mut transformer.final_attn_token_to_image];
    for layer in &mut transformer.layers {
        let dim = tie(&mut layer.self_attn, device);
        let same = Tensor::<2>::eye(dim, device);
        layer.self_attn.v_proj.weight = weights(same.clone());
        layer.self_attn.out_proj.weight = weights(same);
        cross.push(&mut layer.cross_attn_token_to_image);
        cross.push(&mut layer.cross_attn_image_to_token);
    }
    for attention in cross {
        tie(attention, device);
        let [dim, inner] = attention.v_proj.weight.val().dims();
        let values = random([dim, inner], 1.0 / inner as f64, device);
        attention.v_proj.weight = weights(values.clone());
        attention.out_proj.weight = weights(values.transpose() * 0.5);
    }
    Ok(sam)
}

/// Gives keys the weights of queries, so that what is alike attends to each other.
fn tie(attention: &mut DecoderAttention, device: &Device) -> usize {
    let [dim, inner] = attention.q_proj.weight.val().dims();
    let weight = random([dim, inner], DECODER_GAIN / dim as f64, device);
    attention.q_proj.weight = weights(weight.clone());
    attention.k_proj.weight = weights(weight);
    dim
}

/// Weights that training may change, however they were come by.
fn weights(tensor: Tensor<2>) -> Param<Tensor<2>> {
    Param::from_tensor(tensor.detach())
}

fn random(shape: [usize; 2], variance: f64, device: &Device) -> Tensor<2> {
    Tensor::random(shape, Distribution::Normal(0.0, variance.sqrt()), device)
}

/// Patterns of a patch, each orthonormal to the others, the smoothest first: half of them of brightness, a
/// quarter of each colour difference.
fn basis(dim: usize) -> Vec<Vec<f32>> {
    let mut waves: Vec<[usize; 2]> = (0..PATCH_SIZE * PATCH_SIZE)
        .map(|n| [n / PATCH_SIZE, n % PATCH_SIZE])
        .collect();
    waves.sort_by_key(|[down, right]| down * down + right * right);
    let counts = [dim - 2 * (dim / 4), dim / 4, dim / 4];
    let mut basis = Vec::with_capacity(dim);
    for (color, count) in COLORS.iter().zip(counts) {
        for [down, right] in &waves[..count] {
            let mut pattern = Vec::with_capacity(3 * PATCH_SIZE * PATCH_SIZE);
            for level in color {
                for y in 0..PATCH_SIZE {
                    let by_row = level * cosine(*down, y);
                    pattern.extend((0..PATCH_SIZE).map(|x| by_row * cosine(*right, x)));
                }
            }
            basis.push(pattern);
        }
    }
    basis
}

/// One value of the orthonormal cosine transform (DCT-II).
fn cosine(wave: usize, at: usize) -> f32 {
    let length = PATCH_SIZE as f32;
    let scale = if wave == 0 { 1.0 } else { 2.0 };
    (scale / length).sqrt() * (PI / length * (at as f32 + 0.5) * wave as f32).cos()
}

/// The patterns scaled so that what they find in scenes has mean 0 and about unit variance: weights of all
/// patterns, one after the other, and their biases.
fn whitened(basis: Vec<Vec<f32>>, side: usize) -> Result<(Vec<f32>, Vec<f32>)> {
    let mut generator = SceneGenerator::new(SEED);
    let (mut sums, mut squares, mut count) = (vec![0f64; basis.len()], vec![0f64; basis.len()], 0);
    for _ in 0..SCENES {
        let size = generator.size(crate::measure::LONGEST);
        let kinds = generator.kinds(4);
        let scene = generator.scene(size, &kinds);
        let image = PreparedImage::new(scene.photo.as_raw(), size, side)?;
        let resized = image.frame.resized;
        for top in (0..resized.height as usize / PATCH_SIZE).map(|row| row * PATCH_SIZE) {
            for left in (0..resized.width as usize / PATCH_SIZE).map(|column| column * PATCH_SIZE) {
                let patch: Vec<f32> = image
                    .pixels()
                    .chunks_exact(side * side)
                    .flat_map(|plane| {
                        (top..top + PATCH_SIZE).flat_map(move |y| {
                            &plane[y * side + left..y * side + left + PATCH_SIZE]
                        })
                    })
                    .copied()
                    .collect();
                for ((pattern, sum), square) in basis.iter().zip(&mut sums).zip(&mut squares) {
                    let found: f32 = pattern.iter().zip(&patch).map(|(a, b)| a * b).sum();
                    *sum += f64::from(found);
                    *square += f64::from(found * found);
                }
                count += 1;
            }
        }
    }
    let (mut weights, mut biases) = (Vec::new(), Vec::new());
    for ((pattern, sum), square) in basis.into_iter().zip(sums).zip(squares) {
        let mean = sum / f64::from(count);
        let deviation = (square / f64::from(count) - mean * mean).max(0.0).sqrt();
        // The finest patterns hold little but noise; they are not blown up all the way.
        let scale = 1.0 / (deviation + 0.15);
        weights.extend(pattern.iter().map(|level| level * scale as f32));
        biases.push((-mean * scale) as f32);
    }
    Ok((weights, biases))
}

/// Sines and cosines of each cell's column and row.
fn positions(grid: usize, dim: usize) -> Vec<f32> {
    let quarter = dim / 4;
    let mut values = Vec::with_capacity(grid * grid * dim);
    for cell in 0..grid * grid {
        for place in [cell % grid, cell / grid] {
            let angles = (0..quarter)
                .map(|k| place as f32 / 10_000f32.powf(k as f32 / quarter as f32))
                .collect::<Vec<_>>();
            values.extend(angles.iter().map(|angle| angle.sin()));
            values.extend(angles.iter().map(|angle| angle.cos()));
        }
    }
    values
}
