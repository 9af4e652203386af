//! Calibration of a trained diagonal: two numbers for each noise level.
//!
//! With a Gaussian source the noised point carries the same information as `y = r x_1 + noise`, `r = t/(1-t)`, and
//! `r y_d` is what site d says of its own class. A network that is narrower than its input cannot copy that, and a short
//! training leaves it over- or underconfident. A calibrated endpoint is
//!
//! ```text
//! pi_d = softmax( a(r) z_d + b(r) r y_d )
//! ```
//!
//! with `z` the logits of the network. At every level of a grid, `a` and `b` minimise the mean square error
//! `E sum_d || x_1d - pi_d ||^2`, the integrand of [the likelihood bound](crate::flow_map::likelihood), on held-out items;
//! between levels they are linear in `ln r`. Since `a = 0`, `b = 1` is the posterior under uniform classes, a level is no worse
//! than that one on these items, up to a small penalty of what differs from the level below.
//!
//! Logits with two numbers that are fitted on held-out data follow Platt scaling and temperature scaling (Guo et al. 2017, On
//! calibration of modern neural networks, arXiv:1706.04599, section 4).
//!
//! # Examples
//! A network that knows how often each class occurs, and does not look at its input: with what the site says of itself, it
//! becomes the posterior.
//! ```
//! use pushforward::dual::Dual;
//! use pushforward::flow_map::backbone::EndpointNet;
//! use pushforward::flow_map::calibration::{Calibrated, Calibration};
//! use pushforward::flow_map::conditioning::Conditioning;
//! use pushforward::flow_map::likelihood::{BoundRequest, bound};
//! use pushforward::flow_map::map::FlowMap;
//! use pushforward::nn::{Pass, SiteShape};
//! use pushforward::prelude::*;
//! use pushforward::tensor::from_host;
//!
//! struct Frequencies;
//! impl EndpointNet for Frequencies {
//!     fn logits(&self, x: Dual<3>, _: Dual<1>, _: Dual<1>, _: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
//!         from_host(&[0.9f64.ln(), 0.1f64.ln()], [1, 1, 2], &x.value).expand(x.dims()).into()
//!     }
//! }
//! let (sites, device) = (SiteShape::line(1, 2), Device::flex());
//! let ids: Vec<u32> = (0..1000).map(|i| u32::from(i % 10 == 0)).collect();
//! let calibration = Calibration::fit(&Frequencies, &sites, &ids, 0, &device);
//! let calibrated = Calibrated::new(&Frequencies, &calibration);
//! let nats = |values: Vec<f64>| values.iter().sum::<f64>() / 1000.0;
//! let found = nats(bound(&FlowMap::new(&calibrated), sites.clone(), &ids, 0, &BoundRequest::default(), &device).values);
//! let entropy = -(0.9 * 0.9f64.ln() + 0.1 * 0.1f64.ln());
//! assert!((found - entropy).abs() < 0.02, "{found} {entropy}");
//! ```

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::dual::Dual;
use crate::flow_map::backbone::{EndpointNet, Parametrisation};
use crate::flow_map::conditioning::Conditioning;
use crate::flow_map::likelihood::{Noised, decisive_ratio};
use crate::flow_map::map::FlowMap;
use crate::nn::{Pass, SiteShape};
use crate::rng::{Purpose, stream};
use crate::tensor::to_host;
use crate::transport::time::{column, rate};

/// Number of levels of r.
const LEVELS: usize = 20;
/// The lowest level: what is below weighs nothing, since the integrand of the bound has the factor r.
const LOWEST: f64 = 0.1;
/// Numbers of the points of one pass of the network.
const TOGETHER: usize = 1 << 16;
/// Penalty of the square distance to the factors of the level below, in items that are wrong altogether: where hardly any class
/// is uncertain, few errors would decide.
const PENALTY: f64 = 1.0;
/// The largest factor.
const LARGEST: f64 = 10.0;
/// Steps of the minimisation from one start.
const STEPS: usize = 40;

/// The two numbers of each noise level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    levels: Vec<Level>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    r: f64,
    /// Factor of the logits.
    a: f64,
    /// Factor of what a site says of itself.
    b: f64,
}

