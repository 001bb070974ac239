//! Generated photos whose objects are known: for demos, tests and small models.
//!
//! In: a seed, a size, kinds of objects. Out: RGB photos with textured backgrounds and objects of varying colour (each
//! kind has a most frequent hue), size and rotation that may hide one another, and the exact pixels that each object
//! shows. The same seed gives the same photos.

#![allow(
    clippy::indexing_slicing,
    reason = "pixels of canvases and masks of the size that is drawn"
)]

mod background;
mod data_set;
mod kind;

use std::ops::RangeInclusive;

use image::{Rgb, RgbImage};

pub use data_set::{DataSet, write_data_set};
pub use kind::Kind;

use crate::geometry::Size;
use background::Background;

/// A colour while it is mixed, channels in [0, 255].
type Color = [f32; 3];

/// Minimum fraction of an object's pixels that objects drawn later leave visible.
const VISIBLE: f64 = 0.5;
/// Number of places tried for an object before it is left out.
const ATTEMPTS: usize = 12;
/// Distance to reach between an object's colour and the background's: the root of the sum of squared channel
/// differences.
const CONTRAST: f32 = 75.0;
/// Hues of a kind differ by at most twice this from its usual hue, in degrees; nearer hues are more frequent.
const HUE_SPREAD: f64 = 12.0;
/// One object in this many has any hue.
const ANY_HUE: u8 = 12;

/// A photo and the objects on it.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The photo.
    pub photo: RgbImage,
    /// The objects, from back to front.
    pub objects: Vec<SceneObject>,
}

/// One object of a scene.
#[derive(Clone, Debug)]
pub struct SceneObject {
    /// Kind of the object.
    pub kind: Kind,
    /// 1 where the object is visible, otherwise 0; row-major, of the photo's size.
    pub mask: Vec<u8>,
    pixels: usize,
}

impl SceneObject {
    /// Number of visible pixels.
    pub fn area(&self) -> usize {
        self.mask.iter().filter(|pixel| **pixel == 1).count()
    }

    /// The pixel, as x and y, that is farthest from the object's edge, in steps along rows and columns; `size` is the
    /// photo's.
    pub fn innermost_pixel(&self, size: Size) -> [u32; 2] {
        let (height, width) = (size.height as usize, size.width as usize);
        let mut depth: Vec<u32> = self.mask.iter().map(|pixel| u32::from(*pixel)).collect();
        let at = |x: usize, y: usize| y * width + x;
        // First the steps to the edge above or to the left, then the minimum of these and the steps to the edge below
        // or to the right.
        for y in 0..height {
            for x in 0..width {
                if depth[at(x, y)] > 0 {
                    let above = if y > 0 { depth[at(x, y - 1)] } else { 0 };
                    let left = if x > 0 { depth[at(x - 1, y)] } else { 0 };
                    depth[at(x, y)] = 1 + above.min(left);
                }
            }
        }
        let mut best = (0, [0, 0]);
        for y in (0..height).rev() {
            for x in (0..width).rev() {
                let below = if y + 1 < height {
                    depth[at(x, y + 1)]
                } else {
                    0
                };
                let right = if x + 1 < width {
                    depth[at(x + 1, y)]
                } else {
                    0
                };
                let steps = depth[at(x, y)].min(1 + below.min(right));
                depth[at(x, y)] = steps;
                best = best.max((steps, [x as u32, y as u32]));
            }
        }
        best.1
    }
}

impl Scene {
    /// Height and width of the photo.
    pub fn size(&self) -> Size {
        Size {
            height: self.photo.height(),
            width: self.photo.width(),
        }
    }

    /// 1 where no object is visible, otherwise 0; row-major.
    pub fn background(&self) -> Vec<u8> {
        let mut mask = vec![1u8; (self.photo.width() * self.photo.height()) as usize];
        for object in &self.objects {
            for (free, seen) in mask.iter_mut().zip(&object.mask) {
                *free &= 1 - seen;
            }
        }
        mask
    }
}

