//! Draws masks for the steps of training: decks that are shuffled anew when all have been dealt, and labelled masks.

use super::mask_labels::{LabelledMask, MaskClass};
use super::mil::{KnownMask, KnownOutput};
use super::train_options::Balance;

/// Maximum weight of a class's masks, as a multiple of their share, so that one with few masks does not decide.
const MAX_WEIGHT: f64 = 10.0;
/// Of a step's labelled masks, at most one in this many only says what it does not show.
const NOT_SHARE: usize = 4;

/// Numbers in random order, shuffled anew when all have been dealt.
pub(super) struct Deck {
    order: Vec<usize>,
    next: usize,
}

impl Deck {
    pub fn new(count: usize) -> Self {
        Self {
            order: (0..count).collect(),
            next: count,
        }
    }

    /// The next numbers, at most as many as there are.
    pub fn deal(&mut self, count: usize, random: &mut fastrand::Rng) -> Vec<usize> {
        let mut dealt = Vec::with_capacity(count);
        while dealt.len() < count.min(self.order.len()) {
            if self.next >= self.order.len() {
                random.shuffle(&mut self.order);
                self.next = 0;
            }
            let until = (self.next + count - dealt.len()).min(self.order.len());
            dealt.extend(self.order.get(self.next..until).unwrap_or_default());
            self.next = until;
        }
        dealt
    }
}

/// Some of the labelled masks: rows of the embeddings with what is known of each, and the order in which they come.
struct Pile {
    masks: Vec<(u32, KnownOutput)>,
    deck: Deck,
}

/// Draws labelled masks: as many that show a class as show none and, beside them, some of which only is known what they
/// do not show.
pub(super) struct LabelledDraw {
    piles: [Pile; 3],
    /// Weight of each class's masks.
    weights: Vec<f64>,
    /// Classes that none of the masks shows.
    without: Vec<usize>,
    random: fastrand::Rng,
}

