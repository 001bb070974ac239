//! Joins the masks of one object that seams between tiles have cut.
//!
//! Neighbouring tiles overlap, so an object at a seam has a mask in both. Within the overlap both masks show the same pixels of
//! it: two masks are of one object if they agree there. Their union then is one mask, with the embedding of the greatest part.
//! A tile often has several masks of an object. One of them is joined with those of other tiles; the others, if the tile's edge cuts
//! them, are masks of their own with what these have of the object beyond the tile.

use std::collections::{BTreeMap, BTreeSet};

use super::generated::GeneratedMask;
use super::grid::Crop;
use crate::Result;
use crate::geometry::{BBox, Pixel, Rle, Size};

/// Minimum IoU, within the overlap of two tiles, of masks of one object.
const SAME_OBJECT: f64 = 0.5;

/// Masks of tiles of an image, with those joined that are of one object. They come in the order of the first of their parts.
pub(super) fn join(masks: Vec<GeneratedMask>, image: Size) -> Result<Vec<GeneratedMask>> {
    let mut tiles: Vec<(Crop, Vec<usize>)> = Vec::new();
    let mut groups = Groups::default();
    for (at, mask) in masks.iter().enumerate() {
        match tiles.last_mut() {
            Some((tile, of_tile)) if *tile == mask.crop => of_tile.push(at),
            _ => tiles.push((mask.crop, vec![at])),
        }
        groups.add(tiles.len());
    }
    let mut pairs = Vec::new();
    for (number, (tile, of_tile)) in tiles.iter().enumerate() {
        for (other, of_other) in tiles.iter().skip(number + 1) {
            let Some(overlap) = Overlap::new(*tile, *other, image)? else {
                continue;
            };
            let [parts, others] = [of_tile, of_other].map(|of| overlap.parts(&masks, of));
            pairs.extend(alike(&parts?, &others?)?);
        }
    }
    // Those that agree best come first, then those of the same output; the order of equal ones stays that of the masks.
    let output = |at: usize| masks.get(at).map(|mask| mask.mask_output);
    pairs.sort_by(|a, b| {
        let differ = |pair: &Pair| output(pair.one) != output(pair.another);
        b.iou.total_cmp(&a.iou).then(differ(a).cmp(&differ(b)))
    });
    // The mask that agrees best with one that was joined with another of its tile.
    let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
    for Pair { one, another, .. } in pairs {
        if !groups.join(one, another) {
            taken.entry(one).or_insert(another);
            taken.entry(another).or_insert(one);
        }
    }
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..masks.len() {
        members.entry(groups.first_of(at)).or_default().push(at);
    }
    let mut beyond: BTreeMap<usize, Rle> = BTreeMap::new();
    for (at, partner) in taken {
        let (Some(mask), Some([_])) = (masks.get(at), members.get(&at).map(Vec::as_slice)) else {
            continue;
        };
        if !is_cut(mask, image) {
            continue;
        }
        let others = members.get(&groups.first_of(partner)).into_iter().flatten();
        let others = others.filter_map(|other| masks.get(*other));
        let others = others.filter(|other| other.crop != mask.crop);
        beyond.insert(at, Rle::union_all(image, others.map(|other| &other.rle))?);
    }
    let mut masks: Vec<Option<GeneratedMask>> = masks.into_iter().map(Some).collect();
    let mut joined = Vec::with_capacity(members.len());
    for (first, of_group) in members {
        let parts = of_group.iter();
        let parts: Vec<GeneratedMask> = parts.filter_map(|at| masks.get_mut(*at)?.take()).collect();
        let rles = parts.iter().map(|mask| &mask.rle);
        let whole = Rle::union_all(image, rles.chain(beyond.get(&first)))?;
        // Of equal parts, the first.
        let greatest = parts.into_iter().reduce(|greatest, next| {
            if next.rle.area() > greatest.rle.area() {
                next
            } else {
                greatest
            }
        });
        joined.extend(greatest.map(|mask| GeneratedMask { rle: whole, ..mask }));
    }
    Ok(joined)
}

