//! Rational-quadratic splines: increasing, the identity beyond their ends, inverted at their knots.

use burn::tensor::Tensor;
use pushforward::bijector::Elementwise;
use pushforward::tensor::to_host;

use crate::support::{close, numbers, tolerance, tracked};

/// Splines of one number each, all with the same parameters.
fn spline(raw: &[f64], x: &[f64]) -> [(Vec<f64>, Vec<f64>); 2] {
    let (n, map) = (x.len(), Elementwise::Spline { bins: (raw.len() + 1) / 3, bound: 2.0 });
    let parameters = || tracked::<3>(&raw.repeat(n), [n, 1, raw.len()]);
    let host = |(y, l): (Tensor<2>, Tensor<2>)| (to_host(&y), to_host(&l));
    [host(map.forward(tracked(x, [n, 1]), parameters())), host(map.inverse(tracked(x, [n, 1]), parameters()))]
}

#[test]
fn splines_are_increasing_and_the_identity_beyond_their_ends() {
    for (seed, size) in [(1, 1.0), (2, 5.0), (3, 30.0)] {
        let raw: Vec<f64> = numbers(14, seed).iter().map(|v| v * size).collect();
        let outside = [-1e6, -2.5, -2.0 - 1e-9, 2.0 + 1e-9, 7.0];
        for (y, ladj) in spline(&raw, &outside) {
            assert_eq!(y, tracked::<1>(&outside, [5]).to_data().iter::<f64>().collect::<Vec<_>>());
            assert_eq!(ladj, [0.0; 5]);
        }
        let grid: Vec<f64> = (0..=4000).map(|i| -2.0 + i as f64 * 1e-3).collect();
        for (y, ladj) in spline(&raw, &grid) {
            assert!(y.windows(2).all(|w| w[0] <= w[1]), "size {size}");
            assert!(ladj.iter().all(|l| l.is_finite()), "size {size}");
            assert!((y[0] + 2.0).abs() < tolerance(1e-12) && (y[4000] - 2.0).abs() < tolerance(1e-12), "size {size}");
        }
    }
}

#[test]
fn splines_invert_at_their_knots() {
    // Knots of zero parameters lie at multiples of 0.8; those of others where their shares of the interval end.
    let zero = vec![0.0; 14];
    let random: Vec<f64> = numbers(14, 4);
    let total: f64 = random[..5].iter().map(|v| v.exp()).sum();
    let mut knots = vec![-2.0];
    for v in &random[..5] {
        let share = v.exp() / total * (1.0 - 5e-3) + 1e-3;
        knots.push(knots.last().expect("one") + 4.0 * share);
    }
    assert!((knots[5] - 2.0).abs() < 1e-12);
    for (raw, knots) in [(&zero, (0..6).map(|k| -2.0 + 0.8 * k as f64).collect()), (&random, knots)] {
        let around: Vec<f64> = knots.iter().flat_map(|k| [k - 1e-9, k - 1e-16, *k, k + 1e-16, k + 1e-9]).collect();
        let [(y, slopes), _] = spline(raw, &around);
        let [_, (x, back)] = spline(raw, &y);
        close("back at the knots", &x, &around, tolerance(1e-12));
        for ((s, b), x) in slopes.iter().zip(&back).zip(&around) {
            assert!((s + b).abs() < tolerance(1e-7), "slopes at {x}: {s} there, {b} back");
        }
    }
    let [(y, ladj), _] = spline(&zero, &knots_of_zero());
    close("zero parameters", &y, &knots_of_zero(), tolerance(1e-12));
    assert!(ladj.iter().all(|l| l.abs() < tolerance(1e-12)));
}

fn knots_of_zero() -> Vec<f64> {
    (0..6).map(|k| -2.0 + 0.8 * k as f64).collect()
}
