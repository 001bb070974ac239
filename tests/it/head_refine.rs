//! Refined heads, negatives, members, and heads in training queries.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};
use grainstore::annotate::{AnnotateRequest, MapRule, Policy, annotate};
use grainstore::head::{
    CreateHead, Loss, Parent, TrainOptions, TrainRequest, TrainingMasks, TrainingQuery, load_head,
    register_predict,
};
use grainstore::progress::NoProgress;
use grainstore::query::{Query, QuerySession};
use grainstore::selection::ImageFilter;
use grainstore::sql::Sql;
use grainstore::store::rows::MaskRow;
use sha2::{Digest, Sha256};

use crate::made_store::{Made, Shown, made};

const CLASSES: [(&str, &[&str]); 3] = [("cat", &["cat"]), ("dog", &["dog"]), ("cow", &["cow"])];

/// 60 images of three classes; in each, three masks show its label and 5 to 9 show nothing.
async fn trained(options: impl Fn(TrainOptions) -> TrainOptions) -> (Made, TrainRequest) {
    let made = made().await;
    made.add_classes(&["cat", "dog", "cow"], 20, 0).await;
    let set = made.classes("three", &CLASSES).await;
    let mut request = made.request("h", set).await;
    request.options = options(TrainOptions {
        loss: Some(Loss::MilDistillRefine),
        epochs: Some(20),
        ..request.options
    });
    made.train(request.clone()).await.unwrap();
    (made, request)
}

/// One number of an SQL query.
async fn number(made: &Made, sql: &str) -> f64 {
    let rows = made.query(sql).await.unwrap();
    let column = rows[0].column(0);
    let of_kind = [
        column
            .as_primitive_opt::<Float64Type>()
            .map(|it| it.value(0)),
        column
            .as_primitive_opt::<Float32Type>()
            .map(|it| f64::from(it.value(0))),
        column
            .as_primitive_opt::<Int64Type>()
            .map(|it| it.value(0) as f64),
    ];
    of_kind.into_iter().flatten().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refined_head_knows_the_background() {
    let (made, _) = trained(|options| options).await;
    let snapshot = made.store.snapshot().await.unwrap();
    let head = load_head(&snapshot, "h").await.unwrap();
    assert_eq!(head.weights.widths().last(), Some(&4));
    let refined = head.spec.refined.unwrap();
    let masks = number(&made, "SELECT count(*) FROM masks").await as u64;
    // The three masks of a label are one pixel, the others another.
    assert_eq!(
        (refined.objects, refined.background, refined.ignored),
        (180, masks - 180, 0)
    );
    // The three images that validate show too few objects to fit a temperature to.
    assert_eq!(head.spec.temperatures, [1.0]);

    let of = |head: &str, which: &str| {
        format!(
            "SELECT avg(predict('{head}', embedding).score) FROM masks WHERE mask_index {which} 3"
        )
    };
    assert!(number(&made, &of("h", "<")).await > 0.9);
    assert!(number(&made, &of("h", ">=")).await < 0.1);
    // The student knows only classes, so it must call everything one of them.
    assert!(number(&made, &of("h.student", ">=")).await > 0.33);
    for label in ["cat", "dog", "cow"] {
        assert!(made.mask_accuracy("h", label).await > 0.95, "{label}");
    }
}

#[tokio::test]
async fn images_whose_surest_mask_is_called_another_class_are_left_out() {
    let made = made().await;
    let shown = [0, 1].map(|n| Shown {
        n,
        labels: &["cat"],
        masks: 8,
    });
    made.add_images(&shown).await;
    // Class 0 is the images'. Of image 0, mask 0 is surer of it than mask 3 is of class 1; of image 1, it is less sure.
    let surer = made.mask(0, 0).image_id;
    let scored = format!(
        "WITH scored_masks AS (
            SELECT image_id, extractor_id, mask_index, CASE WHEN mask_index = 3 THEN 1 ELSE 0 END AS class_index,
                   CASE WHEN mask_index <> 3 THEN 0.6 WHEN image_id = '{}' THEN 0.5 ELSE 0.7 END AS score,
                   mask_index <> 3 AS is_on_image
            FROM masks WHERE mask_index IN (0, 3)
        ), valued",
        surer.as_str()
    );
    let query = Query::named("train/refined_masks").unwrap();
    let query = query.sql().replacen("WITH valued", &scored, 1);
    let count = format!(
        "SELECT count(*), count(*) FILTER (WHERE image_id = '{}'), count(class_index) FROM ({query})",
        surer.as_str()
    );
    let found = made.query(&count).await.unwrap();
    let found: Vec<i64> = (0..3)
        .map(|at| found[0].column(at).as_primitive::<Int64Type>().value(0))
        .collect();
    // The three masks of one pixel are cats, the five of another are background.
    assert_eq!(found, [8, 8, 3]);
}

