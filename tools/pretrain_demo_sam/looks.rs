//! What an object looks like, in numbers that neither its place, size nor turn changes: how its pixels lie
//! around its middle, how its outline repeats around it, how rough it is inside, and its mean colour.

use image::RgbImage;

use grainstore::scenes::SceneGenerator;

/// Numbers of an object.
pub const LOOKS: usize = RINGS + HARMONICS + 6 + 3;
/// Rings around the middle, each a quarter of the radius of a disc of the same area.
const RINGS: usize = 8;
/// Turns from a half to a sixth that bring an outline back to itself.
const HARMONICS: usize = 5;
/// Seed of the scenes that the numbers are scaled by.
const SEED: u64 = 1 << 51;
const SCENES: usize = 200;

/// Brings each number to mean 0 and variance 1 over generated objects.
pub struct LooksScale {
    mean: [f32; LOOKS],
    deviation: [f32; LOOKS],
}

impl LooksScale {
    /// The scale of scenes with up to six objects.
    pub fn over_scenes() -> Self {
        let mut generator = SceneGenerator::new(SEED);
        let (mut sums, mut squares, mut count) = ([0f32; LOOKS], [0f32; LOOKS], 0f32);
        for _ in 0..SCENES {
            let size = generator.size(crate::measure::LONGEST);
            let objects = generator.count(1..=6);
            let kinds = generator.kinds(objects);
            let scene = generator.scene(size, &kinds);
            for object in &scene.objects {
                let looks = looks(&scene.photo, &object.mask);
                for ((sum, square), look) in sums.iter_mut().zip(&mut squares).zip(looks) {
                    *sum += look;
                    *square += look * look;
                }
                count += 1.0;
            }
        }
        let mean = sums.map(|sum| sum / count);
        let deviation = std::array::from_fn(|at| {
            let variance = squares[at] / count - mean[at] * mean[at];
            variance.max(1e-6).sqrt()
        });
        Self { mean, deviation }
    }

    /// The scaled numbers of an object, none further than 4 from 0.
    pub fn looks(&self, photo: &RgbImage, mask: &[u8]) -> [f32; LOOKS] {
        let looks = looks(photo, mask);
        std::array::from_fn(|at| {
            ((looks[at] - self.mean[at]) / self.deviation[at]).clamp(-4.0, 4.0)
        })
    }
}

/// The numbers of the pixels of a photo where `mask` is 1 (row-major).
fn looks(photo: &RgbImage, mask: &[u8]) -> [f32; LOOKS] {
    let width = photo.width() as usize;
    let inside: Vec<usize> = (0..mask.len()).filter(|at| mask[*at] == 1).collect();
    let count = inside.len().max(1) as f32;
    let place = |at: usize| [(at % width) as f32, (at / width) as f32];
    let mut middle = [0f32; 2];
    for at in &inside {
        let [x, y] = place(*at);
        middle = [middle[0] + x / count, middle[1] + y / count];
    }
    let radius = (count / std::f32::consts::PI).sqrt();
    let light = |at: usize| {
        let [red, green, blue] = photo.as_raw()[3 * at..][..3] else {
            return 0.0;
        };
        (0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue)) / 255.0
    };
    let mean_light = inside.iter().map(|at| light(*at)).sum::<f32>() / count;

    let mut color = [0f32; 3];
    for at in &inside {
        for (sum, level) in color.iter_mut().zip(&photo.as_raw()[3 * at..]) {
            *sum += f32::from(*level) / count;
        }
    }

    let mut rings = [0f32; RINGS];
    let mut turns = [[0f32; 3]; HARMONICS];
    let (mut contrast, mut brighter_outside, mut away) = (0f32, 0f32, 0f32);
    let (mut rough, mut rough_inside, mut along) = (0f32, 0f32, [0f32; 2]);
    for at in &inside {
        let [x, y] = place(*at);
        let (dx, dy) = ((x - middle[0]) / radius, (y - middle[1]) / radius);
        let distance = dx.hypot(dy);
        rings[((distance * 4.0) as usize).min(RINGS - 1)] += 1.0 / count;
        let angle = dy.atan2(dx);
        for (turn, n) in turns.iter_mut().zip(2..) {
            let weight = distance.powi(n);
            let (sin, cos) = (angle * n as f32).sin_cos();
            *turn = [
                turn[0] + weight * cos,
                turn[1] + weight * sin,
                turn[2] + weight,
            ];
        }
        let off = light(*at) - mean_light;
        contrast += off * off / count;
        brighter_outside += off * (distance - 0.667) / count;
        away += (distance - 0.667).powi(2) / count;
        // Two pixels on, so that noise counts less; only where both ends are inside.
        let step = |by: usize| {
            let (from, to) = (at.checked_sub(by)?, at + by);
            let within = mask.get(to) == Some(&1) && mask.get(from) == Some(&1);
            within.then(|| light(to) - light(from))
        };
        if let (Some(right), Some(down)) = (step(2), step(2 * width)) {
            let energy = right * right + down * down;
            rough += energy / count;
            if distance < 0.667 {
                rough_inside += energy / count;
            }
            let angle = 2.0 * down.atan2(right);
            along = [
                along[0] + energy * angle.cos() / count,
                along[1] + energy * angle.sin() / count,
            ];
        }
    }
    let mut found = [0f32; LOOKS];
    let turns = turns.map(|[cos, sin, weight]| cos.hypot(sin) / weight.max(1e-6));
    let inner = [
        contrast.sqrt(),
        brighter_outside / (contrast * away).sqrt().max(1e-4),
        rough.sqrt(),
        rough.sqrt() / contrast.sqrt().max(0.02),
        rough_inside / rough.max(1e-4),
        along[0].hypot(along[1]) / rough.max(1e-4),
    ];
    let all = rings.into_iter().chain(turns).chain(inner).chain(color);
    for (slot, number) in found.iter_mut().zip(all) {
        *slot = number;
    }
    found
}