/// Generates scenes, each from the random state that the one before it left.
#[derive(Clone, Debug)]
pub struct SceneGenerator {
    random: fastrand::Rng,
}

impl SceneGenerator {
    /// Creates a generator whose scenes are determined by `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Draws `count` kinds, with repetition.
    pub fn kinds(&mut self, count: usize) -> Vec<Kind> {
        (0..count)
            .map(|_| Kind::ALL[self.random.usize(..Kind::ALL.len())])
            .collect()
    }

    /// Draws a number from a range, with equal probabilities.
    pub fn count(&mut self, range: RangeInclusive<usize>) -> usize {
        self.random.usize(range)
    }

    /// Draws a photo's size: the longer side is in `longest` and is either the height or the width; the other side is
    /// at least 0.6 of it.
    pub fn size(&mut self, longest: RangeInclusive<u32>) -> Size {
        let long = self.random.u32(longest);
        let short = (f64::from(long) * self.between(0.6, 1.0)) as u32;
        let (height, width) = if self.random.bool() {
            (long, short)
        } else {
            (short, long)
        };
        Size { height, width }
    }

    /// Draws a photo with objects of the given kinds, later ones in front. An object that would hide too much of
    /// another wherever it is tried is left out.
    pub fn scene(&mut self, size: Size, kinds: &[Kind]) -> Scene {
        let background = Background::random(size, &mut self.random);
        let mut canvas: Vec<Color> = background.paint();
        let mut objects: Vec<SceneObject> = Vec::new();
        for kind in kinds {
            for _ in 0..ATTEMPTS {
                let pose = self.pose(*kind, size, &background);
                let coverage = pose.coverage(size);
                if hides_too_much(&objects, &coverage) {
                    continue;
                }
                pose.draw(&mut canvas, &coverage, size.width);
                let object = cover(&mut objects, *kind, &coverage, canvas.len());
                objects.push(object);
                break;
            }
        }
        Scene {
            photo: self.expose(&canvas, size),
            objects,
        }
    }

    fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.random.f64()
    }

    fn pose(&mut self, kind: Kind, size: Size, background: &Background) -> Pose {
        let (height, width) = (f64::from(size.height), f64::from(size.width));
        let radius = height.min(width) * self.between(0.15, 0.36);
        let margin = 0.7 * radius;
        let main = self.color_apart_from(kind, &background.colors);
        Pose {
            kind,
            radius,
            center: [
                self.between(margin, width - margin),
                self.between(margin, height - margin),
            ],
            turn: self.between(0.0, std::f64::consts::TAU),
            stretch: self.between(0.8, 1.0),
            colors: [main, self.companion(main)],
            texture: self.random.u32(..),
        }
    }

    fn color(&mut self) -> Color {
        std::array::from_fn(|_| self.random.f32() * 255.0)
    }

    /// Draws a colour for a kind: near its usual hue or, now and then, any colour.
    fn color_of(&mut self, kind: Kind) -> Color {
        if self.random.u8(..ANY_HUE) == 0 {
            return self.color();
        }
        let off = self.between(-HUE_SPREAD, HUE_SPREAD) + self.between(-HUE_SPREAD, HUE_SPREAD);
        let hue = (kind.usual_hue() + off).rem_euclid(360.0);
        let (saturation, value) = (self.between(0.35, 1.0), self.between(0.35, 1.0));
        color_from_hsv(hue, saturation, value)
    }

    fn color_apart_from(&mut self, kind: Kind, others: &[Color]) -> Color {
        let nearest = |color: &Color| {
            others
                .iter()
                .map(|other| distance(color, other))
                .fold(f32::INFINITY, f32::min)
        };
        let mut best = self.color_of(kind);
        for _ in 0..20 {
            if nearest(&best) >= CONTRAST {
                break;
            }
            let other = self.color_of(kind);
            if nearest(&other) > nearest(&best) {
                best = other;
            }
        }
        best
    }

    /// Draws a second colour for an object: the first one, darker or lighter and slightly different in hue.
    fn companion(&mut self, main: Color) -> Color {
        let factor = if self.random.bool() { 0.5 } else { 1.6 };
        main.map(|level| (level * factor + self.random.f32() * 40.0 - 20.0).clamp(0.0, 255.0))
    }

    /// Adds light that falls off to one side, and the noise of a sensor.
    fn expose(&mut self, canvas: &[Color], size: Size) -> RgbImage {
        let (height, width) = (size.height as f32, size.width as f32);
        let noise = self.random.f32() * 14.0;
        let (light_x, light_y) = (self.random.f32() - 0.5, self.random.f32() - 0.5);
        RgbImage::from_fn(size.width, size.height, |x, y| {
            let light = 1.0
                + 0.4 * (light_x * (x as f32 / width - 0.5) + light_y * (y as f32 / height - 0.5));
            let pixel = &canvas[y as usize * size.width as usize + x as usize];
            Rgb(pixel.map(|level| {
                // The sum of two uniform numbers has a triangular distribution, which is near enough to a normal one.
                let grain = self.random.f32() + self.random.f32() - 1.0;
                (level * light + grain * noise).clamp(0.0, 255.0) as u8
            }))
        })
    }
}

