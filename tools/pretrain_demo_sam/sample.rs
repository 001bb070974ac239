//! What a scene teaches: clicks with the masks they ask for, and what every pixel shows.

use anyhow::Result;
use grainstore::models::sam::{PreparedImage, SamConfig};
use grainstore::scenes::{Scene, SceneGenerator};

use crate::looks::{LOOKS, LooksScale};

/// A scene as the model sees it: clicks, and the masks they ask for.
pub struct Clicks {
    /// The photo.
    pub image: PreparedImage,
    /// In pixels of the model input.
    pub points: Vec<[f32; 2]>,
    /// `[clicks, low_res, low_res]`.
    pub targets: Vec<f32>,
    /// 1 where the low-resolution mask is image and not padding, `[low_res, low_res]`.
    pub valid: Vec<f32>,
    /// What the object clicked on looks like, `[clicks, LOOKS]`; 0 for the background.
    pub looks: Vec<f32>,
    /// 1 for a click on an object, 0 for one on the background, `[clicks]`.
    pub on_object: Vec<f32>,
}

impl Clicks {
    /// Clicks at random pixels, each of a random object or, one in six, of the background.
    pub fn draw(
        scene: &Scene,
        generator: &mut SceneGenerator,
        count: usize,
        config: &SamConfig,
        scale: &LooksScale,
    ) -> Result<Self> {
        let size = scene.size();
        let image = PreparedImage::new(scene.photo.as_raw(), size, config.image_size)?;
        let frame = image.frame;
        let low_res = config.low_res_size();
        let background = scene.background();
        let objects: Vec<(&[u8], [f32; LOOKS])> = scene
            .objects
            .iter()
            .map(|it| (it.mask.as_slice(), scale.looks(&scene.photo, &it.mask)))
            .collect();
        let (mut points, mut targets) = (Vec::new(), Vec::new());
        let (mut looks, mut on_object) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let mask = if objects.is_empty() || generator.count(0..=5) == 0 {
                looks.extend([0.0; LOOKS]);
                on_object.push(0.0);
                background.as_slice()
            } else {
                let (mask, its_looks) = objects[generator.count(0..=objects.len() - 1)];
                looks.extend(its_looks);
                on_object.push(1.0);
                mask
            };
            let inside: Vec<usize> = (0..mask.len()).filter(|at| mask[*at] == 1).collect();
            let at = inside[generator.count(0..=inside.len() - 1)];
            let (x, y) = (at % size.width as usize, at / size.width as usize);
            let point = frame.model_from_image([x as f64, y as f64]);
            points.push(point.map(|it| it as f32));
            targets.extend(low_res_mask(mask, &image, low_res));
        }
        let whole = vec![1u8; background.len()];
        let valid = low_res_mask(&whole, &image, low_res);
        Ok(Self {
            image,
            points,
            targets,
            valid,
            looks,
            on_object,
        })
    }
}

/// A mask at the size of the decoder's: 1 where the middle of a cell's four quarters lie in it at least
/// twice.
fn low_res_mask(mask: &[u8], image: &PreparedImage, low_res: usize) -> Vec<f32> {
    let frame = image.frame;
    let cell = f64::from(frame.image_size) / low_res as f64;
    let scale = f64::from(frame.original.width) / f64::from(frame.resized.width);
    let at = |x: f64, y: f64| {
        let (x, y) = ((x * cell * scale) as usize, (y * cell * scale) as usize);
        let (width, height) = (
            frame.original.width as usize,
            frame.original.height as usize,
        );
        u8::from(x < width && y < height && mask[y * width + x] == 1)
    };
    let mut values = Vec::with_capacity(low_res * low_res);
    for row in 0..low_res {
        for column in 0..low_res {
            let quarters: u8 = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)]
                .iter()
                .map(|(right, down)| at(column as f64 + right, row as f64 + down))
                .sum();
            values.push(if quarters >= 2 { 1.0 } else { 0.0 });
        }
    }
    values
}

/// Numbers that say what a pixel shows.
pub const DENSE: usize = 12 + LOOKS;

/// What each pixel of the low-resolution mask shows, cell of the embedding by cell: whether an object,
/// the middle of that object as waves, RGB, what the object looks like.
///
/// # Shapes
/// - output: `[cells * 16, DENSE]`, a cell's pixels row-major
pub fn dense_targets(
    scene: &Scene,
    image: &PreparedImage,
    low_res: usize,
    scale: &LooksScale,
) -> Vec<f32> {
    let side = image.frame.image_size as usize;
    let block = side / low_res;
    let objects: Vec<(Vec<f32>, [f32; 8], [f32; LOOKS])> = scene
        .objects
        .iter()
        .map(|object| {
            let mask = low_res_mask(&object.mask, image, low_res);
            let waves = waves(middle_of(&mask, low_res));
            (mask, waves, scale.looks(&scene.photo, &object.mask))
        })
        .collect();
    let mut targets = Vec::with_capacity(low_res * low_res * DENSE);
    for cell in 0..(low_res / 4) * (low_res / 4) {
        for pixel in 0..16 {
            let y = cell / (low_res / 4) * 4 + pixel / 4;
            let x = cell % (low_res / 4) * 4 + pixel % 4;
            let object = objects
                .iter()
                .find(|(mask, ..)| mask[y * low_res + x] > 0.0);
            targets.push(if object.is_some() { 1.0 } else { 0.0 });
            targets.extend(object.map_or([0.0; 8], |(_, waves, _)| *waves));
            for plane in image.pixels().chunks_exact(side * side) {
                let rows = (y * block..(y + 1) * block).map(|row| row * side + x * block);
                let sum: f32 = rows.flat_map(|start| &plane[start..start + block]).sum();
                targets.push(sum / (block * block) as f32);
            }
            targets.extend(object.map_or([0.0; LOOKS], |(.., looks)| *looks));
        }
    }
    targets
}

/// The middle of a mask, XY in [0, 1] of its side.
fn middle_of(mask: &[f32], side: usize) -> [f32; 2] {
    let mut sum = [0f32; 3];
    for at in (0..mask.len()).filter(|at| mask[*at] > 0.0) {
        let (x, y) = ((at % side) as f32, (at / side) as f32);
        sum = [sum[0] + x, sum[1] + y, sum[2] + 1.0];
    }
    let count = sum[2].max(1.0) * side as f32;
    [sum[0] / count, sum[1] / count]
}

/// A position as sines and cosines, so that near ones have a large inner product.
fn waves([x, y]: [f32; 2]) -> [f32; 8] {
    let angle = |position: f32, turns: f32| (position * turns * std::f32::consts::TAU).sin_cos();
    let angles = [angle(x, 0.5), angle(x, 1.5), angle(y, 0.5), angle(y, 1.5)];
    let mut waves = [0.0; 8];
    for (pair, (sin, cos)) in waves.chunks_exact_mut(2).zip(angles) {
        pair.copy_from_slice(&[sin, cos]);
    }
    waves
}

/// A mask of whole cells in the order of [`dense_targets`].
pub fn cell_by_cell(mask: &[f32], low_res: usize) -> Vec<f32> {
    let cells = low_res / 4;
    (0..cells * cells * 16)
        .map(|at| {
            let (cell, pixel) = (at / 16, at % 16);
            let (y, x) = (cell / cells * 4 + pixel / 4, cell % cells * 4 + pixel % 4);
            mask[y * low_res + x]
        })
        .collect()
}
