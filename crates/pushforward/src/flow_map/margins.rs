//! Margins of one- and few-step samples: factors of the last decision by which every site has its classes as often as the data.
//!
//! A jump ends in the most probable class of every site, and where the endpoint is not certain the frequent classes win more
//! often than they should: rare values get rarer. How often the data have each class is known, so the decision is raked to it:
//!
//! ```text
//! class_i = argmax_k  w_ik pi_ik(x)                      w such that  n_ik / n = p_ik  over n samples x
//! w_ik <- w_ik ((p_ik + 1/2n) / (n_ik/n + 1/2n))^a       from w = 1 on; a from 0.3 to 0
//! ```
//!
//! Here `p_ik` is the share of class k at site i in the training data, and `n_ik` how many samples have it there. Only decisions that were close
//! change, and with them what goes together: on Adult a detector by boosted trees tells one-step rows apart less well, too.
//!
//! References: Deming and Stephan 1940 (raking of a table to known margins); Menon et al. 2021 (logits adjusted by the
//! frequency of classes), arXiv:2007.07314.
//!
//! # Examples
//! ```
//! use pushforward::flow_map::margins::{Margins, fit};
//!
//! // A site whose endpoint prefers class 0 where a third of the data have class 1.
//! let endpoints: Vec<f32> = (0..300).flat_map(|i| [0.5 + i as f32 / 600.0, 0.5 - i as f32 / 600.0]).collect();
//! let factors = fit(&endpoints, 2, &[vec![200.0, 100.0]]);
//! let second = endpoints.chunks(2).filter(|p| f64::from(p[1]) * factors[0][1] > f64::from(p[0]) * factors[0][0]).count();
//! assert!((95..=105).contains(&second), "{second}");
//! let mut margins = Margins::default();
//! margins.keep(1, factors.clone());
//! assert_eq!((margins.of(1), margins.of(2)), (Some(&factors[..]), None));
//! ```

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::node_pairs::ABSENT;

/// Factors are between one over this and this.
const MOST: f64 = 20.0;
/// Exponent of an update: less than 1, since the samples of a class do not grow in proportion to its factor.
const STEP: f64 = 0.3;
/// Most updates, and those without an improvement after which margins have settled.
const UPDATES: usize = 200;
const SETTLED: usize = 40;
/// Factor of the exponent from one update to the next, and the largest ratio of one: where endpoints hardly differ, larger steps would
/// only move all samples from one class to another.
const SHORTER: f64 = 0.98;
const LARGEST: f64 = 4.0;
/// Most jumps that factors are kept for.
pub(crate) const MOST_STEPS: usize = 64;

/// Factors of classes, site by site, by the number of jumps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Margins(BTreeMap<usize, Vec<Vec<f64>>>);

impl Margins {
    /// The factors for so many jumps.
    pub fn of(&self, steps: usize) -> Option<&[Vec<f64>]> {
        self.0.get(&steps).map(Vec::as_slice)
    }

    /// Keeps factors in place of those for as many jumps.
    pub fn keep(&mut self, steps: usize, factors: Vec<Vec<f64>>) {
        self.0.insert(steps, factors);
    }