fn distance(a: &Color, b: &Color) -> f32 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b) * (a - b))
        .sum::<f32>()
        .sqrt()
}

/// The colour of a hue in degrees, and a saturation and a value in [0, 1].
pub(crate) fn color_from_hsv(hue: f64, saturation: f64, value: f64) -> Color {
    // Smith, "Color Gamut Transform Pairs", 1978.
    [5.0, 3.0, 1.0].map(|n| {
        let k = (n + hue / 60.0) % 6.0;
        let level = value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0);
        (level * 255.0) as f32
    })
}

/// Position and appearance of an object.
struct Pose {
    kind: Kind,
    center: [f64; 2],
    radius: f64,
    turn: f64,
    stretch: f64,
    colors: [Color; 2],
    texture: u32,
}

/// A pixel that an object covers: its index, and how many of its four quarters are covered.
struct Covered {
    at: usize,
    quarters: u8,
}

impl Pose {
    /// Maps a point of the photo to the frame of the object, whose outline lies within the unit disc.
    fn object_from_image(&self, x: f64, y: f64) -> [f64; 2] {
        let (dx, dy) = (x - self.center[0], y - self.center[1]);
        let (sin, cos) = self.turn.sin_cos();
        [
            (dx * cos + dy * sin) / self.radius,
            (dy * cos - dx * sin) / (self.radius * self.stretch),
        ]
    }

    fn coverage(&self, size: Size) -> Vec<Covered> {
        let range = |center: f64, side: u32| {
            let from = (center - self.radius).floor().max(0.0) as u32;
            let to = ((center + self.radius).ceil() as u32 + 1).min(side);
            from..to
        };
        let mut covered = Vec::new();
        for y in range(self.center[1], size.height) {
            for x in range(self.center[0], size.width) {
                let quarters = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)]
                    .iter()
                    .filter(|(right, down)| {
                        let [u, v] =
                            self.object_from_image(f64::from(x) + right, f64::from(y) + down);
                        self.kind.covers(u, v)
                    })
                    .count() as u8;
                if quarters > 0 {
                    covered.push(Covered {
                        at: (y * size.width + x) as usize,
                        quarters,
                    });
                }
            }
        }
        covered
    }

    fn draw(&self, canvas: &mut [Color], coverage: &[Covered], width: u32) {
        for pixel in coverage {
            let (x, y) = (pixel.at as u32 % width, pixel.at as u32 / width);
            let [u, v] = self.object_from_image(f64::from(x) + 0.5, f64::from(y) + 0.5);
            let color = self.kind.color(u, v, &self.colors, self.texture);
            let share = f32::from(pixel.quarters) / 4.0;
            for (level, color) in canvas[pixel.at].iter_mut().zip(color) {
                *level += (color - *level) * share;
            }
        }
    }
}

