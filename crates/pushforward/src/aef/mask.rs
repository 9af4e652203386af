//! The pixels that form the core of an image; splitting images into core and shell, and joining them.
//!
//! The masks are the published ones (Silvestri, Roos, Ambrogioni 2023, arXiv:2205.09546): a square spiral from the
//! centre, which takes all channels of a pixel before the next pixel; and the four corners, one channel after the
//! other, then along the sides.
//!
//! # Examples
//! ```
//! use pushforward::aef::ImageShape;
//! use pushforward::aef::mask::{CoreShell, center, corner};
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::tensor::to_host;
//!
//! let shape = ImageShape { channels: 1, height: 4, width: 4 };
//! assert_eq!(center(shape, 4), [5, 6, 9, 10]);
//! assert_eq!(corner(shape, 4), [0, 3, 12, 15]);
//! let split = CoreShell::new(&[2, 0], 3);
//! let x = Tensor::<2>::from_data([[1.0f32, 2.0, 3.0]], &Device::flex());
//! assert_eq!(to_host(&split.core(x.clone())), [3.0, 1.0]);
//! assert_eq!(to_host(&split.join(split.core(x.clone()), split.shell(x.clone()))), [1.0, 2.0, 3.0]);
//! assert_eq!(to_host(&split.embed(split.shell(x))), [0.0, 2.0, 0.0]);
//! ```

use burn::tensor::{Device, Int, Tensor};

use super::ImageShape;
use crate::tensor::indices;

/// The first `d` entries of the square spiral from the centre, as sorted flat indices of the image
/// `[channels, height, width]`.
///
/// # Panics
/// If the image has fewer than `d` values.
pub fn center(shape: ImageShape, d: usize) -> Vec<usize> {
    check(shape, d);
    let ImageShape { channels, height, width } = shape;
    let (mut row, mut column) = (height as i64 / 2 - 1, width as i64 / 2 - 1);
    let mut found = Vec::with_capacity(d);
    // Sides of lengths 1, 1, 2, 2, 3, 3, ...: down, right, up and left.
    let directions = [(1, 0), (0, 1), (-1, 0), (0, -1)];
    let mut side = 0;
    while found.len() < d {
        let (down, right) = directions[side % 4];
        for _ in 0..side / 2 + 1 {
            let inside = (0..height as i64).contains(&row) && (0..width as i64).contains(&column);
            if inside {
                let pixel = row as usize * width + column as usize;
                found.extend((0..channels).map(|c| c * height * width + pixel));
            }
            (row, column) = (row + down, column + right);
        }
        side += 1;
    }
    found.truncate(d);
    found.sort_unstable();
    found
}

/// The first `d` entries from the four corners along the sides, frame by frame inwards, as sorted flat indices of the
/// `[channels, height, width]` image.
///
/// # Panics
/// If the image has fewer than `d` values.
pub fn corner(shape: ImageShape, d: usize) -> Vec<usize> {
    check(shape, d);
    let ImageShape { channels, height, width } = shape;
    let mut taken = vec![false; shape.numel()];
    let mut found = Vec::with_capacity(d);
    let mut take = |channel: usize, row: usize, column: usize, found: &mut Vec<usize>| {
        let index = (channel * height + row) * width + column;
        if found.len() < d && !std::mem::replace(&mut taken[index], true) {
            found.push(index);
        }
    };
    // Frame by frame inwards: the corner of a frame, then along both of its sides in turn.
    for frame in 0..height.max(width) {
        let sides = (1..height.max(width)).flat_map(|k| [(frame + k, frame), (frame, frame + k)]);
        for (down, right) in std::iter::once((frame, frame)).chain(sides) {
            if found.len() == d {
                break;
            }
            if down >= height || right >= width {
                continue;
            }
            let (up, left) = (height - 1 - down, width - 1 - right);
            for channel in 0..channels {
                for (row, column) in [(down, right), (down, left), (up, right), (up, left)] {
                    take(channel, row, column, &mut found);
                }
            }
        }
    }
    found.sort_unstable();
    found
}

fn check(shape: ImageShape, d: usize) {
    assert!(d <= shape.numel(), "the core is larger than the image: {d} values, image {shape}");
}

/// Index lists that split rows into core and shell, and join them.
#[derive(Clone, Debug)]
pub struct CoreShell {
    core: Vec<u32>,
    shell: Vec<u32>,
    /// Position of every value in the concatenation of core and shell.
    back: Vec<u32>,
}

