//! Changes of variables: integration along the path with the trace of the Jacobian, and Jacobians of jumps.
//!
//! In `tau = -log(1-t)` the differential equation of the diagonal needs no division,
//!
//! ```text
//! dx/dtau = pi_tt(x) - x        d log p/dtau = - tr( d pi_tt/dx - 1 )
//! ```
//!
//! integrated with the classical Runge-Kutta method of fourth order. The trace is a sum of `v . J v` over directions `v`,
//! one pass of dual numbers each: over all unit vectors exactly, over random signs in the mean (Hutchinson 1990, as in
//! Grathwohl et al. 2019, arXiv:1810.01367).
//!
//! # Examples
//! There and back again.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//! use pushforward::transport::VectorMapConfig;
//! use pushforward::transport::change::{from_noise, to_noise};
//!
//! let map = VectorMapConfig::default().init(2, &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! let noise = Tensor::<2>::from_data([[0.7f32, -1.2]], &Device::flex());
//! let z = from_noise(&map, noise.clone(), 0.8, 16);
//! assert!(to_host(&(to_noise(&map, z, 0.8, 16) - noise)).iter().all(|error| error.abs() < 1e-5));
//! ```

use burn::tensor::{DType, Tensor};
use faer::{Mat, linalg::solvers::Solve as _};

use crate::dual::Dual;
use crate::tensor::{from_host, to_host};
use crate::transport::map::{Transport, drawn, endpoint_at};

/// Rows of a pass of dual numbers.
const ROWS: usize = 4096;

/// `tau` at time t.
fn tau(t: f64) -> f64 {
    -(-t).ln_1p()
}

/// `[pi_tt(x) - x, v . (J - 1) v for every direction]` at a time `tau`.
///
/// # Shapes
/// - `x`, every direction, first output: `[batch, d]`
/// - second output: `[batch, directions]`; `None` without directions
fn slopes(map: &impl Transport, x: &Tensor<2>, tau: f64, directions: &[Tensor<2>]) -> (Tensor<2>, Option<Tensor<2>>) {
    let t = -(-tau).exp_m1();
    let [batch, _] = x.dims();
    let velocity = |pi: Tensor<2>| pi - x.clone();
    if directions.is_empty() {
        return (velocity(endpoint_at(map, x.clone().into(), t, t).value), None);
    }
    let (mut first, mut traces) = (None, Vec::new());
    for part in directions.chunks((ROWS / batch).max(1)) {
        let v = Tensor::cat(part.to_vec(), 0);
        let rows = Tensor::cat(vec![x.clone(); part.len()], 0);
        let pi = endpoint_at(map, Dual::new(rows, v.clone()), t, t);
        let change = (v.clone() * (pi.tangent_or_zeros() - v)).sum_dim(1);
        traces.push(change.reshape([part.len(), batch]).swap_dims(0, 1));
        first.get_or_insert_with(|| velocity(pi.value.narrow(0, 0, batch)));
    }
    (first.expect("there are directions"), Some(Tensor::cat(traces, 1)))
}

/// Integrates points and traces from one `tau` to another.
fn integrate(
    map: &impl Transport,
    mut x: Tensor<2>,
    [from, to]: [f64; 2],
    steps: usize,
    directions: &[Tensor<2>],
) -> (Tensor<2>, Option<Tensor<2>>) {
    let h = (to - from) / steps as f64;
    let mut total: Option<Tensor<2>> = None;
    for step in 0..steps {
        let at = from + h * step as f64;
        let (k1, g1) = slopes(map, &x, at, directions);
        let (k2, g2) = slopes(map, &(x.clone() + k1.clone() * (0.5 * h)), at + 0.5 * h, directions);
        let (k3, g3) = slopes(map, &(x.clone() + k2.clone() * (0.5 * h)), at + 0.5 * h, directions);
        let (k4, g4) = slopes(map, &(x.clone() + k3.clone() * h), at + h, directions);
        x = x + (k1 + (k2 + k3) * 2.0 + k4) * (h / 6.0);
        if let (Some(g1), Some(g2), Some(g3), Some(g4)) = (g1, g2, g3, g4) {
            let change = (g1 + (g2 + g3) * 2.0 + g4) * (h / 6.0);
            total = Some(total.map_or(change.clone(), |total| total + change));
        }
    }
    (x, total)
}