/// Whether the coverage would leave too little of one of the objects visible.
fn hides_too_much(objects: &[SceneObject], coverage: &[Covered]) -> bool {
    objects.iter().any(|object| {
        let hidden = coverage
            .iter()
            .filter(|pixel| pixel.quarters >= 2 && object.mask[pixel.at] == 1)
            .count();
        ((object.area() - hidden) as f64) < VISIBLE * object.pixels as f64
    })
}

/// Creates an object from its coverage, and removes the covered pixels from the objects behind it.
fn cover(
    objects: &mut [SceneObject],
    kind: Kind,
    coverage: &[Covered],
    pixel_count: usize,
) -> SceneObject {
    let mut mask = vec![0u8; pixel_count];
    for pixel in coverage.iter().filter(|pixel| pixel.quarters >= 2) {
        mask[pixel.at] = 1;
        for behind in &mut *objects {
            behind.mask[pixel.at] = 0;
        }
    }
    let mut object = SceneObject {
        kind,
        mask,
        pixels: 0,
    };
    object.pixels = object.area();
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        height: 96,
        width: 128,
    };

    #[test]
    fn a_seed_gives_one_scene() {
        let make = |seed| {
            let mut generator = SceneGenerator::new(seed);
            let kinds = generator.kinds(3);
            generator.scene(SIZE, &kinds)
        };
        assert_eq!(make(7).photo, make(7).photo);
        assert_ne!(make(7).photo, make(8).photo);
    }

    #[test]
    fn objects_and_background_share_out_the_pixels() {
        let mut generator = SceneGenerator::new(3);
        for _ in 0..20 {
            let kinds = generator.kinds(5);
            let scene = generator.scene(SIZE, &kinds);
            assert!(!scene.objects.is_empty());
            let background = scene.background();
            for (at, free) in background.iter().enumerate() {
                let owners: u8 = scene.objects.iter().map(|object| object.mask[at]).sum();
                assert_eq!(owners + free, 1, "pixel {at}");
            }
            for object in &scene.objects {
                let seen = object.area() as f64;
                assert!(seen >= VISIBLE * object.pixels as f64, "{:?}", object.kind);
            }
        }
    }

    #[test]
    fn innermost_pixel_is_the_middle() {
        let size = Size {
            height: 7,
            width: 11,
        };
        let inside = |at: usize| (2..9).contains(&(at % 11)) && (1..6).contains(&(at / 11));
        let object = SceneObject {
            kind: Kind::Crate,
            mask: (0..77).map(|at| u8::from(inside(at))).collect(),
            pixels: 35,
        };
        let [x, y] = object.innermost_pixel(size);
        assert_eq!(y, 3);
        assert!((4..=6).contains(&x), "{x}");
    }

    #[test]
    fn hues_are_those_of_the_colour_circle() {
        for (hue, expected) in [
            (0.0, [255.0, 0.0, 0.0]),
            (60.0, [255.0, 255.0, 0.0]),
            (120.0, [0.0, 255.0, 0.0]),
            (240.0, [0.0, 0.0, 255.0]),
        ] {
            assert_eq!(color_from_hsv(hue, 1.0, 1.0), expected);
        }
        assert_eq!(color_from_hsv(77.0, 0.0, 1.0), [255.0; 3]);
    }

    #[test]
    fn every_kind_can_be_drawn() {
        let mut generator = SceneGenerator::new(5);
        for kind in Kind::ALL {
            let scene = generator.scene(SIZE, &[kind]);
            assert!(scene.objects[0].area() > 50, "{kind}");
        }
    }
}