impl CoreShell {
    /// The core at the given indices of `n` values, in the given order; the shell in increasing order.
    ///
    /// # Panics
    /// If an index is not below `n` or occurs twice.
    pub fn new(core: &[usize], n: usize) -> Self {
        let mut place = vec![None; n];
        for (i, &index) in core.iter().enumerate() {
            assert!(index < n, "core index {index} is not below {n}");
            assert!(place[index].replace(i).is_none(), "core index {index} occurs twice");
        }
        let shell: Vec<u32> = (0..n).filter(|&i| place[i].is_none()).map(|i| i as u32).collect();
        for (i, &index) in shell.iter().enumerate() {
            place[index as usize] = Some(core.len() + i);
        }
        let back = place.into_iter().map(|p| p.expect("every value is in the core or the shell") as u32).collect();
        Self { core: core.iter().map(|&i| i as u32).collect(), shell, back }
    }

    /// The core of every row.
    ///
    /// # Shapes
    /// - `x`: `[batch, n]`
    /// - output: `[batch, d]`
    pub fn core(&self, x: Tensor<2>) -> Tensor<2> {
        take(x, &self.core)
    }

    /// The shell of every row.
    ///
    /// # Shapes
    /// - `x`: `[batch, n]`
    /// - output: `[batch, n - d]`
    pub fn shell(&self, x: Tensor<2>) -> Tensor<2> {
        take(x, &self.shell)
    }

    /// Rows with the given core and shell.
    ///
    /// # Shapes
    /// - `core`: `[batch, d]`
    /// - `shell`: `[batch, n - d]`
    /// - output: `[batch, n]`
    pub fn join(&self, core: Tensor<2>, shell: Tensor<2>) -> Tensor<2> {
        take(Tensor::cat(vec![core, shell], 1), &self.back)
    }

    /// Rows with the given shell, and zeros in place of the core.
    ///
    /// # Shapes
    /// - `shell`: `[batch, n - d]`
    /// - output: `[batch, n]`
    pub fn embed(&self, shell: Tensor<2>) -> Tensor<2> {
        let core = Tensor::zeros([shell.dims()[0], self.core.len()], (&shell.device(), shell.dtype()));
        self.join(core, shell)
    }
}

fn take(x: Tensor<2>, list: &[u32]) -> Tensor<2> {
    let device: Device = x.device();
    let list: Tensor<1, Int> = indices(list, [list.len()], &device);
    x.select(1, list)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [ImageShape; 4] = [
        ImageShape { channels: 1, height: 28, width: 28 },
        ImageShape { channels: 3, height: 8, width: 8 },
        ImageShape { channels: 1, height: 5, width: 7 },
        ImageShape { channels: 2, height: 3, width: 2 },
    ];

    #[test]
    fn masks_hold_exactly_d_values_once_and_grow_with_d() {
        for mask in [center, corner] {
            for shape in SHAPES {
                let mut before: Vec<usize> = Vec::new();
                for d in 0..=shape.numel() {
                    let found = mask(shape, d);
                    assert_eq!(found.len(), d);
                    assert!(found.windows(2).all(|w| w[0] < w[1]), "{shape}, {d}: {found:?}");
                    assert!(found.iter().all(|&i| i < shape.numel()));
                    assert!(before.iter().all(|i| found.contains(i)), "{shape}: {d} values hold those of {}", d - 1);
                    before = found;
                }
            }
        }
    }

    #[test]
    fn known_masks() {
        let mnist = SHAPES[0];
        // Rows and columns 13 and 14.
        assert_eq!(center(mnist, 4), [13 * 28 + 13, 13 * 28 + 14, 14 * 28 + 13, 14 * 28 + 14]);
        assert_eq!(corner(mnist, 4), [0, 27, 27 * 28, 27 * 28 + 27]);
        // All channels of the first pixel of the spiral.
        assert_eq!(center(SHAPES[1], 3), [3 * 8 + 3, 64 + 3 * 8 + 3, 128 + 3 * 8 + 3]);
    }

    #[test]
    fn taking_apart_and_putting_together_is_lossless() {
        let device = Device::flex();
        let x = Tensor::<1, Int>::arange(0..14, &device).float().reshape([2, 7]);
        let split = CoreShell::new(&[5, 0, 3], 7);
        let host = |x: Tensor<2>| crate::tensor::to_host(&x);
        assert_eq!(host(split.core(x.clone())), [5.0, 0.0, 3.0, 12.0, 7.0, 10.0]);
        assert_eq!(host(split.shell(x.clone())), [1.0, 2.0, 4.0, 6.0, 8.0, 9.0, 11.0, 13.0]);
        assert_eq!(host(split.join(split.core(x.clone()), split.shell(x.clone()))), host(x.clone()));
        assert_eq!(host(split.embed(split.shell(x)))[..7], [0.0, 1.0, 2.0, 0.0, 4.0, 0.0, 6.0]);
    }

    #[test]
    #[should_panic(expected = "core index 2 occurs twice")]
    fn a_core_index_is_taken_once() {
        CoreShell::new(&[2, 1, 2], 4);
    }
}
