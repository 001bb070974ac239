//! Makes the demo's photos: shapes on noisy backgrounds, with labels and exact masks.
//!
//! ```text
//! cargo run --example scenes -- DIR
//! ```
//!
//! `DIR/train/<shape>/` holds 200 images of one shape each, labelled by folder; `DIR/test/` holds 60
//! images of two to four shapes that may hide one another, annotated in `DIR/test.json` (COCO, RLE).
//! The same images come out every time.

use std::path::Path;

use grainstore::geometry::{Rle, Size};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};

const SIZE: Size = Size {
    height: 120,
    width: 160,
};
const SHAPES: [(&str, &str); 5] = [
    ("disc", "round"),
    ("ring", "round"),
    ("square", "angular"),
    ("triangle", "angular"),
    ("star", "angular"),
];
const TRAIN_PER_SHAPE: usize = 40;
const TEST: usize = 60;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: scenes DIR")?;
    let dir = Path::new(&dir);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (shape, (name, _)) in SHAPES.iter().enumerate() {
        let folder = dir.join("train").join(name);
        std::fs::create_dir_all(&folder)?;
        for n in 0..TRAIN_PER_SHAPE {
            let mut scene = Scene::new(&mut random);
            scene.add(shape, &mut random);
            scene.photo.save(folder.join(format!("{n:03}.png")))?;
        }
    }

    let folder = dir.join("test");
    std::fs::create_dir_all(&folder)?;
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for n in 0..TEST {
        let mut scene = Scene::new(&mut random);
        for _ in 0..2 + random.below(3) {
            scene.add(random.below(SHAPES.len()), &mut random);
        }
        let file_name = format!("{n:03}.png");
        scene.photo.save(folder.join(&file_name))?;
        images.push(json!({"id": n + 1, "file_name": file_name, "width": SIZE.width, "height": SIZE.height}));
        for (shape, pixels) in &scene.objects {
            annotations.extend(annotation(annotations.len() + 1, n + 1, *shape, pixels)?);
        }
    }
    let categories: Vec<_> = SHAPES
        .iter()
        .enumerate()
        .map(|(n, (name, group))| json!({"id": n + 1, "name": name, "supercategory": group}))
        .collect();
    let data_set = json!({
        "info": {"description": "grainstore demo scenes"}, "licenses": [],
        "images": images, "annotations": annotations, "categories": categories,
    });
    std::fs::write(dir.join("test.json"), serde_json::to_vec(&data_set)?)?;
    println!(
        "{} training and {TEST} test images in '{}'",
        SHAPES.len() * TRAIN_PER_SHAPE,
        dir.display()
    );
    Ok(())
}

/// A COCO annotation, or none for an object that others hide.
fn annotation(
    id: usize,
    image: usize,
    shape: usize,
    pixels: &[u8],
) -> grainstore::Result<Option<Value>> {
    let mask = Rle::from_row_major(SIZE, pixels)?;
    if mask.area() < 20 {
        return Ok(None);
    }
    Ok(Some(json!({
        "id": id, "image_id": image, "category_id": shape + 1, "iscrowd": 0,
        "segmentation": {"size": [SIZE.height, SIZE.width], "counts": mask.to_counts_string()},
        "area": mask.area(), "bbox": mask.bbox().to_xywh(),
    })))
}

/// A photo being drawn, and which pixels each object shows, row-major.
struct Scene {
    photo: RgbImage,
    objects: Vec<(usize, Vec<u8>)>,
}

impl Scene {
    /// A gradient with noise.
    fn new(random: &mut Random) -> Self {
        let (from, to) = (random.color(), random.color());
        let photo = RgbImage::from_fn(SIZE.width, SIZE.height, |x, _| {
            let t = f64::from(x) / f64::from(SIZE.width);
            Rgb(std::array::from_fn(|c| {
                let mixed = f64::from(from[c]) * (1.0 - t) + f64::from(to[c]) * t;
                (mixed * 0.5 + random.unit() * 30.0) as u8
            }))
        });
        Self {
            photo,
            objects: Vec::new(),
        }
    }

    /// Draws a shape somewhere, over what is there.
    fn add(&mut self, shape: usize, random: &mut Random) {
        let radius = 14.0 + random.unit() * 18.0;
        let (x0, y0) = (
            radius + random.unit() * (f64::from(SIZE.width) - 2.0 * radius),
            radius + random.unit() * (f64::from(SIZE.height) - 2.0 * radius),
        );
        let turn = random.unit() * std::f64::consts::TAU;
        let color = random.color().map(|c| 120 + c / 2);
        let mut pixels = vec![0u8; (SIZE.width * SIZE.height) as usize];
        for (at, (x, y, pixel)) in self.photo.enumerate_pixels_mut().enumerate() {
            let (dx, dy) = ((f64::from(x) - x0) / radius, (f64::from(y) - y0) / radius);
            let (u, v) = (
                dx * turn.cos() + dy * turn.sin(),
                dy * turn.cos() - dx * turn.sin(),
            );
            if !inside(shape, u, v) {
                continue;
            }
            pixels[at] = 1;
            *pixel = Rgb(color.map(|c| c.saturating_sub(random.below(16) as u8)));
            for (_, earlier) in &mut self.objects {
                earlier[at] = 0;
            }
        }
        self.objects.push((shape, pixels));
    }
}

/// Whether a point of the unit disc's frame lies in a shape.
fn inside(shape: usize, u: f64, v: f64) -> bool {
    let r = u.hypot(v);
    match SHAPES[shape].0 {
        "disc" => r <= 1.0,
        "ring" => (0.5..=1.0).contains(&r),
        "square" => u.abs().max(v.abs()) <= 0.7,
        "triangle" => v <= 0.5 && v >= -1.0 + 1.732 * u.abs(),
        _ => {
            // Five points: the radius swings between 0.45 and 1.
            let phase = (v.atan2(u) * 5.0 / std::f64::consts::TAU).rem_euclid(1.0);
            r <= 0.45 + 0.55 * (1.0 - 2.0 * phase).abs()
        }
    }
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    fn color(&mut self) -> [u8; 3] {
        std::array::from_fn(|_| self.below(256) as u8)
    }
}
