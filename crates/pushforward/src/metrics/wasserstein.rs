//! The 1-Wasserstein distance of two samples of real numbers, in their unit.
//!
//! ```text
//! W1(x, y) = integral |F_x(v) - F_y(v)| dv
//! ```
//!
//! Exact, by one pass over both sorted samples. Two finite samples of the same distribution are not at distance zero:
//! report the distance of held-out data beside it.
//!
//! # Examples
//! ```
//! use pushforward::metrics::wasserstein::wasserstein;
//! // A translation costs its length; the order and repetition of values do not matter.
//! assert_eq!(wasserstein(&[0.0, 1.0], &[3.0, 4.0]), 3.0);
//! assert_eq!(wasserstein(&[0.0, 1.0], &[1.0, 0.0, 0.0, 1.0]), 0.0);
//! ```

/// The distance of two samples of any sizes; NaN if one is empty or contains NaN.
pub fn wasserstein(x: &[f64], y: &[f64]) -> f64 {
    if x.is_empty() || y.is_empty() || x.iter().chain(y).any(|v| v.is_nan()) {
        return f64::NAN;
    }
    let sorted = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values
    };
    let (x, y) = (sorted(x), sorted(y));
    let (mut i, mut j, mut total) = (0, 0, 0.0);
    let mut at = x[0].min(y[0]);
    while i < x.len() || j < y.len() {
        let next = match (x.get(i), y.get(j)) {
            (Some(&a), Some(&b)) => a.min(b),
            (Some(&a), None) => a,
            (None, Some(&b)) => b,
            (None, None) => unreachable!("one sample is not at its end"),
        };
        let gap = i as f64 / x.len() as f64 - j as f64 / y.len() as f64;
        // Equal values contribute nothing; the product of zero and an infinite step would be NaN.
        if next > at {
            total += gap.abs() * (next - at);
        }
        at = next;
        while x.get(i) == Some(&next) {
            i += 1;
        }
        while y.get(j) == Some(&next) {
            j += 1;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(wasserstein(&[0.0, 1.0], &[0.0, 1.0]), 0.0);
        assert_eq!(wasserstein(&[0.0], &[3.0]), 3.0);
        assert_eq!(wasserstein(&[0.0, 0.0, 1.0], &[1.0]), 2.0 / 3.0);
        assert!((wasserstein(&[0.0, 1.0, 3.0], &[5.0, 6.0, 8.0]) - 5.0).abs() < 1e-15);
        assert!(wasserstein(&[], &[1.0]).is_nan());
        assert!(wasserstein(&[f64::NAN], &[1.0]).is_nan());
    }

    proptest! {
        #[test]
        fn equal_sizes_match_in_order_and_repetition_changes_nothing(
            pairs in proptest::collection::vec((-5.0f64..5.0, -5.0f64..5.0), 1..30),
        ) {
            let (mut x, mut y): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let distance = wasserstein(&x, &y);
            prop_assert!((distance - wasserstein(&[&x[..], &x[..]].concat(), &y)).abs() < 1e-12);
            x.sort_by(f64::total_cmp);
            y.sort_by(f64::total_cmp);
            let matched = x.iter().zip(&y).map(|(a, b)| (a - b).abs()).sum::<f64>() / x.len() as f64;
            prop_assert!((distance - matched).abs() < 1e-12, "{distance} {matched}");
        }
    }
}