/// The noise at time 0 from which the differential equation of the diagonal goes to `z` at the time `end`.
///
/// # Shapes
/// - `z`, output: `[batch, d]`
pub fn to_noise(map: &impl Transport, z: Tensor<2>, end: f64, steps: usize) -> Tensor<2> {
    integrate(map, z * end, [tau(end), 0.0], steps, &[]).0
}

/// The inverse of [`to_noise`].
///
/// # Shapes
/// - `noise`, output: `[batch, d]`
pub fn from_noise(map: &impl Transport, noise: Tensor<2>, end: f64, steps: usize) -> Tensor<2> {
    integrate(map, noise, [0.0, tau(end)], steps, &[]).0 / end
}

/// The noise of `z`, and the integral of the trace over every direction along the way from the noise to `z`, without the
/// change of scale by `end`.
///
/// # Shapes
/// - `z`, every direction, first output: `[batch, d]`
/// - second output: `[batch, directions]`
pub(super) fn to_noise_and_traces(
    map: &impl Transport,
    z: Tensor<2>,
    end: f64,
    steps: usize,
    directions: &[Tensor<2>],
) -> (Tensor<2>, Tensor<2>) {
    let (noise, back) = integrate(map, z * end, [tau(end), 0.0], steps, directions);
    (noise, back.expect("there are directions").neg())
}

/// The unit vectors of `d` dimensions, repeated for every row of `like`.
pub(super) fn unit_vectors(like: &Tensor<2>) -> Vec<Tensor<2>> {
    let [batch, d] = like.dims();
    let unit = |j: usize| (0..d).map(|i| f64::from(i == j)).collect::<Vec<f64>>();
    (0..d).map(|j| from_host::<2, 2>(&unit(j), [1, d], like).expand([batch, d])).collect()
}

/// Draws `G(e)` of [`draw`](super::map::draw) with their Jacobians `dG_i/de_j`, row-major, one matrix per row.
fn jacobians(map: &impl Transport, noise: &Tensor<2>, end: f64, jumps: usize) -> (Vec<f64>, Vec<Mat<f64>>) {
    let [batch, d] = noise.dims();
    let (mut value, mut matrices) = (Vec::new(), vec![Mat::zeros(d, d); batch]);
    let directions = unit_vectors(noise);
    for (first, part) in directions.chunks((ROWS / batch).max(1)).enumerate() {
        let first = first * (ROWS / batch).max(1);
        let rows = Tensor::cat(vec![noise.clone(); part.len()], 0);
        let g = drawn(map, Dual::new(rows, Tensor::cat(part.to_vec(), 0)), end, jumps);
        if first == 0 {
            value = to_host(&g.value.clone().narrow(0, 0, batch));
        }
        for (row, column) in to_host(&g.tangent_or_zeros()).chunks_exact(d).enumerate() {
            let (j, item) = (first + row / batch, row % batch);
            column.iter().enumerate().for_each(|(i, &v)| matrices[item][(i, j)] = v);
        }
    }
    (value, matrices)
}

/// `log |det dG/de|` of the draws from `noise`, one per row.
///
/// # Examples
/// Draws of one jump go back to their noise, and the map before training scales by `sqrt(1 + eps^2)`.
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::tensor::to_host;
/// use pushforward::transport::VectorMapConfig;
/// use pushforward::transport::change::{comes_back, invert, log_determinants};
/// use pushforward::transport::map::{draw, end_time};
///
/// let (end, eps) = (end_time(0.5), 0.5f64);
/// let map = VectorMapConfig::default().init(2, &Device::flex(), &mut stream(0, Purpose::Init, 0));
/// let noise = Tensor::<2>::from_data([[0.7f32, -1.2]], &Device::flex());
/// let (back, found) = invert(&map, &draw(&map, noise.clone(), end, 1), end, 1);
/// assert!(to_host(&(back - noise.clone())).iter().all(|error| error.abs() < 1e-4) && found == [true]);
/// assert_eq!(comes_back(&map, &noise, end, 1), [true]);
/// assert!((log_determinants(&map, &noise, end, 1)[0] - (1.0 + eps * eps).ln()).abs() < 1e-4);
/// ```
///
/// # Shapes
/// - `noise`: `[batch, d]`
pub fn log_determinants(map: &impl Transport, noise: &Tensor<2>, end: f64, jumps: usize) -> Vec<f64> {
    jacobians(map, noise, end, jumps).1.iter().map(log_abs_det).collect()
}

