//! COCO's greedy matching of detections with annotated objects (pycocotools: `COCOeval.evaluateImg`).
//!
//! In: the detections and objects of one class in one image, and their overlaps. Out: of each detection
//! which objects it found, at every IoU threshold and in every area range.

use super::overlap::IouMatrix;

/// IoU thresholds: 0.5, 0.55, ..., 0.95, as `numpy.linspace` rounds them.
pub const IOU_THRESHOLDS: [f64; 10] = iou_thresholds();

/// Area ranges: name, least and greatest area in pixels, both inside.
pub const AREA_RANGES: [(&str, f64, f64); 4] = [
    ("all", 0.0, 1e10),
    ("small", 0.0, 1024.0),
    ("medium", 1024.0, 9216.0),
    ("large", 9216.0, 1e10),
];

/// Detections of a class in an image that count; those of lower scores do not (`maxDets[-1]`).
pub const MAX_DETECTIONS: usize = 100;

#[allow(
    clippy::indexing_slicing,
    reason = "computed while compiling, where `at` is below 9"
)]
const fn iou_thresholds() -> [f64; 10] {
    let step = (0.95 - 0.5) / 9.0;
    let mut thresholds = [0.95; 10];
    let mut at = 0;
    while at < 9 {
        thresholds[at] = at as f64 * step + 0.5;
        at += 1;
    }
    thresholds
}

/// A detection, beside its shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Its score; greater is surer.
    pub score: f64,
    /// Its area in pixels.
    pub area: f64,
}

/// An annotated object, beside its shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth {
    /// Its area in pixels, as annotated.
    pub area: f64,
    /// Whether it is a crowd: it may be found any number of times, and need not be.
    pub iscrowd: bool,
}

/// What became of a detection in one area range. Bit `t` of a set stands for [`IOU_THRESHOLDS`]`[t]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Index of the detection.
    pub detection: usize,
    /// How many detections of the image and class have a greater score.
    pub rank: usize,
    /// Index into [`AREA_RANGES`].
    pub area_range: usize,
    /// Thresholds at which it found an object that counts, or would if it were not ignored.
    pub matched: u16,
    /// Thresholds at which it neither counts for nor against: it found a crowd or an object outside the
    /// range, or nothing and is outside the range itself.
    pub ignored: u16,
    /// The object found at the first threshold.
    pub truth: Option<usize>,
}

/// Matches the detections of one class in one image with its objects.
///
/// Detections are taken by falling score, equal scores in the order given, and each takes the object of the
/// greatest IoU at or above the threshold that is still free, objects that count before those that do not,
/// of equal IoU the last. `ious` has a row per detection and a column per object. A match that is ignored at
/// every threshold is left out, since nothing can depend on it.
pub fn match_detections(
    ious: &IouMatrix,
    detections: &[Detection],
    truths: &[Truth],
) -> Vec<Match> {
    let mut order: Vec<usize> = (0..detections.len()).collect();
    let score = |at: usize| detections.get(at).map_or(f64::NEG_INFINITY, |it| it.score);
    order.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
    order.truncate(MAX_DETECTIONS);
    let mut matches = Vec::with_capacity(2 * order.len());
    for (area_range, (_, least, greatest)) in AREA_RANGES.iter().enumerate() {
        let outside = |area: f64| area < *least || area > *greatest;
        let is_ignored = |truth: &Truth| truth.iscrowd || outside(truth.area);
        let (counting, others): (Vec<usize>, Vec<usize>) =
            (0..truths.len()).partition(|at| truths.get(*at).is_some_and(|it| !is_ignored(it)));
        let objects = Objects {
            ious,
            truths,
            counting: counting.len(),
            order: counting.into_iter().chain(others).collect(),
        };
        let first = matches.len();
        matches.extend(order.iter().enumerate().map(|(rank, detection)| Match {
            detection: *detection,
            rank,
            area_range,
            matched: 0,
            ignored: 0,
            truth: None,
        }));
        for (bit, threshold) in IOU_THRESHOLDS.iter().enumerate() {
            let mut taken = vec![false; truths.len()];
            for found in matches.iter_mut().skip(first) {
                let ignored = match objects.best(found.detection, *threshold, &taken) {
                    Some((truth, counts)) => {
                        if let Some(taken) = taken.get_mut(truth) {
                            *taken = true;
                        }
                        if bit == 0 {
                            found.truth = Some(truth);
                        }
                        found.matched |= 1 << bit;
                        !counts
                    }
                    None => detections
                        .get(found.detection)
                        .is_some_and(|it| outside(it.area)),
                };
                found.ignored |= u16::from(ignored) << bit;
            }
        }
    }
    matches.retain(|found| found.ignored != ALL);
    matches
}

