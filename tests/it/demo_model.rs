//! The demo's model: what its training promised it still does.

use burn::tensor::Device;
use grainstore::models::sam::Checkpoint;

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
