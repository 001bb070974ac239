//! The demo's model: what its training promised it still does.

use burn::tensor::Device;
use grainstore::extract::{Crop, MaskGenerator, MaskOptions, Tiling};
use grainstore::geometry::Rle;
use grainstore::models::sam::Checkpoint;
use grainstore::scenes::{Scene, SceneGenerator};

#[path = "../../tools/pretrain_demo_sam/measure.rs"]
mod measure;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/assets/demo/sam_demo.safetensors"
);

#[test]
fn one_click_finds_an_object_of_an_unseen_scene() {
    let model = Checkpoint::open(FILE)
        .unwrap()
        .load(&Device::flex())
        .unwrap();
    assert_eq!(model.config().image_size, 256);
    // Embeddings of the published size: a store needs no option for them.
    let tokens = model.config().decoder.mask_tokens();
    assert_eq!(tokens * model.config().prompt_dim, 1024);
    let measures = measure::over_unseen_scenes(&model, 20).unwrap();
    assert!(measures.objects >= 40, "{measures}");
    println!("{measures}");
    // What the file measured when it was made (assets/demo/README.md), less what 20 scenes may stray.
    assert!(
        measures.best >= 0.85 && measures.chosen >= 0.84,
        "{measures}"
    );
}

#[test]
fn the_file_stays_small() {
    assert!(std::fs::metadata(FILE).unwrap().len() < 8_000_000);
}

/// Objects of scenes that no tile holds whole, and the best IoU of each with a mask.
fn objects_at_seams(scenes: &[Scene], tiling: Tiling, options: &MaskOptions) -> Vec<f64> {
    let model = Checkpoint::open(FILE).unwrap();
    let model = model.load(&Device::flex()).unwrap();
    let generator = MaskGenerator::new(model, Device::flex(), options.clone(), 64).unwrap();
    let mut best = Vec::new();
    for scene in scenes {
        let size = scene.size();
        let masks = generator.generate(&scene.photo).unwrap();
        let tiles = tiling.tiles(size.width, size.height);
        for object in &scene.objects {
            let object = Rle::from_row_major(size, &object.mask).unwrap();
            let [left, top, right, bottom] = object.bbox().to_xyxy();
            let holds = |tile: &Crop| {
                let [first, last] = [tile.left, tile.right].map(f64::from);
                let [above, below] = [tile.top, tile.bottom].map(f64::from);
                first <= left && right <= last && above <= top && bottom <= below
            };
            if !tiles.iter().any(holds) {
                let iou = masks.iter().map(|mask| mask.rle.iou(&object).unwrap());
                best.push(iou.fold(0.0, f64::max));
            }
        }
    }
    best
}

/// Objects that every tile sees only a part of have masks as good as from the whole photo.
#[test]
fn tiles_give_objects_at_seams_their_whole_masks() {
    let mut generator = SceneGenerator::new(77);
    let scenes: Vec<Scene> = (0..8)
        .map(|_| {
            let size = generator.size(240..=256);
            let kinds = generator.kinds(3);
            generator.scene(size, &kinds)
        })
        .collect();
    let tiling = Tiling {
        side: 128,
        overlap: 32,
    };
    let whole = MaskOptions {
        points_per_side: 8,
        ..MaskOptions::default()
    };
    let tiled = MaskOptions {
        tile: Some(tiling),
        ..whole.clone()
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let [whole, tiled] = [whole, tiled].map(|it| objects_at_seams(&scenes, tiling, &it));
    println!(
        "{} objects at seams: mean IoU {:.3} in whole photos, {:.3} in tiles",
        tiled.len(),
        mean(&whole),
        mean(&tiled)
    );
    assert!(tiled.len() >= 8, "{}", tiled.len());
    assert!(mean(&tiled) >= mean(&whole) - 0.03, "{tiled:?} {whole:?}");
}
