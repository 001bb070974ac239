//! Which epoch of a training is kept, when it ends, and the weights that it starts from.

use grainstore::head::{CreateHead, Curve, Keep, Loss, TrainOptions, TrainRequest, load_head};
use safetensors::SafeTensors;

use crate::harness::Program;
use crate::made_store::{Made, made_in_directory};

const TREES: [(&str, &[&str]); 3] = [("oak", &["oak"]), ("elm", &["elm"]), ("ash", &["ash"])];
const EPOCHS: usize = 10;

/// `images` images of each of three classes whose masks cannot be told apart: a head can only learn its images by heart, which
/// makes it ever surer, and so ever worse, on others.
async fn alike(images: u32) -> (Made, TrainRequest) {
    let made = made_in_directory().await;
    made.add_classes(&["oak", "elm", "ash"], images, 0).await;
    let set = made.classes("trees", &TREES).await;
    let mut request = made.request("last", set).await;
    request.options = TrainOptions {
        loss: Some(Loss::Mil),
        hidden: vec![32, 16],
        dropout: 0.0,
        learning_rate: 0.01,
        epochs: Some(EPOCHS),
        validation: 0.3,
        ..request.options
    };
    (made, request)
}

/// The same training under another name, with other options.
fn with(
    request: &TrainRequest,
    name: &str,
    change: impl FnOnce(TrainOptions) -> TrainOptions,
) -> TrainRequest {
    TrainRequest {
        name: name.to_owned(),
        options: change(request.options.clone()),
        ..request.clone()
    }
}

async fn curves(made: &Made, head: &str) -> Vec<Curve> {
    let snapshot = made.store.snapshot().await.unwrap();
    let head = load_head(&snapshot, head).await.unwrap();
    serde_json::from_str(&head.row.curves).unwrap()
}

/// The validation loss of each epoch.
async fn validated(made: &Made, head: &str) -> Vec<f64> {
    let curves = curves(made, head).await.into_iter();
    curves.map(|curve| curve.validation_loss.unwrap()).collect()
}

