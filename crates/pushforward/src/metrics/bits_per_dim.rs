//! Nats as bits, bits per dimension and bits per character (a dimension of text; tokens spell several). Everything else is in nats.
//!
//! ```text
//! bits                      = nats / ln 2
//! bits per dim, dequantised = (nats + dims ln levels) / (dims ln 2)
//! ```
//!
//! `nats` is the negative log density of a dequantised image in the unit cube; each of its `levels` bins has
//! volume `1/levels` per dimension, hence the offset (Theis, van den Oord, Bethge 2016, arXiv 1511.01844,
//! section 3.1). Discrete data has no offset.
//!
//! # Examples
//! ```
//! use pushforward::metrics::bits_per_dim::{bits, bits_per_dim_dequantised};
//! assert!((bits(8f64.ln()) - 3.0).abs() < 1e-12);
//! // The uniform density on the unit cube has a negative log density of 0 nats: 8 bits per 8-bit pixel.
//! assert!((bits_per_dim_dequantised(0.0, 28 * 28, 256) - 8.0).abs() < 1e-12);
//! ```

use std::f64::consts::LN_2;

/// `nats` in bits.
pub fn bits(nats: f64) -> f64 {
    nats / LN_2
}

/// Bits per dimension of discrete data from its negative log probability in nats.
pub fn bits_per_dim(nats: f64, dims: usize) -> f64 {
    bits(nats) / dims as f64
}

/// Bits per dimension of `levels`-valued data from the negative log density in nats of the dequantised item
/// scaled to `[0, 1]^dims`. The uniform density gives `log2 levels`.
pub fn bits_per_dim_dequantised(nats: f64, dims: usize, levels: usize) -> f64 {
    bits_per_dim(nats, dims) + bits((levels as f64).ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_choices_cost_their_logarithm() {
        assert!((bits(8.0f64.ln()) - 3.0).abs() < 1e-15);
        assert!((bits_per_dim(12.0 * 32.0f64.ln(), 12) - 5.0).abs() < 1e-14);
        assert!((bits_per_dim_dequantised(0.0, 784, 256) - 8.0).abs() < 1e-14);
    }
}