/// A mask: its image, and its index.
type Key = (String, i64);

fn keys(batch: &RecordBatch) -> Vec<Key> {
    let column = |name: &str, of: &DataType| cast(batch.column_by_name(name).unwrap(), of).unwrap();
    let (images, indices) = (
        column("image_id", &DataType::Utf8),
        column("mask_index", &DataType::Int64),
    );
    let (images, indices) = (
        images.as_string::<i32>(),
        indices.as_primitive::<Int64Type>(),
    );
    (0..batch.num_rows())
        .map(|row| (images.value(row).to_owned(), indices.value(row)))
        .collect()
}

/// The masks that the query of refinement picks by the predictions of 'h.student', with the class of each; `None`: background.
async fn picked(made: &Made) -> Vec<(Key, Option<usize>)> {
    let request = AnnotateRequest {
        head: "h.student".to_owned(),
        ..AnnotateRequest::default()
    };
    annotate(&made.store, &request, &NoProgress).await.unwrap();
    let snapshot = made.store.snapshot().await.unwrap();
    let session = QuerySession::new(&snapshot).await.unwrap();
    let query = Query::named("train/refined_masks").unwrap();
    let parameters = HashMap::from([("head".to_owned(), "h.student".to_owned())]);
    let mut rows = session.run(&query, &parameters).await.unwrap();
    let mut picked = Vec::new();
    while let Some(batch) = rows.next().await.unwrap() {
        let classes: ArrayRef = cast(
            batch.column_by_name("class_index").unwrap(),
            &DataType::Int64,
        )
        .unwrap();
        let classes = classes.as_primitive::<Int64Type>();
        let class = |row: usize| classes.is_valid(row).then(|| classes.value(row) as usize);
        let keys = keys(&batch).into_iter().enumerate();
        picked.extend(keys.map(|(row, key)| (key, class(row))));
    }
    picked
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_of_refinement_runs_over_stored_predictions() {
    let (made, _) = trained(|options| options).await;
    let picked = picked(&made).await;
    let objects = picked.iter().filter(|(_, class)| class.is_some()).count();
    let masks = number(&made, "SELECT count(*) FROM masks").await as usize;
    assert_eq!((objects, picked.len() - objects), (180, masks - 180));
}

/// Whether an image validates under seed 0: by a hash alone, so that it stays so when others are added.
fn validates(image_id: &str, share: f64) -> bool {
    let digest = Sha256::new()
        .chain_update(0u64.to_le_bytes())
        .chain_update(image_id)
        .finalize();
    let bytes = digest.iter().take(6);
    let place = bytes.fold(0f64, |sum, byte| sum * 256.0 + f64::from(*byte));
    place / 256f64.powi(6) < share
}

/// The squared error of masks' probabilities, of which each has the right output beside it, if their logits were multiplied by a
/// factor; objects and background, the last output, weigh half each.
fn squared_error(masks: &[(Vec<f64>, usize)], factor: f64) -> f64 {
    let is_object = |right: usize| right < CLASSES.len();
    let objects = masks.iter().filter(|it| is_object(it.1)).count();
    let of_mask = |(probabilities, right): &(Vec<f64>, usize)| {
        let powers: Vec<f64> = probabilities.iter().map(|p| p.powf(factor)).collect();
        let sum: f64 = powers.iter().sum();
        let errors = powers.iter().enumerate();
        let errors = errors.map(|(at, power)| power / sum - f64::from(u8::from(at == *right)));
        let alike = if is_object(*right) {
            objects
        } else {
            masks.len() - objects
        };
        errors.map(|error| error * error).sum::<f64>() / (2 * alike) as f64
    };
    masks.iter().map(of_mask).sum()
}

/// One of the three masks of each object shows nothing of it, so that a head must be wrong about it or about the background.
#[tokio::test(flavor = "multi_thread")]
async fn the_temperature_is_the_best_for_the_validation_masks() {
    let made = made().await;
    let labels = CLASSES.map(|(label, _)| label);
    let shown = (0..150).map(|n: u32| {
        let at = n as usize % labels.len();
        Shown {
            n,
            labels: &labels[at..=at],
            masks: 8 + n as usize % 5,
        }
    });
    let hide = |mask: &mut MaskRow| {
        if mask.mask_index == 2 {
            // Ones are added where a class is shown; the rest is below 0.3.
            let numbers = mask.embedding.iter_mut().flatten();
            numbers.filter(|x| **x > 0.5).for_each(|x| *x -= 1.0);
        }
    };
    made.add_images_with(&shown.collect::<Vec<_>>(), hide).await;
    let set = made.classes("three", &CLASSES).await;
    let mut request = made.request("h", set).await;
    let ids = (0..150).map(|n| crate::support::image(n).image_id);
    let validating = ids.filter(|id| validates(id.as_str(), 0.25)).count() as u64;
    let mut temperatures = Vec::new();
    for epochs in [10, 25] {
        request.options = TrainOptions {
            loss: Some(Loss::MilDistillRefine),
            hidden: vec![64, 32],
            epochs: Some(epochs),
            validation: 0.25,
            ..request.options
        };
        let summary = made.train(request.clone()).await.unwrap();
        assert_eq!(summary.validation_images, validating);
        let refined = summary.refined.unwrap();
        assert!(refined.objects >= 300, "{summary:?}");
        let picked = picked(&made).await;
        let objects = picked.iter().filter(|(_, class)| class.is_some()).count();
        assert_eq!(objects as u64, refined.objects);

        let sql =
            "SELECT image_id, mask_index, predict_scores('h', embedding) AS scores FROM masks";
        let mut scores: HashMap<Key, Vec<f64>> = HashMap::new();
        for batch in made.query(sql).await.unwrap() {
            let lists = batch.column_by_name("scores").unwrap().as_list::<i32>();
            for (row, key) in keys(&batch).into_iter().enumerate() {
                let of_classes = lists.value(row);
                let of_classes = of_classes.as_primitive::<Float32Type>().values();
                let mut all: Vec<f64> = of_classes.iter().map(|p| f64::from(*p)).collect();
                all.push((1.0 - all.iter().sum::<f64>()).max(0.0));
                scores.insert(key, all);
            }
        }
        let validating = picked
            .iter()
            .filter(|((image, _), _)| validates(image, 0.25));
        let masks: Vec<(Vec<f64>, usize)> = validating
            .map(|(key, class)| (scores[key].clone(), class.unwrap_or(CLASSES.len())))
            .collect();
        let objects = masks.iter().filter(|(_, right)| *right < CLASSES.len());
        assert!(objects.count() >= 90);

        let snapshot = made.store.snapshot().await.unwrap();
        let spec = load_head(&snapshot, "h").await.unwrap().spec;
        let [temperature] = spec.temperatures[..] else {
            panic!("{:?}", spec.temperatures)
        };
        // What is stored is calibrated: any other temperature, that of the raw logits too, has a greater error.
        let error = squared_error(&masks, 1.0);
        for factor in [0.8, 0.9, 1.1, 1.25, temperature] {
            let other = squared_error(&masks, factor);
            assert!(error < other, "{factor} of {temperature}: {error} {other}");
        }
        temperatures.push(temperature);
    }
    // A head of few passes is less sure than it is right.
    assert!(temperatures.iter().all(|it| *it < 0.8), "{temperatures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_no_class_are_background() {
    let (made, mut request) = trained(|options| options).await;
    made.add_images(&[
        // Labelled with a word outside the class set, with one inside it, and not at all.
        Shown {
            n: 900,
            labels: &["tree"],
            masks: 7,
        },
        Shown {
            n: 901,
            labels: &["cat"],
            masks: 7,
        },
        Shown {
            n: 902,
            labels: &[],
            masks: 7,
        },
    ])
    .await;
    let without = made.train(request.clone()).await.unwrap();
    assert_eq!((without.images, without.skipped.images_outside), (61, 1));
    let refined = without.refined.unwrap();

    let ids = [900, 901, 902].map(|n| format!("'{}'", crate::support::image(n).image_id));
    let negatives = format!("image_id IN ({})", ids.join(", "));
    let TrainingMasks::OfImages { chosen, .. } = &mut request.masks else {
        panic!("masks of images")
    };
    chosen.negatives = Some(ImageFilter::matching(negatives));
    let with = made.train(request.clone()).await.unwrap();
    // The image that is labelled with a class stays one of it.
    assert_eq!((with.images, with.skipped.images_outside), (63, 0));
    let found = with.refined.unwrap();
    assert_eq!(found.objects, refined.objects);
    assert_eq!(found.background, refined.background + 14);

    request.options.loss = Some(Loss::MilDistill);
    let distilled = made.train(request.clone()).await.unwrap();
    assert_eq!((distilled.images, distilled.refined), (63, None));
    *match &mut request.masks {
        TrainingMasks::OfImages { chosen, .. } => &mut chosen.negatives,
        TrainingMasks::Query(_) => panic!("masks of images"),
    } = Some(ImageFilter::matching("colour = 'red'"));
    let message = made.train(request).await.unwrap_err().to_string();
    assert!(message.contains("colour"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_averaged_in_one_row() {
    let (made, mut request) = trained(|options| TrainOptions {
        members: 3,
        ..options
    })
    .await;
    let three = made.weights("h").await;
    assert_eq!(three.members(), 3);
    assert_eq!(made.weights("h.teacher").await.members(), 3);
    request.name = "one".to_owned();
    request.options.members = 1;
    made.train(request.clone()).await.unwrap();
    let disagreement =
        |head: &str| format!("SELECT max(predict('{head}', embedding).disagreement) FROM masks");
    assert_eq!(number(&made, &disagreement("one")).await, 0.0);
    assert!(number(&made, &disagreement("h")).await > 1e-6);

    // The first member is what the same seed gives alone; the mean of all lies between the least and the greatest.
    let scores = |head: &str| {
        format!(
            "SELECT predict_scores('{head}', embedding)[1] FROM masks ORDER BY image_id, mask_index"
        )
    };
    let column = async |head: &str| -> Vec<f32> {
        let rows = made.query(&scores(head)).await.unwrap();
        let values = rows.iter().flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Float32Type>()
                .values()
                .to_vec()
        });
        values.collect()
    };
    let (mean, first) = (column("h").await, column("one").await);
    assert!(mean.iter().zip(&first).any(|(a, b)| a != b));
    let difference = mean
        .iter()
        .zip(&first)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(
        difference < 0.67,
        "the first member has a third of the say: {difference}"
    );

    // Continuing goes on with every member.
    request.name = "on".to_owned();
    request.options.members = 3;
    request.parent = Some(Parent {
        head: "h".to_owned(),
        replay: None,
    });
    made.train(request).await.unwrap();
    assert_eq!(made.weights("on").await.members(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn training_queries_may_call_heads() {
    let (made, _) = trained(|options| options).await;
    let sql = "CREATE HEAD again USING CLASSES three OPTIONS (epochs = 4, loss = 'mil') AS
        SELECT m.image_id, m.extractor_id, m.mask_index, m.embedding, l.label
        FROM masks m JOIN labels l ON m.image_id = l.image_id
        WHERE predict('h', m.embedding, m.extractor_id).score > 0.5";
    let statement = CreateHead::parse(sql).unwrap().unwrap();
    let request = |query: &str| TrainRequest {
        name: statement.name.clone(),
        classes: statement.class_set.clone(),
        masks: TrainingMasks::Query(TrainingQuery::new(query)),
        options: statement.options.clone(),
        ..TrainRequest::default()
    };
    let summary = made.train(request(&statement.query)).await.unwrap();
    assert!((170..=190).contains(&summary.masks), "{summary:?}");
    let missing = statement.query.replace("'h'", "'other'");
    let message = made.train(request(&missing)).await.unwrap_err().to_string();
    assert!(message.contains("'other'"), "{message}");

    // Bags that are not images of the store cannot be refined.
    let mut unknown = request(
        "SELECT md5(image_id) AS image_id, extractor_id, mask_index, embedding, label
        FROM masks JOIN labels USING (image_id)",
    );
    unknown.options.loss = Some(Loss::MilRefine);
    let message = made.train(unknown).await.unwrap_err().to_string();
    assert!(message.contains("nothing to refine"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn masks_vote_as_the_policy_says() {
    let (made, _) = trained(|options| options).await;
    let policy = |map| AnnotateRequest {
        head: "h".to_owned(),
        policy: Policy {
            map,
            score_threshold: 0.5,
            ..Policy::default()
        },
        ..AnnotateRequest::default()
    };
    annotate(&made.store, &policy(MapRule::Vote(0.2)), &NoProgress)
        .await
        .unwrap();
    let snapshot = made.store.snapshot().await.unwrap();
    let sql = Sql::new(&snapshot).await.unwrap();
    register_predict(&sql, &snapshot, "").await.unwrap();
    // Each mask is one pixel, so the vote of a pixel is the mean over its masks.
    let expected = sql
        .query(
            "WITH votes AS (
                 SELECT p.image_id, rle_bbox(m.rle) AS pixel, p.class_index, sum(p.score) AS score,
                        sum(count(*)) OVER (PARTITION BY p.image_id, rle_bbox(m.rle)) AS masks
                 FROM predictions p JOIN masks m USING (image_id, extractor_id, mask_index)
                 GROUP BY p.image_id, rle_bbox(m.rle), p.class_index
             ), placed AS (
                 SELECT *, row_number() OVER (PARTITION BY image_id, pixel ORDER BY score DESC, class_index) AS place FROM votes
             )
             SELECT count(*) FROM placed WHERE place = 1 AND score / masks >= 0.2",
        )
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let expected = expected[0].column(0).as_primitive::<Int64Type>().value(0);
    let map = sql
        .query(
            "SELECT sum(rle_area(part['rle'])) FROM (
                 SELECT unnest(semantic_map(m.rle, p.class_index, p.score, p.mask_index, 0.2)) AS part
                 FROM predictions p JOIN masks m USING (image_id, extractor_id, mask_index)
                 GROUP BY p.image_id)",
        )
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let found = map[0].column(0).as_primitive::<Int64Type>().value(0);
    assert!(expected > 50, "{expected}");
    assert_eq!(found, expected);
}