fn least(losses: &[f64]) -> f64 {
    losses.iter().copied().fold(f64::INFINITY, f64::min)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_epoch_with_the_least_validation_loss_is_kept() {
    let (made, request) = alike(40).await;
    let last = made.train(request.clone()).await.unwrap();
    assert!(last.validation_images >= 20, "{last:?}");
    let losses = validated(&made, "last").await;
    assert_eq!(losses.len(), EPOCHS);
    assert_eq!(last.validation_loss, losses.last().copied());
    let best = losses.iter().position(|loss| *loss == least(&losses));
    let best = best.unwrap() + 1;
    assert!(best < EPOCHS, "{losses:?}");

    let keep = |name: &str, keep, epochs, patience| {
        with(&request, name, |options| TrainOptions {
            keep,
            epochs: Some(epochs),
            patience: Some(patience),
            ..options
        })
    };
    let kept = keep("best", Keep::Best, EPOCHS, 0);
    let kept = made.train(kept).await.unwrap();
    // Without patience it runs to the end, and is what a training that ends with that epoch gives.
    assert_eq!(validated(&made, "best").await, losses);
    assert_eq!(kept.validation_loss, Some(least(&losses)));
    made.train(keep("short", Keep::Last, best, 0))
        .await
        .unwrap();
    let weights = made.weights("best").await;
    assert!(weights == made.weights("short").await);
    assert!(weights != made.weights("last").await);

    // The second epoch in a row that is no better than those before ends it.
    let no_better = |at: &usize| least(&losses[at - 1..=*at]) >= least(&losses[..at - 1]);
    let end = (2..EPOCHS).find(no_better).unwrap();
    let patient = keep("patient", Keep::Best, EPOCHS, 2);
    let patient = made.train(patient).await.unwrap();
    assert_eq!(validated(&made, "patient").await, losses[..=end]);
    assert_eq!(patient.validation_loss, Some(least(&losses[..=end])));

    // The program does the same.
    let program = Program {
        file: env!("CARGO_BIN_EXE_grainstore").into(),
        store: made.dir.path().join("store"),
    };
    let words = "train --name typed --classes trees --loss mil --hidden 32,16 --dropout 0 -a 4 --batch-images 16 \
                 --learning-rate 0.01 --epochs 10 --validation 0.3 --keep best --patience 0";
    let words: Vec<&str> = words.split_whitespace().collect();
    program.expect(0, &words);
    assert!(weights == made.weights("typed").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_validation_images_do_not_choose_the_epoch() {
    let (made, request) = alike(40).await;
    let request = with(&request, "few", |options| TrainOptions {
        keep: Keep::Best,
        patience: Some(1),
        validation: 0.1,
        ..options
    });
    let few = made.train(request).await.unwrap();
    assert!((1..20).contains(&few.validation_images), "{few:?}");
    let losses = validated(&made, "few").await;
    assert_eq!(losses.len(), EPOCHS);
    assert_eq!(few.validation_loss, losses.last().copied());
    assert!(losses[EPOCHS - 1] > least(&losses), "{losses:?}");
}

#[test]
fn epochs_to_keep_are_words() {
    let parse = |keep: &str| {
        let sql = format!(
            "CREATE HEAD h USING CLASSES trees OPTIONS (keep = '{keep}', patience = 4) AS SELECT 1"
        );
        CreateHead::parse(&sql).map(|statement| statement.unwrap().options)
    };
    let options = parse("best").unwrap();
    assert_eq!((options.keep, options.patience), (Keep::Best, Some(4)));
    assert_eq!(parse("last").unwrap().keep, TrainOptions::default().keep);
    let message = parse("first").unwrap_err().to_string();
    assert!(
        message.contains("first") && message.contains("best"),
        "{message}"
    );
    let message = "first".parse::<Keep>().unwrap_err().to_string();
    assert!(message.contains("last or best"), "{message}");
}

/// The weights and biases of a head of one member, layer by layer.
async fn numbers(made: &Made, head: &str) -> Vec<f32> {
    let snapshot = made.store.snapshot().await.unwrap();
    let head = load_head(&snapshot, head).await.unwrap();
    let file = head.row.weights.unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let mut found = Vec::new();
    for layer in 0..3 {
        for part in ["weight", "bias"] {
            let tensor = tensors.tensor(&format!("layers.{layer}.{part}")).unwrap();
            let numbers = tensor.data().chunks_exact(4);
            found.extend(numbers.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_moves_the_initial_weights_as_its_seed_says() {
    let (made, request) = alike(10).await;
    let train = async |name: &str, noise, noise_seed, learning_rate| {
        let request = with(&request, name, |options| TrainOptions {
            initial_noise: noise,
            noise_seed,
            learning_rate,
            epochs: Some(2),
            ..options
        });
        made.train(request).await.unwrap();
        made.weights(name).await
    };
    let rate = request.options.learning_rate;
    let plain = train("plain", 0.0, 0, rate).await;
    assert!(train("none", 0.0, 5, rate).await == plain);
    let noisy = train("noisy", 1e-3, 5, rate).await;
    assert!(train("again", 1e-3, 5, rate).await == noisy);
    assert!(noisy != plain);
    assert!(train("other", 1e-3, 6, rate).await != noisy);
    assert!(train("more", 2e-3, 5, rate).await != noisy);
    let (with_noise, without) = (curves(&made, "noisy").await, curves(&made, "plain").await);
    assert!(with_noise[0].loss != without[0].loss);
    let snapshot = made.store.snapshot().await.unwrap();
    let spec = load_head(&snapshot, "noisy").await.unwrap().spec;
    assert_eq!(
        (spec.options.initial_noise, spec.options.noise_seed),
        (1e-3, 5)
    );

    // At this rate no step moves a weight, so that those of the start are stored.
    let still = 1e-30;
    train("start", 0.0, 0, still).await;
    train("shaken", 0.25, 5, still).await;
    let (start, shaken) = (
        numbers(&made, "start").await,
        numbers(&made, "shaken").await,
    );
    let pairs = start
        .iter()
        .zip(&shaken)
        .filter(|(start, _)| **start != 0.0);
    let factors: Vec<f64> = pairs
        .map(|(start, shaken)| f64::from(*shaken) / f64::from(*start))
        .collect();
    assert!(factors.len() > 30_000);
    // Uniform within a quarter of 1: of 30,000 numbers, some are near both ends, and the mean strays by about 0.001.
    assert!(factors.iter().all(|factor| (factor - 1.0).abs() < 0.250_01));
    assert!(factors.iter().any(|factor| *factor < 0.76));
    assert!(factors.iter().any(|factor| *factor > 1.24));
    let mean = factors.iter().sum::<f64>() / factors.len() as f64;
    assert!((mean - 1.0).abs() < 0.01, "{mean}");
}