impl Calibration {
    /// Fits the numbers on items that the network has not been trained on, given as class indices, item by item. The noise
    /// of item i at a level is a function of the seed, the level and i.
    ///
    /// # Panics
    /// If there is no item, the length of `ids` is not a multiple of the number of sites, or the network predicts velocities.
    pub fn fit<N: EndpointNet>(net: &N, sites: &SiteShape, ids: &[u32], seed: u64, device: &Device) -> Self {
        let rows = ids.len() / sites.count;
        assert!(rows > 0 && ids.len() == rows * sites.count, "the ids hold whole items of {} sites", sites.count);
        assert!(net.parametrisation() == Parametrisation::Endpoint, "velocities have no logits to calibrate");
        let ratio = (decisive_ratio(sites.classes) / LOWEST).powf(1.0 / (LEVELS - 1) as f64);
        let map = FlowMap::new(net);
        let together = (TOGETHER / (sites.count * sites.classes)).max(1);
        let mut levels: Vec<Level> = Vec::with_capacity(LEVELS);
        for level in 0..LEVELS {
            let r = LOWEST * ratio.powi(level as i32);
            let mut noise = stream(seed, Purpose::Calibration, level as u64);
            let near = levels.last().map_or([1.0, 0.0], |below| [below.a, below.b]);
            let mut points = Points::new(sites.classes, near);
            for part in ids.chunks(together * sites.count) {
                let noise = noise.normals(part.len() * sites.classes);
                let noised = Noised::new(sites, part, noise, &vec![r; part.len() / sites.count], device);
                let z = map.of(noised.conditioning.clone()).output(&noised.x_t, &noised.t, &noised.t);
                points.z.extend(to_host(&z));
                points.evidence.extend(to_host(&noised.evidence()));
                points.possible.extend(to_host(&noised.conditioning.mask(noised.x1.ones_like())));
                points.x1.extend(to_host(&noised.x1));
            }
            let fitted = [near, [1.0, 0.0], [0.0, 1.0]].map(|start| points.minimise(start));
            let fitted = fitted.into_iter();
            let (_, [a, b]) = fitted.min_by(|x, y| x.0.total_cmp(&y.0)).expect("there are starts");
            levels.push(Level { r, a, b });
        }
        Self { levels }
    }

    /// Checks numbers that were read from a file.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let finite = |level: &Level| [level.r, level.a, level.b].iter().all(|x| x.is_finite() && x.abs() < 1e6);
        if self.levels.is_empty() || !self.levels.iter().all(finite) || self.levels[0].r <= 0.0 {
            return Err("the calibration has levels without numbers".into());
        }
        if self.levels.windows(2).any(|pair| pair[0].r >= pair[1].r) {
            return Err("the levels of the calibration do not rise".into());
        }
        Ok(())
    }

    /// The factors `(a, b)` at a ratio r; those of the nearest level outside of the grid.
    pub fn at(&self, r: f64) -> (f64, f64) {
        let above = self.levels.partition_point(|level| level.r < r);
        let (low, high) = (&self.levels[above.saturating_sub(1)], &self.levels[above.min(self.levels.len() - 1)]);
        if low.r == high.r {
            return (low.a, low.b);
        }
        let share = ((r / low.r).ln() / (high.r / low.r).ln()).clamp(0.0, 1.0);
        (low.a + share * (high.a - low.a), low.b + share * (high.b - low.b))
    }

    /// The highest ratio of the grid.
    fn highest(&self) -> f64 {
        self.levels[self.levels.len() - 1].r
    }
}

/// The numbers that one level is fitted on, `[items, sites, classes]` each.
struct Points {
    z: Vec<f64>,
    evidence: Vec<f64>,
    x1: Vec<f64>,
    /// One for the classes that a site has.
    possible: Vec<f64>,
    classes: usize,
    /// Factors that these are drawn to.
    near: [f64; 2],
}

impl Points {
    fn new(classes: usize, near: [f64; 2]) -> Self {
        Self { z: Vec::new(), evidence: Vec::new(), x1: Vec::new(), possible: Vec::new(), classes, near }
    }

