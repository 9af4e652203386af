//! Random numbers for tests.

use rand::{RngExt as _, SeedableRng as _};

/// Sums of uniform numbers: zero mean, unit variance, close enough to normal for test matrices.
pub(crate) fn normals() -> impl FnMut(usize) -> Vec<f32> {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    move |n| (0..n).map(|_| (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0).collect()
}