/// Whether a mask reaches an edge of its tile that is within the image.
fn is_cut(mask: &GeneratedMask, image: Size) -> bool {
    let tile = mask.crop;
    let [left, top, right, bottom] = mask.rle.bbox().to_xyxy();
    let [begin_x, begin_y, end_x, end_y] =
        [tile.left, tile.top, tile.right, tile.bottom].map(f64::from);
    (tile.left > 0 && left <= begin_x)
        || (tile.top > 0 && top <= begin_y)
        || (tile.right < image.width && right >= end_x)
        || (tile.bottom < image.height && bottom >= end_y)
}

/// The pixels that two tiles share.
struct Overlap {
    bbox: BBox,
    pixels: Rle,
}

/// A mask within an overlap.
struct Part {
    mask: usize,
    bbox: BBox,
    pixels: Rle,
}

impl Overlap {
    fn new(one: Crop, another: Crop, image: Size) -> Result<Option<Self>> {
        let left = one.left.max(another.left);
        let top = one.top.max(another.top);
        let width = one.right.min(another.right).saturating_sub(left);
        let height = one.bottom.min(another.bottom).saturating_sub(top);
        if width == 0 || height == 0 {
            return Ok(None);
        }
        let origin = Pixel { x: left, y: top };
        let pixels = Rle::full(Size { height, width })?.place_in(image, origin)?;
        Ok(Some(Self {
            bbox: pixels.bbox(),
            pixels,
        }))
    }

    /// What some masks have of the overlap.
    fn parts(&self, masks: &[GeneratedMask], which: &[usize]) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for at in which {
            let Some(mask) = masks.get(*at) else {
                continue;
            };
            if mask.rle.bbox().intersection(self.bbox) <= 0.0 {
                continue;
            }
            let pixels = mask.rle.intersection(&self.pixels)?;
            if !pixels.is_empty() {
                parts.push(Part {
                    mask: *at,
                    bbox: pixels.bbox(),
                    pixels,
                });
            }
        }
        Ok(parts)
    }
}

/// Masks of two tiles that agree within their overlap.
struct Pair {
    iou: f64,
    one: usize,
    another: usize,
}

fn alike(parts: &[Part], others: &[Part]) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for part in parts {
        for other in others {
            if part.bbox.intersection(other.bbox) <= 0.0 {
                continue;
            }
            let iou = part.pixels.iou(&other.pixels)?;
            if iou >= SAME_OBJECT {
                pairs.push(Pair {
                    iou,
                    one: part.mask,
                    another: other.mask,
                });
            }
        }
    }
    Ok(pairs)
}

/// Masks that are of one object, at most one of each tile.
#[derive(Default)]
struct Groups {
    /// The number of a mask of the same group, which for its first mask is its own.
    towards_first: Vec<usize>,
    /// The tiles of a group, by its first mask.
    tiles: BTreeMap<usize, BTreeSet<usize>>,
}

impl Groups {
    /// Adds a mask of a tile as a group of its own.
    fn add(&mut self, tile: usize) {
        let mask = self.towards_first.len();
        self.towards_first.push(mask);
        self.tiles.insert(mask, BTreeSet::from([tile]));
    }

    /// The first mask of a mask's group.
    fn first_of(&self, mask: usize) -> usize {
        let mut at = mask;
        while let Some(next) = self.towards_first.get(at).filter(|next| **next != at) {
            at = *next;
        }
        at
    }

