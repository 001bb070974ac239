//! COCO's greedy matching of detections with annotated objects (pycocotools: `COCOeval.evaluateImg`).
//!
//! In: the detections and objects of one class in one image, and their IoUs. Out: the object that each detection
//! matched, at every IoU threshold and in every area range.

use super::overlap::IouMatrix;

/// IoU thresholds: 0.5, 0.55, ..., 0.95, rounded as by `numpy.linspace`.
pub const IOU_THRESHOLDS: [f64; 10] = iou_thresholds();

/// Area ranges: name, minimum and maximum area in square pixels, both inclusive.
pub const AREA_RANGES: [(&str, f64, f64); 4] = [
    ("all", 0.0, 1e10),
    ("small", 0.0, 1024.0),
    ("medium", 1024.0, 9216.0),
    ("large", 9216.0, 1e10),
];

/// Maximum number of detections per class and image. Those with lower scores are not evaluated (`maxDets[-1]`).
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

/// The values of a detection that matching needs besides IoUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Confidence; higher is more confident.
    pub score: f64,
    /// Area in square pixels.
    pub area: f64,
}

/// The values of an annotated object that matching needs besides IoUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth {
    /// Area in square pixels, as annotated.
    pub area: f64,
    /// Whether it is a crowd. A crowd may be matched any number of times, and missing it is no error.
    pub iscrowd: bool,
}

/// The result for a detection in one area range. Bit `t` of a bit set belongs to [`IOU_THRESHOLDS`]`[t]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Index of the detection.
    pub detection: usize,
    /// Position of the detection by falling score, counted from 0.
    pub rank: usize,
    /// Index into [`AREA_RANGES`].
    pub area_range: usize,
    /// Bit set of thresholds at which it matched an object, including crowds and objects outside the range.
    pub matched: u16,
    /// Bit set of thresholds at which it counts neither for nor against: it matched a crowd or an object outside the
    /// range, or it matched nothing and is outside the range itself.
    pub ignored: u16,
    /// The object matched at the first threshold.
    pub truth: Option<usize>,
}

/// Matches the detections of one class in one image with its objects.
///
/// Detections are taken by falling score, and in the given order for equal scores. Each takes the free object with the
/// highest IoU at or above the threshold. Objects that count come before those that do not; of equal IoUs, the last one
/// wins. `ious` has a row per detection and a column per object. Results that are ignored at every threshold are left
/// out, because no metric depends on them.
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

/// The bits of all thresholds.
const ALL: u16 = (1 << IOU_THRESHOLDS.len()) - 1;

/// The objects of an image and class.
struct Objects<'a> {
    ious: &'a IouMatrix,
    truths: &'a [Truth],
    order: Vec<usize>,
    /// Number of objects at the start of `order` that count.
    counting: usize,
}

impl Objects<'_> {
    /// The object that a detection takes, and whether that object counts.
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
        // The IoUs with an object of 100 x 100 are 0.8 and 0.9.
        let found = run(&[(80.0, 0.9), (90.0, 0.8)], &[(100.0, false)]);
        let all: Vec<&Match> = found.iter().filter(|it| it.area_range == 0).collect();
        assert_eq!(
            (all[0].detection, all[0].rank, all[0].truth),
            (0, 0, Some(0))
        );
        // The first matches at 0.5 to 0.8; the second at the remaining 0.85 and 0.9.
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
        // The crowd IoU of a detection inside a crowd is 1.
        assert!(found.is_empty(), "{found:?}");
        // An object that counts comes before a crowd, even if the crowd overlaps more.
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