    /// The square error at `(a, b)` with the penalty, its half gradient and the Gauss-Newton matrix `(aa, ab, bb)`.
    fn error(&self, [a, b]: [f64; 2]) -> (f64, [f64; 2], [f64; 3]) {
        let (mut sum, mut gradient, mut matrix) = (0.0, [0.0; 2], [0.0; 3]);
        let mut p = vec![0.0; self.classes];
        for start in (0..self.z.len()).step_by(self.classes) {
            let site = start..start + self.classes;
            let (z, e) = (&self.z[site.clone()], &self.evidence[site.clone()]);
            let (x1, possible) = (&self.x1[site.clone()], &self.possible[site]);
            let logit = |k: usize| if possible[k] > 0.0 { a * z[k] + b * e[k] } else { f64::NEG_INFINITY };
            let largest = (0..self.classes).map(logit).fold(f64::NEG_INFINITY, f64::max);
            // A site that the item does not have.
            if largest == f64::NEG_INFINITY {
                continue;
            }
            p.iter_mut().enumerate().for_each(|(k, p)| *p = (logit(k) - largest).exp());
            let total: f64 = p.iter().sum();
            p.iter_mut().for_each(|p| *p /= total);
            let of_possible = |v: &[f64]| p.iter().zip(v).map(|(p, v)| if *p > 0.0 { p * v } else { 0.0 }).sum::<f64>();
            let (mean_z, mean_e) = (of_possible(z), of_possible(e));
            for k in (0..self.classes).filter(|&k| possible[k] > 0.0) {
                let (miss, da, db) = (p[k] - x1[k], p[k] * (z[k] - mean_z), p[k] * (e[k] - mean_e));
                sum += miss * miss;
                gradient[0] += miss * da;
                gradient[1] += miss * db;
                matrix[0] += da * da;
                matrix[1] += da * db;
                matrix[2] += db * db;
            }
        }
        for (i, (at, near)) in [a, b].into_iter().zip(self.near).enumerate() {
            sum += PENALTY * (at - near).powi(2);
            gradient[i] += PENALTY * (at - near);
            matrix[2 * i] += PENALTY;
        }
        (sum, gradient, matrix)
    }

    /// The least error from a start, and where it is: Levenberg's damped Gauss-Newton steps.
    fn minimise(&self, start: [f64; 2]) -> (f64, [f64; 2]) {
        let (mut at, mut damping) = (start, 1e-3);
        let (mut error, mut gradient, mut matrix) = self.error(at);
        for _ in 0..STEPS {
            let size = damping * (matrix[0] + matrix[2]).max(f64::MIN_POSITIVE);
            let [aa, ab, bb] = [matrix[0] + size, matrix[1], matrix[2] + size];
            let determinant = aa * bb - ab * ab;
            let [da, db] =
                [bb * gradient[0] - ab * gradient[1], aa * gradient[1] - ab * gradient[0]].map(|d| d / determinant);
            // A class that is masked has a very negative logit, which a negative factor would turn round.
            let next = [(at[0] - da).clamp(0.0, LARGEST), (at[1] - db).clamp(-LARGEST, LARGEST)];
            let found = self.error(next);
            if found.0 < error {
                let gained = error - found.0;
                (at, damping) = (next, damping * 0.2);
                (error, gradient, matrix) = found;
                if gained < 1e-7 * error {
                    break;
                }
            } else {
                damping *= 10.0;
                if damping > 1e9 {
                    break;
                }
            }
        }
        (error, at)
    }
}

/// A network whose diagonal is calibrated; jumps over a time are the network's own.
#[derive(Debug)]
pub struct Calibrated<'a, N> {
    net: &'a N,
    calibration: &'a Calibration,
}

impl<'a, N: EndpointNet> Calibrated<'a, N> {
    /// Calibrates a network by the numbers that were fitted for it.
    pub fn new(net: &'a N, calibration: &'a Calibration) -> Self {
        Self { net, calibration }
    }
}

impl<N: EndpointNet> EndpointNet for Calibrated<'_, N> {
    fn logits(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, conditioning: &Conditioning, pass: &mut Pass<'_>) -> Dual<3> {
        let [start, end] = [to_host(&s.value), to_host(&t.value)];
        let z = self.net.logits(x.clone(), s, t, conditioning, pass);
        let factors = start.iter().zip(&end).map(|(&s, &t)| {
            if s != t {
                return (1.0, 0.0);
            }
            // Beyond the grid, classes are certain; the last level's factors keep that within bounds.
            let highest = self.calibration.highest();
            let r = if s < 1.0 { (s * rate(s)).min(highest) } else { highest };
            let (a, b) = self.calibration.at(r);
            (a, b * r * (1.0 + r))
        });
        let (a, b): (Vec<f64>, Vec<f64>) = factors.unzip();
        let [a, b] = [column(&a, &z.value), column(&b, &z.value)];
        let z = z.linear(|z| z * a.clone()) + x.linear(|x| x * b.clone());
        Dual { value: conditioning.mask_logits(z.value), tangent: z.tangent }
    }

    fn parametrisation(&self) -> Parametrisation {
        self.net.parametrisation()
    }

    fn passes(&self) -> u64 {
        self.net.passes()
    }
}