fn log_abs_det(matrix: &Mat<f64>) -> f64 {
    let lu = matrix.partial_piv_lu();
    (0..matrix.nrows()).map(|i| lu.U()[(i, i)].abs().ln()).sum()
}

/// Most Newton steps.
const NEWTON: usize = 30;
/// Steps along the path to the point where Newton's method starts.
const START: usize = 16;

/// The error at which a number of this type counts as zero.
pub(super) fn resolution(dtype: DType) -> f64 {
    if dtype == DType::F64 { 1e-10 } else { 1e-4 }
}

/// Noise `e` with `G(e) = z` for every row, by Newton's method from the noise of the differential equation, and whether it
/// was found. A jump that is not one to one has other solutions, too.
///
/// # Shapes
/// - `z`, first output: `[batch, d]`
pub fn invert(map: &impl Transport, z: &Tensor<2>, end: f64, jumps: usize) -> (Tensor<2>, Vec<bool>) {
    let [batch, d] = z.dims();
    let wanted = to_host(z);
    let mut noise = to_host(&to_noise(map, z.clone(), end, START));
    let mut best = (noise.clone(), vec![f64::INFINITY; batch]);
    let mut factor = vec![1.0f64; batch];
    let tolerance = resolution(z.dtype());
    for _ in 0..NEWTON {
        let (value, matrices) = jacobians(map, &from_host(&noise, [batch, d], z), end, jumps);
        for i in 0..batch {
            let range = i * d..(i + 1) * d;
            let miss: Vec<f64> = range.clone().map(|k| value[k] - wanted[k]).collect();
            // What is no number is as far away as can be.
            let worst = range.clone().zip(&miss).map(|(k, m)| m.abs() / (1.0 + wanted[k].abs()));
            let worst = worst.fold(0.0, |most: f64, m| if m.is_nan() { f64::INFINITY } else { most.max(m) });
            if worst < best.1[i] {
                best.1[i] = worst;
                best.0[range.clone()].copy_from_slice(&noise[range.clone()]);
                factor[i] = (2.0 * factor[i]).min(1.0);
                let step = matrices[i].partial_piv_lu().solve(Mat::from_fn(d, 1, |k, _| miss[k]));
                for (k, at) in range.enumerate() {
                    noise[at] -= factor[i] * step[(k, 0)];
                }
            } else {
                // Half of the way back to the best point.
                factor[i] *= 0.5;
                let half = |at: usize| 0.5 * (noise[at] + best.0[at]);
                let back: Vec<f64> = range.clone().map(half).collect();
                let finite = back.iter().all(|v| v.is_finite());
                noise[range.clone()].copy_from_slice(if finite { &back } else { &best.0[range] });
            }
        }
        if best.1.iter().all(|&miss| miss < 1e-3 * tolerance) {
            break;
        }
    }
    let found = best.1.iter().map(|&miss| miss < tolerance).collect();
    (from_host(&best.0, [batch, d], z), found)
}

/// Whether the noise of every row comes back from its draw: all of it, if the jump is one to one there.
///
/// # Shapes
/// - `noise`: `[batch, d]`
pub fn comes_back(map: &impl Transport, noise: &Tensor<2>, end: f64, jumps: usize) -> Vec<bool> {
    let z = drawn(map, noise.clone().into(), end, jumps).value;
    let (back, found) = invert(map, &z, end, jumps);
    let d = noise.dims()[1];
    let tolerance = 100.0 * resolution(noise.dtype());
    let near = |(a, b): (&f64, &f64)| (a - b).abs() < tolerance * (1.0 + b.abs());
    let rows = to_host(&back)
        .chunks(d)
        .zip(to_host(noise).chunks(d))
        .map(|(a, b)| a.iter().zip(b).all(near))
        .collect::<Vec<_>>();
    rows.into_iter().zip(found).map(|(near, found)| near && found).collect()
}