/// Every threshold.
const ALL: u16 = (1 << IOU_THRESHOLDS.len()) - 1;

/// The objects of an image and class, those that count first.
struct Objects<'a> {
    ious: &'a IouMatrix,
    truths: &'a [Truth],
    order: Vec<usize>,
    /// How many of `order` count.
    counting: usize,
}

impl Objects<'_> {
    /// The object that a detection takes, and whether it counts.
    fn best(&self, detection: usize, threshold: f64, taken: &[bool]) -> Option<(usize, bool)> {
        let ious = self.ious.row(detection);
        let mut least = threshold.min(1.0 - 1e-10);
        let mut best: Option<(usize, bool)> = None;
        for (place, truth) in self.order.iter().enumerate() {
            let counts = place < self.counting;
            if !counts && best.is_some_and(|(_, counts)| counts) {
                break;
            }
            let iscrowd = self.truths.get(*truth).is_some_and(|it| it.iscrowd);
            if taken.get(*truth) == Some(&true) && !iscrowd {
                continue;
            }
            let iou = ious.get(*truth).copied().unwrap_or(0.0);
            if iou >= least {
                least = iou;
                best = Some((*truth, counts));
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::super::bbox::BBox;
    use super::super::overlap::pairwise_box_iou;
    use super::*;

    fn boxes(sides: &[f64]) -> Vec<BBox> {
        sides
            .iter()
            .map(|side| BBox::from_xywh([0.0, 0.0, 100.0, *side]))
            .collect()
    }

    fn run(found: &[(f64, f64)], truth: &[(f64, bool)]) -> Vec<Match> {
        let (found_boxes, truth_boxes): (Vec<f64>, Vec<f64>) = (
            found.iter().map(|(side, _)| *side).collect(),
            truth.iter().map(|(side, _)| *side).collect(),
        );
        let crowd: Vec<bool> = truth.iter().map(|(_, crowd)| *crowd).collect();
        let ious = pairwise_box_iou(&boxes(&found_boxes), &boxes(&truth_boxes), &crowd).unwrap();
        let detections: Vec<Detection> = found
            .iter()
            .map(|(side, score)| Detection {
                score: *score,
                area: side * 100.0,
            })
            .collect();
        let truths: Vec<Truth> = truth
            .iter()
            .map(|(side, iscrowd)| Truth {
                area: side * 100.0,
                iscrowd: *iscrowd,
            })
            .collect();
        match_detections(&ious, &detections, &truths)
    }

    #[test]
    fn thresholds_are_numpys() {
        let expected = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];
        for (ours, theirs) in IOU_THRESHOLDS.iter().zip(expected) {
            assert!((ours - theirs).abs() < 1e-15, "{ours} {theirs}");
        }
    }

    #[test]
    fn the_surest_detection_takes_the_object() {
        // IoU 0.8 and 0.9 with one object of 100 x 100.
        let found = run(&[(80.0, 0.9), (90.0, 0.8)], &[(100.0, false)]);
        let all: Vec<&Match> = found.iter().filter(|it| it.area_range == 0).collect();
        assert_eq!(
            (all[0].detection, all[0].rank, all[0].truth),
            (0, 0, Some(0))
        );
        // 0.5 to 0.8 for the first; what it leaves, 0.85 and 0.9, for the second.
        assert_eq!(all[0].matched.count_ones(), 7);
        assert_eq!(all[1].matched, 0b0110000000);
        assert!(
            found
                .iter()
                .all(|it| it.area_range == 0 || it.area_range == 3 || it.area_range == 2)
        );
    }

    #[test]
    fn crowds_take_any_number_and_count_for_nothing() {
        let found = run(&[(50.0, 0.9), (60.0, 0.8)], &[(100.0, true)]);
        // The shared part of a detection in a crowd is all of it.
        assert!(found.is_empty(), "{found:?}");
        // An object that counts goes before a crowd, even one that overlaps more.
        let found = run(&[(80.0, 0.9)], &[(100.0, false), (100.0, true)]);
        let all: Vec<&Match> = found.iter().filter(|it| it.area_range == 0).collect();
        assert_eq!((all[0].truth, all[0].ignored), (Some(0), 0b1110000000));
    }

    #[test]
    fn only_a_hundred_count() {
        let many: Vec<(f64, f64)> = (0..120).map(|n| (100.0, f64::from(n))).collect();
        let found = run(&many, &[(100.0, false)]);
        let all: Vec<&Match> = found.iter().filter(|it| it.area_range == 0).collect();
        assert_eq!(all.len(), 100);
        assert_eq!((all[0].detection, all[0].matched), (119, ALL));
        assert!(
            all[1..]
                .iter()
                .all(|it| it.matched == 0 && it.detection >= 20)
        );
    }
}
