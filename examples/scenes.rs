//! Makes the demo's photos: generated scenes with labels and exact masks.
//!
//! ```text
//! cargo run --example scenes -- DIR
//! ```
//!
//! `DIR/train/<kind>/` holds 200 images of one object each, labelled by folder; `DIR/test/` holds 60
//! images of two to four objects that may hide one another, annotated in `DIR/test.json` (COCO, RLE).
//! The same images come out every time.

use std::path::Path;

use grainstore::geometry::Rle;
use grainstore::scenes::{Kind, Scene, SceneGenerator};
use serde_json::{Value, json};

const TRAIN: usize = 200;
const TEST: usize = 60;
/// Photos' longer sides, in pixels.
const LONGEST: std::ops::RangeInclusive<u32> = 160..=224;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: scenes DIR")?;
    let dir = Path::new(&dir);
    let mut generator = SceneGenerator::new(2024);
    for n in 0..TRAIN {
        let kind = Kind::ALL[n % Kind::ALL.len()];
        let folder = dir.join("train").join(kind.name());
        std::fs::create_dir_all(&folder)?;
        let size = generator.size(LONGEST);
        let scene = generator.scene(size, &[kind]);
        scene.photo.save(folder.join(format!("{n:03}.png")))?;
    }

    let folder = dir.join("test");
    std::fs::create_dir_all(&folder)?;
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for n in 1..=TEST {
        let size = generator.size(LONGEST);
        let count = generator.count(2..=4);
        let kinds = generator.kinds(count);
        let scene = generator.scene(size, &kinds);
        let file_name = format!("{n:03}.png");
        scene.photo.save(folder.join(&file_name))?;
        images.push(
            json!({"id": n, "file_name": file_name, "width": size.width, "height": size.height}),
        );
        annotate(&scene, n, &mut annotations)?;
    }
    let categories: Vec<_> = Kind::ALL
        .iter()
        .zip(1..)
        .map(|(kind, id)| json!({"id": id, "name": kind.name(), "supercategory": kind.group()}))
        .collect();
    let data_set = json!({
        "info": {"description": "grainstore demo scenes"}, "licenses": [],
        "images": images, "annotations": annotations, "categories": categories,
    });
    std::fs::write(dir.join("test.json"), serde_json::to_vec(&data_set)?)?;
    println!(
        "{TRAIN} training and {TEST} test images in '{}'",
        dir.display()
    );
    Ok(())
}

/// Adds a COCO annotation for each object of a scene.
fn annotate(scene: &Scene, image: usize, annotations: &mut Vec<Value>) -> grainstore::Result<()> {
    let size = scene.size();
    for object in &scene.objects {
        let mask = Rle::from_row_major(size, &object.mask)?;
        annotations.push(json!({
            "id": annotations.len() + 1, "image_id": image, "iscrowd": 0,
            "category_id": Kind::ALL.iter().position(|kind| *kind == object.kind).map(|n| n + 1),
            "segmentation": {"size": [size.height, size.width], "counts": mask.to_counts_string()},
            "area": mask.area(), "bbox": mask.bbox().to_xywh(),
        }));
    }
    Ok(())
}
