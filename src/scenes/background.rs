//! Textured backgrounds: two colours mixed by smooth noise of several sizes, waves and a fine grain.

#![allow(
    clippy::indexing_slicing,
    reason = "cells of a lattice that reaches a cell beyond the canvas"
)]

use super::Color;
use crate::geometry::Size;

/// A background before it is painted.
pub(super) struct Background {
    size: Size,
    /// The two colours that are mixed.
    pub colors: [Color; 2],
    octaves: Vec<Octave>,
    wave: Wave,
}

impl Background {
    pub fn random(size: Size, random: &mut fastrand::Rng) -> Self {
        let first: Color = std::array::from_fn(|_| random.f32() * 255.0);
        // The second colour is near the first, so that objects have room to differ from both.
        let second = first.map(|level| (level + (random.f32() - 0.5) * 140.0).clamp(0.0, 255.0));
        let long = size.height.max(size.width) as f32;
        let octaves = [2.5, 7.0, 22.0]
            .map(|cells| Octave::random(size, long / cells, random.f32() + 0.2, random));
        let angle = random.f32() * std::f32::consts::TAU;
        let frequency = (4.0 + random.f32() * 26.0) / long * std::f32::consts::TAU;
        Self {
            size,
            colors: [first, second],
            octaves: octaves.into(),
            wave: Wave {
                x: angle.cos() * frequency,
                y: angle.sin() * frequency,
                weight: if random.bool() {
                    random.f32() * 0.25
                } else {
                    0.0
                },
            },
        }
    }

    /// The colour of every pixel, row-major.
    pub fn paint(&self) -> Vec<Color> {
        let total: f32 = self.octaves.iter().map(|octave| octave.weight).sum();
        let mut canvas = Vec::with_capacity((self.size.height * self.size.width) as usize);
        for y in 0..self.size.height {
            for x in 0..self.size.width {
                let noise = self
                    .octaves
                    .iter()
                    .map(|octave| octave.at(x, y))
                    .sum::<f32>()
                    / total;
                let share = (noise + self.wave.at(x, y)).clamp(0.0, 1.0);
                let [first, second] = &self.colors;
                canvas.push(std::array::from_fn(|c| {
                    first[c] + (second[c] - first[c]) * share
                }));
            }
        }
        canvas
    }
}

struct Wave {
    x: f32,
    y: f32,
    weight: f32,
}

impl Wave {
    fn at(&self, x: u32, y: u32) -> f32 {
        (x as f32 * self.x + y as f32 * self.y).sin() * self.weight
    }
}

/// Random values on a lattice, smoothly interpolated.
struct Octave {
    cell: f32,
    columns: usize,
    values: Vec<f32>,
    weight: f32,
}

impl Octave {
    fn random(size: Size, cell: f32, weight: f32, random: &mut fastrand::Rng) -> Self {
        let cell = cell.max(1.0);
        let count = |side: u32| (side as f32 / cell) as usize + 2;
        let columns = count(size.width);
        Self {
            cell,
            columns,
            values: (0..columns * count(size.height))
                .map(|_| random.f32())
                .collect(),
            weight,
        }
    }

    fn at(&self, x: u32, y: u32) -> f32 {
        let (x, y) = (x as f32 / self.cell, y as f32 / self.cell);
        let (column, row) = (x as usize, y as usize);
        let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
        let (right, down) = (smooth(x.fract()), smooth(y.fract()));
        let value = |row: usize, column: usize| self.values[row * self.columns + column];
        let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
        let above = mix(value(row, column), value(row, column + 1), right);
        let below = mix(value(row + 1, column), value(row + 1, column + 1), right);
        mix(above, below, down) * self.weight
    }
}