    /// Leaves out the factors for so many jumps, which other times would make wrong.
    pub(crate) fn forget(&mut self, steps: usize) {
        self.0.remove(&steps);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks factors that were read from a file, for sites of so many classes each.
    ///
    /// # Errors
    /// Names the first that are none.
    pub fn check(&self, classes: &[usize]) -> Result<(), String> {
        for (&steps, factors) in &self.0 {
            let lengths = factors.iter().map(Vec::len).eq(classes.iter().copied());
            let sound =
                factors.iter().flatten().all(|factor| factor.is_finite() && (1.0 / MOST..=MOST).contains(factor));
            if !(1..=MOST_STEPS).contains(&steps) || !lengths || !sound {
                return Err(format!("the factors of {steps} jumps are not those of {} sites", classes.len()));
            }
        }
        Ok(())
    }
}

/// Factors by which the likeliest classes of endpoints have these shares (not normalised), site by site; those of a site whose shares are all
/// zero are 1. Endpoints that are zero throughout, of sites that an item does not have, count nothing. `classes` is the number of classes of an endpoint's sites, of which the last ones may be missing at some.
///
/// # Panics
/// If the endpoints are not those of as many sites, or a site has more classes.
pub fn fit(endpoints: &[f32], classes: usize, shares: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let item = classes * shares.len();
    assert!(
        item > 0 && endpoints.len().is_multiple_of(item),
        "endpoints of {} sites of {classes} classes",
        shares.len()
    );
    let site = |(at, shares): (usize, &Vec<f64>)| {
        let total: f64 = shares.iter().sum();
        assert!(shares.len() <= classes, "shares of at most {classes} classes, found {}", shares.len());
        if total <= 0.0 {
            return vec![1.0; shares.len()];
        }
        let law = |of: &'_ [f32]| of[at * classes..at * classes + shares.len()].to_vec();
        let laws: Vec<f32> =
            endpoints.chunks(item).map(law).filter(|law| law.iter().any(|&p| p > 0.0)).flatten().collect();
        let n = (laws.len() / shares.len()) as f64;
        let mut factors = vec![1.0; shares.len()];
        let (mut best, mut at_best) = ((f64::INFINITY, factors.clone()), 0);
        for update in 0..UPDATES {
            let mut counts = vec![0u32; shares.len()];
            laws.chunks(shares.len()).for_each(|law| counts[likeliest(law, &factors)] += 1);
            let found = |class: usize| f64::from(counts[class]) / n;
            let apart =
                shares.iter().enumerate().map(|(class, share)| (share / total - found(class)).abs()).sum::<f64>();
            if apart < best.0 {
                (best, at_best) = ((apart, factors.clone()), update);
            }
            // All shares are met to the item, or no update brings them nearer.
            if apart * n < 1.0 || update > at_best + SETTLED {
                break;
            }
            for (class, factor) in factors.iter_mut().enumerate() {
                let ratio = (shares[class] / total + 0.5 / n) / (found(class) + 0.5 / n);
                let ratio = ratio.clamp(1.0 / LARGEST, LARGEST);
                *factor = (*factor * ratio.powf(STEP * SHORTER.powi(update as i32))).clamp(1.0 / MOST, MOST);
            }
        }
        // With fewer digits than sampling them has.
        best.1.into_iter().map(|factor| (factor * 1e4f64).round() / 1e4).collect()
    };
    shares.par_iter().enumerate().map(site).collect()
}

/// How often items have each class, site by site; sites that they do not have are left out.
pub(crate) fn counts(ids: &[u32], shares: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut counts: Vec<Vec<f64>> = shares.iter().map(|of| vec![0.0; of.len()]).collect();
    for item in ids.chunks(shares.len()) {
        let there = item.iter().zip(&mut counts).filter(|(class, _)| **class != ABSENT);
        there.for_each(|(&class, counts)| counts[class as usize] += 1.0);
    }
    counts
}

/// Mean over sites of the total variation between two sets of shares, which are normalised.
pub(crate) fn apart(found: &[Vec<f64>], shares: &[Vec<f64>]) -> f64 {
    let site = |(found, shares): (&Vec<f64>, &Vec<f64>)| {
        let [n, total] = [found, shares].map(|of| of.iter().sum::<f64>().max(1e-300));
        0.5 * found.iter().zip(shares).map(|(a, b)| (a / n - b / total).abs()).sum::<f64>()
    };
    found.iter().zip(shares).map(site).sum::<f64>() / shares.len().max(1) as f64
}

/// The likeliest classes of endpoints under factors, item by item.
pub(crate) fn decide(endpoints: &[f32], classes: usize, factors: &[Vec<f64>]) -> Vec<u32> {
    let site = |(law, factors): (&[f32], &Vec<f64>)| likeliest(&law[..factors.len()], factors) as u32;
    endpoints.chunks(classes * factors.len()).flat_map(|item| item.chunks(classes).zip(factors).map(site)).collect()
}

fn likeliest(law: &[f32], factors: &[f64]) -> usize {
    let weighed = law.iter().zip(factors).map(|(&p, factor)| f64::from(p) * factor).enumerate();
    weighed.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    #[test]
    fn rare_classes_get_their_share_at_every_site() {
        let mut random = stream(0, Purpose::Sample, 0);
        // Endpoints of two sites of four and three classes that are sharper than the shares of their classes.
        let mut endpoints = Vec::new();
        for _ in 0..4000 {
            let mut law = |prior: &[f64]| {
                let weights: Vec<f64> = prior.iter().map(|p| p * p * (3.0 * random.normal()).exp()).collect();
                let total: f64 = weights.iter().sum();
                endpoints.extend(weights.iter().map(|w| (w / total) as f32));
            };
            law(&[0.7, 0.2, 0.08, 0.02]);
            law(&[0.5, 0.45, 0.05, 0.0]);
        }
        let shares = [vec![0.7, 0.2, 0.08, 0.02], vec![0.5, 0.45, 0.05]];
        let plain = [vec![1.0; 4], vec![1.0; 3]];
        let factors = fit(&endpoints, 4, &shares);
        let [before, after] =
            [&plain[..], &factors].map(|factors| apart(&counts(&decide(&endpoints, 4, factors), &shares), &shares));
        assert!(before > 0.02 && after < 0.002, "{before} {after}");
        // A site that no training row has a class at stays as it is.
        assert_eq!(fit(&[0.25, 0.75], 2, &[vec![0.0, 0.0]]), [[1.0, 1.0]]);
        let mut margins = Margins::default();
        margins.keep(2, factors);
        assert!(margins.check(&[4, 3]).is_ok());
        assert!(margins.check(&[4, 4]).is_err() && margins.check(&[4]).is_err());
        for bad in [r#"{"0":[]}"#, r#"{"1":[[0.0]]}"#, r#"{"1":[[1e9]]}"#, r#"{"99":[[1.0]]}"#] {
            assert!(serde_json::from_str::<Margins>(bad).expect("numbers").check(&[1]).is_err(), "{bad}");
        }
        margins.forget(2);
        assert!(margins.is_empty());
    }
}