    /// Joins the groups of two masks, unless both have masks of the same tile. Returns whether they are one group now.
    fn join(&mut self, one: usize, another: usize) -> bool {
        let [one, another] = [one, another].map(|mask| self.first_of(mask));
        let (first, later) = (one.min(another), one.max(another));
        let [of_first, of_later] = [first, later].map(|group| self.tiles.get(&group));
        let (Some(of_first), Some(of_later)) = (of_first, of_later) else {
            return first == later;
        };
        if first == later || !of_first.is_disjoint(of_later) {
            return first == later;
        }
        let all = of_first | of_later;
        self.tiles.remove(&later);
        self.tiles.insert(first, all);
        if let Some(towards) = self.towards_first.get_mut(later) {
            *towards = first;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Size = Size {
        height: 20,
        width: 50,
    };

    fn tile(left: u32, right: u32) -> Crop {
        Crop {
            left,
            top: 0,
            right,
            bottom: IMAGE.height,
            layer: 0,
        }
    }

    /// A rectangle as XYXY, found in a tile.
    fn mask(crop: Crop, [left, top, right, bottom]: [u32; 4], embedding: f32) -> GeneratedMask {
        let size = Size {
            height: bottom - top,
            width: right - left,
        };
        let origin = Pixel { x: left, y: top };
        GeneratedMask {
            rle: Rle::full(size).unwrap().place_in(IMAGE, origin).unwrap(),
            predicted_iou: 0.9,
            stability_score: 0.9,
            point: [f64::from(left), f64::from(top)],
            crop,
            mask_output: 1,
            object_score: None,
            embedding: vec![embedding],
            neck: None,
        }
    }

    fn found(masks: Vec<GeneratedMask>) -> Vec<([f64; 4], f32)> {
        let joined = join(masks, IMAGE).unwrap().into_iter();
        joined
            .map(|mask| (mask.rle.bbox().to_xyxy(), mask.embedding[0]))
            .collect()
    }

    #[test]
    fn parts_of_an_object_become_one_mask_with_the_embedding_of_the_greatest() {
        let [first, second, third] = [tile(0, 20), tile(15, 35), tile(30, 50)];
        let masks = vec![
            mask(first, [10, 5, 20, 10], 1.0),
            // Another object at the same seam, of other rows.
            mask(first, [12, 14, 20, 18], 2.0),
            mask(second, [15, 5, 35, 10], 3.0),
            mask(second, [15, 0, 18, 3], 4.0),
            mask(third, [30, 5, 42, 10], 5.0),
        ];
        let expected = [
            ([10.0, 5.0, 42.0, 10.0], 3.0),
            ([12.0, 14.0, 20.0, 18.0], 2.0),
            ([15.0, 0.0, 18.0, 3.0], 4.0),
        ];
        assert_eq!(found(masks), expected);
    }

    #[test]
    fn masks_of_one_tile_are_not_joined_and_none_of_them_is_cut() {
        let [first, second] = [tile(0, 20), tile(15, 35)];
        // All masks of the first tile agree with that of the second. The best one is joined; the tile's edge cuts the next, which gets
        // the rest of the object, and does not cut the last.
        let masks = vec![
            mask(first, [10, 5, 20, 12], 1.0),
            mask(first, [10, 5, 20, 10], 2.0),
            mask(first, [10, 5, 19, 10], 4.0),
            mask(second, [15, 5, 30, 10], 3.0),
        ];
        let expected = [
            ([10.0, 5.0, 30.0, 12.0], 1.0),
            ([10.0, 5.0, 30.0, 10.0], 3.0),
            ([10.0, 5.0, 19.0, 10.0], 4.0),
        ];
        assert_eq!(found(masks), expected);
    }

    #[test]
    fn an_object_that_two_tiles_see_whole_is_there_once() {
        let [first, second] = [tile(0, 20), tile(10, 35)];
        let masks = vec![
            mask(first, [12, 5, 18, 10], 1.0),
            mask(second, [12, 5, 18, 11], 2.0),
            mask(second, [25, 5, 30, 10], 3.0),
        ];
        let expected = [
            ([12.0, 5.0, 18.0, 11.0], 2.0),
            ([25.0, 5.0, 30.0, 10.0], 3.0),
        ];
        assert_eq!(found(masks), expected);
    }
}
