//! Digits as strokes: shapes, poses and rasterisation.
//!
//! A shape is a set of polylines in the unit square, y downwards. A pose bends it with a smooth warp, then applies
//!
//! ```text
//! p_pixel = centre + shift + R(rotation) diag(scale) [1 shear; 0 1] SIZE (p - 1/2)
//! ```
//!
//! and a pixel whose centre lies at distance `d` from the nearest stroke of half-width `h` has the coverage
//! `clamp(h + 1/2 - d, 0, 1)`, the share of a unit square on one side of a straight edge at `h - d` from its centre.

use std::f32::consts::{PI, TAU};
use std::sync::LazyLock;

use crate::rng::Stream;

/// Rows and columns of a glyph.
pub(crate) const SIDE: usize = 16;

/// Pixels of a glyph.
pub(crate) const PIXELS: usize = SIDE * SIDE;

/// Pixels along the side of the unit square of an upright digit at scale one.
const SIZE: f32 = 13.0;

type Point = [f32; 2];

/// The pose in which a digit is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Pose {
    /// Clockwise, in radians.
    pub(crate) rotation: f32,
    /// Horizontal displacement per unit of depth.
    pub(crate) shear: f32,
    /// Horizontal and vertical factor.
    pub(crate) scale: Point,
    /// Displacement in pixels.
    pub(crate) shift: Point,
    /// Half the stroke width in pixels.
    pub(crate) half_width: f32,
    /// Amplitude and phase of the warp of x along y, and of y along x.
    pub(crate) warp: [Point; 2],
}

impl Pose {
    /// A random pose of the `glyphs` set.
    pub(crate) fn draw(stream: &mut Stream) -> Self {
        let mut within = |low: f32, high: f32| low + (high - low) * stream.uniform() as f32;
        Self {
            rotation: within(-0.2, 0.2),
            shear: within(-0.2, 0.2),
            scale: [within(0.8, 1.1), within(0.85, 1.05)],
            shift: [within(-1.0, 1.0), within(-1.0, 1.0)],
            half_width: within(0.65, 1.1),
            warp: [[within(-0.03, 0.03), within(0.0, TAU)], [within(-0.03, 0.03), within(0.0, TAU)]],
        }
    }

    fn place(&self, [x, y]: Point) -> Point {
        let x_warped = x - 0.5 + self.warp[0][0] * (TAU * y + self.warp[0][1]).sin();
        let v = (y - 0.5 + self.warp[1][0] * (TAU * x + self.warp[1][1]).sin()) * SIZE;
        let u = x_warped * SIZE + self.shear * v;
        let (u, v) = (u * self.scale[0], v * self.scale[1]);
        let (sin, cos) = self.rotation.sin_cos();
        let centre = SIDE as f32 / 2.0;
        [centre + self.shift[0] + cos * u - sin * v, centre + self.shift[1] + sin * u + cos * v]
    }
}

/// The coverage of every pixel by `digit` in this pose, row by row.
///
/// # Panics
/// If `digit` is above 9.
pub(crate) fn draw(digit: usize, pose: &Pose) -> [f32; PIXELS] {
    let reach = pose.half_width + 0.5;
    let mut nearest = [reach * reach; PIXELS];
    for stroke in &SHAPES[digit] {
        let placed: Vec<Point> = stroke.iter().map(|&p| pose.place(p)).collect();
        for ends in placed.windows(2) {
            mark([ends[0], ends[1]], reach, &mut nearest);
        }
    }
    nearest.map(|square| (reach - square.sqrt()).clamp(0.0, 1.0))
}

/// Lowers `nearest`, the squared distance of each pixel to the strokes, around one segment.
fn mark([a, b]: [Point; 2], reach: f32, nearest: &mut [f32; PIXELS]) {
    let span = |k: usize| {
        let low = (a[k].min(b[k]) - reach).floor().max(0.0) as usize;
        let high = (a[k].max(b[k]) + reach).ceil().clamp(0.0, SIDE as f32) as usize;
        low..high
    };
    let along = [b[0] - a[0], b[1] - a[1]];
    let scale = 1.0 / (along[0] * along[0] + along[1] * along[1]).max(1e-12);
    for row in span(1) {
        for column in span(0) {
            let from = [column as f32 + 0.5 - a[0], row as f32 + 0.5 - a[1]];
            let s = ((from[0] * along[0] + from[1] * along[1]) * scale).clamp(0.0, 1.0);
            let (dx, dy) = (from[0] - s * along[0], from[1] - s * along[1]);
            let pixel = &mut nearest[row * SIDE + column];
            *pixel = pixel.min(dx * dx + dy * dy);
        }
    }
}

/// Points on an ellipse from angle `from` to `to`, in quarter turns clockwise from the right.
fn arc(centre: Point, radii: Point, from: f32, to: f32) -> Vec<Point> {
    let steps = ((to - from).abs() * 3.5).ceil().max(2.0);
    (0..=steps as usize)
        .map(|i| (from + (to - from) * i as f32 / steps) * PI / 2.0)
        .map(|angle| [centre[0] + radii[0] * angle.cos(), centre[1] + radii[1] * angle.sin()])
        .collect()
}

/// The strokes of every digit.
static SHAPES: LazyLock<[Vec<Vec<Point>>; 10]> = LazyLock::new(|| {
    let join = |parts: &[&[Point]]| parts.concat();
    [
        vec![arc([0.5, 0.5], [0.31, 0.45], 0.0, 4.0)],
        vec![vec![[0.3, 0.22], [0.53, 0.05], [0.53, 0.95]]],
        vec![join(&[&arc([0.5, 0.32], [0.3, 0.27], 1.9, 4.35), &[[0.2, 0.94], [0.84, 0.94]]])],
        vec![join(&[&arc([0.46, 0.28], [0.29, 0.23], 2.2, 5.0), &arc([0.46, 0.73], [0.34, 0.22], 3.0, 5.8)])],
        vec![vec![[0.88, 0.66], [0.14, 0.66], [0.62, 0.05], [0.62, 0.95]]],
        vec![join(&[&[[0.8, 0.06], [0.28, 0.06], [0.23, 0.47]], &arc([0.46, 0.66], [0.34, 0.28], 2.9, 5.75)])],
        vec![join(&[&arc([0.78, 0.66], [0.58, 0.62], 3.1, 2.0), &arc([0.5, 0.69], [0.3, 0.25], 2.0, -2.0)])],
        vec![vec![[0.16, 0.07], [0.84, 0.07], [0.4, 0.95]]],
        vec![arc([0.5, 0.28], [0.26, 0.22], 1.0, 5.0), arc([0.5, 0.73], [0.31, 0.23], -1.0, 3.0)],
        vec![join(&[&arc([0.5, 0.31], [0.3, 0.25], 0.0, 4.0), &arc([0.22, 0.31], [0.58, 0.66], 0.0, 0.95)])],
    ]
});
