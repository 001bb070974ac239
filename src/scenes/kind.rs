//! The kinds of objects: their outlines and textures, in a frame whose unit disc holds the object.

use std::f64::consts::TAU;
use std::fmt;

use super::Color;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A shaded disc.
    Ball,
    /// A ring with sprinkles.
    Donut,
    /// A rectangle of planks.
    Crate,
    /// A triangle with a door.
    Tent,
    /// A pointed oval with veins.
    Leaf,
    /// A dotted star of five arms.
    Starfish,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Ball,
        Self::Donut,
        Self::Crate,
        Self::Tent,
        Self::Leaf,
        Self::Starfish,
    ];

    /// The name of the class.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ball => "ball",
            Self::Donut => "donut",
            Self::Crate => "crate",
            Self::Tent => "tent",
            Self::Leaf => "leaf",
            Self::Starfish => "starfish",
        }
    }

    /// The most frequent hue of the kind, in degrees of the colour circle.
    pub(super) fn usual_hue(self) -> f64 {
        match self {
            Self::Starfish => 10.0,
            Self::Crate => 50.0,
            Self::Leaf => 110.0,
            Self::Tent => 180.0,
            Self::Ball => 240.0,
            Self::Donut => 310.0,
        }
    }

    /// The name of the coarser class.
    pub fn group(self) -> &'static str {
        match self {
            Self::Ball | Self::Donut => "round",
            Self::Crate | Self::Tent => "built",
            Self::Leaf | Self::Starfish => "grown",
        }
    }

    /// Whether the object covers a point of its frame.
    pub(super) fn covers(self, u: f64, v: f64) -> bool {
        let r = u.hypot(v);
        match self {
            Self::Ball => r <= 0.95,
            Self::Donut => (0.42..=1.0).contains(&r),
            Self::Crate => u.abs() <= 0.8 && v.abs() <= 0.58,
            Self::Tent => v <= 0.55 && v >= -0.95 + 1.6 * u.abs(),
            Self::Leaf => u.abs() <= 1.0 && v.abs() <= 0.5 * (1.0 - u * u),
            Self::Starfish => {
                let phase = (v.atan2(u) * 5.0 / TAU).rem_euclid(1.0);
                r <= 0.42 + 0.58 * (1.0 - 2.0 * phase).abs()
            }
        }
    }

    /// The colour of a point that the object covers; `texture` varies its random parts.
    pub(super) fn color(self, u: f64, v: f64, colors: &[Color; 2], texture: u32) -> Color {
        let [main, second] = colors;
        match self {
            Self::Ball => {
                let light = 1.25 - 0.7 * (u + 0.35).hypot(v + 0.4);
                main.map(|level| (level * light as f32).clamp(0.0, 255.0))
            }
            Self::Donut => {
                let angle = (v.atan2(u) / TAU + 0.5) * 18.0;
                let ring = u.hypot(v) * 7.0;
                let cell = (angle as u32).wrapping_mul(31) ^ (ring as u32).wrapping_mul(57);
                let hash = (cell ^ texture).wrapping_mul(0x9e37_79b9) >> 24;
                if hash < 70 { *second } else { *main }
            }
            Self::Crate => {
                let frame = u.abs() > 0.68 || v.abs() > 0.46;
                let gap = ((v + 2.0) * 5.2).fract() < 0.18;
                if frame || gap { *second } else { *main }
            }
            Self::Tent => {
                let door = v >= -0.3 + 3.4 * u.abs();
                if door { *second } else { *main }
            }
            Self::Leaf => {
                let rib = v.abs() < 0.05;
                let vein = ((u * 6.0 + 20.0) - 7.0 * v.abs()).fract() < 0.2;
                if rib || vein { *second } else { *main }
            }
            Self::Starfish => {
                let dot = ((u * 5.0 + 10.0).fract() - 0.5).hypot((v * 5.0 + 10.0).fract() - 0.5);
                if dot < 0.28 { *second } else { *main }
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