impl LabelledDraw {
    /// Draws among some masks, for a head of so many classes, whose next output is that of the background.
    pub fn new<'m>(
        masks: impl Iterator<Item = &'m LabelledMask>,
        classes: usize,
        balance: Balance,
        seed: u64,
    ) -> Self {
        let (mut objects, mut background, mut not) = (Vec::new(), Vec::new(), Vec::new());
        let mut counts = vec![0usize; classes];
        for mask in masks {
            match &mask.class {
                MaskClass::Shows(class) => {
                    if let Some(count) = counts.get_mut(*class) {
                        *count += 1;
                    }
                    objects.push((mask.row, KnownOutput::Is(*class)));
                }
                MaskClass::Background => {
                    background.push((mask.row, KnownOutput::Is(classes)));
                }
                MaskClass::ShowsNot(denied) => {
                    not.push((mask.row, KnownOutput::IsNot(denied.clone())));
                }
            }
        }
        Self {
            piles: [objects, background, not].map(|masks| Pile {
                deck: Deck::new(masks.len()),
                masks,
            }),
            weights: class_weights(&counts, balance),
            without: (0..classes)
                .filter(|class| counts.get(*class) == Some(&0))
                .collect(),
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Whether there is none to draw.
    pub fn is_empty(&self) -> bool {
        self.piles.iter().all(|pile| pile.masks.is_empty())
    }

    /// So many masks of classes and of the background, or as many as there are, and some of which only is known what they
    /// do not show: their rows in the embeddings, and what is known of them.
    pub fn step(&mut self, objects: usize, background: usize) -> Vec<(u32, KnownMask)> {
        let not = (objects + background).div_ceil(NOT_SHARE);
        let mut drawn = Vec::with_capacity(objects + background + not);
        let counts = [objects, background, not];
        for (pile, count) in self.piles.iter_mut().zip(counts) {
            for at in pile.deck.deal(count, &mut self.random) {
                let Some((row, output)) = pile.masks.get(at) else {
                    continue;
                };
                let weight = match output {
                    KnownOutput::Is(class) => self.weights.get(*class).copied(),
                    KnownOutput::IsNot(_) => None,
                };
                let known = KnownMask {
                    output: output.clone(),
                    weight: weight.unwrap_or(1.0),
                };
                drawn.push((*row, known));
            }
        }
        drawn
    }

    /// Classes that none of the masks shows.
    pub fn classes_without_masks(&self) -> &[usize] {
        &self.without
    }

    /// Output of the background.
    pub fn background(&self) -> usize {
        self.weights.len()
    }
}

/// Makes the masks of classes weigh as much as those of the background, whose output is given, however many there are of
/// each.
pub(super) fn balance_halves(known: &mut [KnownMask], background: usize) {
    let is_background = |mask: &KnownMask| mask.output == KnownOutput::Is(background);
    let is_object =
        |mask: &KnownMask| matches!(mask.output, KnownOutput::Is(output) if output != background);
    let sum = |known: &[KnownMask], of: &dyn Fn(&KnownMask) -> bool| -> f64 {
        let weights = known.iter().filter(|mask| of(mask)).map(|mask| mask.weight);
        weights.sum()
    };
    let (objects, others) = (sum(known, &is_object), sum(known, &is_background));
    if objects <= 0.0 || others <= 0.0 {
        return;
    }
    let half = (objects + others) / 2.0;
    for mask in known {
        if is_object(mask) {
            mask.weight *= half / objects;
        } else if is_background(mask) {
            mask.weight *= half / others;
        }
    }
}

/// The weight of each class's masks, of which there are so many: 1 on average and, unless nothing is balanced, greater the
/// fewer masks the class has.
pub(super) fn class_weights(counts: &[usize], balance: Balance) -> Vec<f64> {
    if balance == Balance::None {
        return vec![1.0; counts.len()];
    }
    let seen = counts.iter().filter(|count| **count > 0).count().max(1);
    let share = counts.iter().sum::<usize>() as f64 / seen as f64;
    let weight = |count: &usize| f64::min(share / (*count as f64).max(1.0), MAX_WEIGHT);
    counts.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ImageId;

    #[test]
    fn rare_classes_weigh_more() {
        assert_eq!(class_weights(&[5, 1, 0], Balance::None), [1.0; 3]);
        assert_eq!(class_weights(&[5, 1, 0], Balance::Weights), [0.6, 3.0, 3.0]);
    }

    #[test]
    fn few_objects_weigh_as_much_as_much_background() {
        let mask = |output| KnownMask {
            output,
            weight: 1.0,
        };
        let is = |output| mask(KnownOutput::Is(output));
        let mut known = [
            is(0),
            is(2),
            is(2),
            is(2),
            mask(KnownOutput::IsNot(vec![1])),
        ];
        balance_halves(&mut known, 2);
        let weights = known.map(|mask| mask.weight);
        assert_eq!(weights, [2.0, 2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 1.0]);
        let mut only = [is(0), is(1)];
        balance_halves(&mut only, 2);
        assert_eq!(only.map(|mask| mask.weight), [1.0, 1.0]);
    }

    #[test]
    fn labelled_masks_come_by_halves() {
        let mask = |row, class| LabelledMask {
            image_id: ImageId::of_bytes(b"image"),
            mask_index: 0,
            class,
            row,
        };
        let masks: Vec<LabelledMask> = (0..40)
            .map(|row| match row {
                0 => mask(row, MaskClass::Shows(1)),
                1..=3 => mask(row, MaskClass::Shows(0)),
                4 => mask(row, MaskClass::ShowsNot(vec![0])),
                _ => mask(row, MaskClass::Background),
            })
            .collect();
        let mut draw = LabelledDraw::new(masks.iter(), 2, Balance::Weights, 7);
        assert!(!draw.is_empty());
        for _ in 0..9 {
            let drawn = draw.step(4, 4);
            let of = |output: &KnownOutput| {
                let same = drawn.iter().filter(|(_, known)| known.output == *output);
                same.count()
            };
            assert_eq!(
                [
                    KnownOutput::Is(0),
                    KnownOutput::Is(1),
                    KnownOutput::Is(2),
                    KnownOutput::IsNot(vec![0])
                ]
                .map(|output| of(&output)),
                [3, 1, 4, 1]
            );
            let rare = drawn.iter().find(|(row, _)| *row == 0).unwrap();
            assert_eq!(rare.1.weight, 2.0);
        }
        assert!(LabelledDraw::new([].iter(), 2, Balance::None, 0).is_empty());
    }
}
