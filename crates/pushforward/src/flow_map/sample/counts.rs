//! Numbers that are drawn as often as they were counted.

use crate::rng::Stream;

/// Draws a number of nodes or letters, or a label; `sizes[n]` is how often `n` occurs. `most` if there are no counts.
pub(crate) fn draw_size(sizes: &[u64], most: usize, stream: &mut Stream) -> usize {
    let total: u64 = sizes.iter().sum();
    if total == 0 {
        return most;
    }
    let mut left = stream.uniform() * total as f64;
    for (n, &count) in sizes.iter().enumerate() {
        left -= count as f64;
        if left < 0.0 {
            return n.min(most);
        }
    }
    most
}
