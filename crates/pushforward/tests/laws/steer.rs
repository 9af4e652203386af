//! Steered samples follow the tilted distribution, where it can be enumerated.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use burn::tensor::Tensor;
use pushforward::data::synthetic::checker;
use pushforward::dual::Dual;
use pushforward::flow_map::backbone::EndpointNet;
use pushforward::flow_map::conditioning::Conditioning;
use pushforward::flow_map::config::OffDiagonal;
use pushforward::flow_map::sample::{Generator, LastStep, SampleRequest, Sampler};
use pushforward::flow_map::steer::{
    Method, RenoiseTarget, Reward, RewardError, SmcSettings, SteerError, SteerRequest, Steered, Twist, steer,
    steer_together,
};
use pushforward::flow_map::time::TimeGrid;
use pushforward::nn::{Pass, SiteShape};
use pushforward::ranks::{RankError, Ranks};
use pushforward::tensor::{from_host, to_host};

use super::sampler::config;
use crate::support::device;

/// Three binary variables, independent: the posterior of every site is exact, and so is a draw of all.
pub(super) struct Coins;

pub(super) const COINS: SiteShape = SiteShape::line(3, 2);
const HEADS: [f64; 3] = [0.3, 0.5, 0.8];

impl EndpointNet for Coins {
    fn logits(&self, x: Dual<3>, s: Dual<1>, _: Dual<1>, conditioning: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
        let x = x.value;
        let prior: Vec<f64> = HEADS.iter().flat_map(|p| [(1.0 - p).ln(), p.ln()]).collect();
        let evidence: Vec<f64> = to_host(&s.value).iter().map(|s| s / (1.0 - s).powi(2)).collect();
        let evidence = from_host(&evidence, [x.dims()[0], 1, 1], &x);
        conditioning.mask_logits(x.clone() * evidence + from_host(&prior, [1, 3, 2], &x)).into()
    }
}

/// A reward that ties the coins together: `1.2` for an odd number of heads, `-0.8` for every head.
pub(super) struct Odd;

impl Odd {
    fn of(item: &[u32]) -> f64 {
        let heads = item.iter().sum::<u32>();
        1.2 * f64::from(heads % 2) - 0.8 * f64::from(heads)
    }
}

impl Reward for Odd {
    fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
        Ok(ids.chunks(3).map(Self::of).collect())
    }

    /// Mean of the reward for independent sites: `E[odd] = (1 - prod_i (1 - 2 p_i)) / 2`.
    fn soft(&self, pi: Tensor<3>) -> Option<Tensor<1>> {
        let heads: Tensor<2> = pi.slice_dim(2, 1..2).squeeze_dim(2);
        let even = (heads.clone() * -2.0 + 1.0).prod_dim(1);
        Some(((even.neg() + 1.0) * 0.6 - heads.sum_dim(1) * 0.8).squeeze_dim(1))
    }
}

/// The tilted distribution of the coins and its `Z`, by enumeration.
fn tilted_coins() -> (Vec<f64>, f64) {
    let items = (0..8).map(|i| [i >> 2 & 1, i >> 1 & 1, i & 1].map(|b: u32| b));
    let weight = |item: [u32; 3]| {
        let p: f64 = item.iter().zip(HEADS).map(|(&h, p)| if h == 1 { p } else { 1.0 - p }).product();
        p * Odd::of(&item).exp()
    };
    let law: Vec<f64> = items.map(weight).collect();
    let z: f64 = law.iter().sum();
    (law.iter().map(|w| w / z).collect(), z)
}

fn shares(ids: &[u32], sites: SiteShape) -> Vec<f64> {
    let mut found = vec![0.0; sites.classes.pow(sites.count as u32)];
    let n = (ids.len() / sites.count) as f64;
    for item in ids.chunks(sites.count) {
        found[item.iter().fold(0, |cell, &id| cell * sites.classes + id as usize)] += 1.0 / n;
    }
    found
}

fn total_variation(a: &[f64], b: &[f64]) -> f64 {
    0.5 * a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>()
}

pub(super) fn request(method: Method, steps: usize, particles: usize, seed: u64) -> SteerRequest {
    let last = LastStep::Draw;
    let sample = SampleRequest { last, batch: particles.max(256), ..SampleRequest::map(particles, steps, seed) };
    let sampler = if matches!(method, Method::BestOf | Method::Resample) { Sampler::Map } else { Sampler::RENOISE };
    SteerRequest { sample: SampleRequest { sampler, ..sample }, method, particles, keep: particles, part: None }
}

pub(super) fn run(net: &impl EndpointNet, sites: SiteShape, reward: &dyn Reward, request: &SteerRequest) -> Steered {
    steer(
        &Generator::new(net, sites, &device()).with_noise(config(OffDiagonal::default()).noise()),
        request,
        reward,
        &mut |_| true,
    )
    .expect("it steers")
}

fn smc(twist: Twist, draws: usize) -> Method {
    Method::Smc(SmcSettings { twist, renoise: RenoiseTarget::Drawn, draws, ..SmcSettings::default() })
}

fn tilt(twist: Twist, pull: f64) -> Method {
    Method::Tilt { churn: 1.0, pull, settings: SmcSettings { twist, ..SmcSettings::default() } }
}

/// With 10,000 independent draws of 8 cells the total variation is about 0.4 sqrt(8/10000) = 0.011; systematic resampling adds
/// less than as much again.
#[test]
fn three_variables_follow_the_tilted_law() {
    let (law, z) = tilted_coins();
    for (method, steps) in [
        (Method::Resample, 1),
        (smc(Twist::Draws, 1), 4),
        (smc(Twist::Draws, 4), 4),
        (smc(Twist::Soft, 2), 4),
        (smc(Twist::Mode, 2), 4),
    ] {
        let found = run(&Coins, COINS, &Odd, &request(method, steps, 10_000, 1));
        let distance = total_variation(&shares(&found.samples.ids, COINS), &law);
        let log_z = found.populations[0].log_z.expect("the method estimates Z");
        assert!(distance < 0.02, "{method:?}: {distance}");
        assert!((log_z - z.ln()).abs() < 0.05, "{method:?}: {log_z} against {}", z.ln());
        assert_eq!(found.rewards, found.samples.items().map(Odd::of).collect::<Vec<_>>());
        assert_eq!(found.populations[0].nfe, steps as u64, "{method:?}");
        assert_eq!(found.populations[0].ess.len(), if method == Method::Resample { 1 } else { steps });
    }
}

/// The diffusion with mean-field ends is exact for independent sites in the limit of small steps, with any pull.
#[test]
fn tilting_follows_the_tilted_law() {
    let (law, z) = tilted_coins();
    for (method, per_step) in [(tilt(Twist::Draws, 0.0), 2), (tilt(Twist::Soft, 0.0), 2), (tilt(Twist::Soft, 1.0), 3)] {
        let found = run(&Coins, COINS, &Odd, &request(method, 24, 6_000, 2));
        let distance = total_variation(&shares(&found.samples.ids, COINS), &law);
        let log_z = found.populations[0].log_z.expect("the method estimates Z");
        assert!(distance < 0.035, "{method:?}: {distance}");
        assert!((log_z - z.ln()).abs() < 0.06, "{method:?}: {log_z} against {}", z.ln());
        assert_eq!(found.populations[0].nfe, 23 * per_step + 1, "{method:?}");
    }
}

/// If the endpoint itself is renoised, the tilted distribution is that of the sampler `renoise`, estimated here by
/// sampling.
#[test]
fn mean_ends_follow_the_tilted_law_of_the_sampler() {
    for last in [LastStep::Draw, LastStep::Argmax] {
        let mut plain = request(Method::BestOf, 3, 1, 11);
        (plain.sample.count, plain.sample.sampler, plain.sample.batch) = (40_000, Sampler::RENOISE, 4000);
        plain.sample.last = last;
        let base = shares(&run(&Coins, COINS, &Odd, &plain).samples.ids, COINS);
        let cells = (0..8u32).map(|i| Odd::of(&[i >> 2 & 1, i >> 1 & 1, i & 1]).exp());
        let law: Vec<f64> = base.iter().zip(cells).map(|(p, w)| p * w).collect();
        let z: f64 = law.iter().sum();
        let law: Vec<f64> = law.iter().map(|w| w / z).collect();
        assert!(total_variation(&law, &tilted_coins().0) > 0.05, "it is another law than that of drawn ends");
        for twist in [Twist::Draws, Twist::Soft, Twist::Mode] {
            let method = Method::Smc(SmcSettings { twist, renoise: RenoiseTarget::Mean, ..SmcSettings::default() });
            let mut wanted = request(method, 3, 10_000, 12);
            wanted.sample.last = last;
            let found = run(&Coins, COINS, &Odd, &wanted);
            let distance = total_variation(&shares(&found.samples.ids, COINS), &law);
            let log_z = found.populations[0].log_z.expect("an estimate");
            // Both sides are estimates: 40,000 draws have about half the error of 10,000.
            assert!(distance < 0.025, "{last:?}, {twist:?}: {distance}");
            assert!((log_z - z.ln()).abs() < 0.05, "{last:?}, {twist:?}: {log_z} against {}", z.ln());
        }
    }
}

#[test]
fn estimates_of_z_are_unbiased() {
    let z = tilted_coins().1;
    for method in [Method::Resample, smc(Twist::Draws, 2), smc(Twist::Soft, 1)] {
        // Few particles and frequent resampling, which would expose a bias.
        let method = match method {
            Method::Smc(settings) => Method::Smc(SmcSettings { threshold: 1.0, ..settings }),
            other => other,
        };
        let mut wanted = request(method, 3, 6, 7);
        wanted.sample.count = 600 * wanted.keep;
        let found = run(&Coins, COINS, &Odd, &wanted);
        let values: Vec<f64> = found.populations.iter().map(|p| p.log_z.expect("an estimate").exp()).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let error = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n * (n - 1.0))).sqrt();
        assert_eq!(values.len(), 600);
        assert!((mean - z).abs() < 3.5 * error, "{method:?}: {mean} +- {error} against {z}");
        assert!(error < 0.05 * z, "{method:?}: {error}");
        if let Method::Smc(_) = method {
            assert!(found.populations.iter().any(|p| p.resampled > 0), "resampling is part of what is tested");
        }
    }
}

/// The pair of `checker` with a one-step map that is exact: the last coordinate of the first site carries no class, so it is
/// pure noise, and picks a pair from the joint posterior given all the rest.
struct Pair;

const PAIR: SiteShape = SiteShape::line(2, checker::CLASSES + 1);

impl EndpointNet for Pair {
    fn logits(&self, x: Dual<3>, s: Dual<1>, _: Dual<1>, _: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
        let (k, table) = (checker::CLASSES, checker::table());
        let pair = |(x, s): (&[f64], &f64)| {
            let joint = checker::log_posterior(&table, &[&x[..k], &x[k + 1..2 * k + 1]].concat(), *s);
            let mut left = normal_cdf(x[k] / (1.0 - s));
            let cell = joint.iter().position(|l| {
                left -= l.exp();
                left < 0.0
            });
            let cell = cell.unwrap_or(k * k - 1);
            let mut z = vec![-60.0; 2 * (k + 1)];
            z[cell / k] = 60.0;
            z[k + 1 + cell % k] = 60.0;
            z
        };
        let (host, s) = (to_host(&x.value), to_host(&s.value));
        let z: Vec<f64> = host.chunks(2 * (k + 1)).zip(&s).flat_map(pair).collect();
        from_host(&z, x.dims(), &x.value).into()
    }
}

/// Abramowitz and Stegun 1964, 7.1.26: within 1e-7 of the normal distribution function.
fn normal_cdf(z: f64) -> f64 {
    let x = z.abs() / 2f64.sqrt();
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let poly = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let tail = 0.5 * poly.iter().fold(0.0, |sum, a| sum * t + a) * t * (-x * x).exp();
    if z > 0.0 { 1.0 - tail } else { tail }
}

/// A reward of both classes together.
struct Diagonal;

impl Diagonal {
    fn of(pair: &[u32]) -> f64 {
        -0.25 * (f64::from(pair[0]) - f64::from(pair[1])).abs() - 0.15 * f64::from(pair[0])
    }
}

impl Reward for Diagonal {
    fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
        Ok(ids.chunks(2).map(Self::of).collect())
    }
}

#[test]
fn a_correlated_pair_follows_the_tilted_law() {
    let k = checker::CLASSES;
    let weight = |(cell, p): (usize, &f64)| p * Diagonal::of(&[(cell / k) as u32, (cell % k) as u32]).exp();
    let table = checker::table();
    let law: Vec<f64> = table.iter().enumerate().map(weight).collect();
    let z: f64 = law.iter().sum();
    let law: Vec<f64> = law.iter().map(|w| w / z).collect();
    // Blocks of 4 x 4 classes: 16 cells, which 10,000 independent draws meet within about 0.01. The weights make 10,000 particles
    // worth some 5,000 of these.
    let blocks = |law: &[f64]| {
        let mut sums = vec![0.0; 16];
        law.iter().enumerate().for_each(|(cell, p)| sums[cell / k / 4 * 4 + cell % k / 4] += p);
        sums
    };
    for (method, times) in [(Method::Resample, vec![0.0, 1.0]), (smc(Twist::Draws, 1), vec![0.0, 0.9, 1.0])] {
        let mut wanted = request(method, 1, 10_000, 4);
        wanted.sample.grid = TimeGrid::new(times).expect("the times increase");
        let found = run(&Pair, PAIR, &Diagonal, &wanted);
        let mut counted = vec![0.0; k * k];
        for pair in found.samples.items() {
            counted[pair[0] as usize * k + pair[1] as usize] += 1e-4;
        }
        let (coarse, fine) = (total_variation(&blocks(&counted), &blocks(&law)), total_variation(&counted, &law));
        // Expected error of independent draws from the tilted distribution: sum_i sqrt(p_i (1 - p_i) / (2 pi N)).
        let floor: f64 = law.iter().map(|p| (p * (1.0 - p) / (2.0 * std::f64::consts::PI * 1e4)).sqrt()).sum();
        assert!(coarse < 0.02, "{method:?}: {coarse}");
        assert!(fine < 2.0 * floor, "{method:?}: {fine}, independent draws {floor}");
        let log_z = found.populations[0].log_z.expect("an estimate");
        assert!((log_z - z.ln()).abs() < 0.05, "{method:?}: {log_z} against {}", z.ln());
    }
}

#[test]
fn a_constant_reward_changes_nothing() {
    struct Constant;
    impl Reward for Constant {
        fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
            Ok(vec![-3.0; ids.len() / 3])
        }
    }
    for method in [Method::Resample, Method::Smc(SmcSettings { tempering: 0.0, ..SmcSettings::default() })] {
        let found = run(&Coins, COINS, &Constant, &request(method, 4, 500, 3));
        let population = &found.populations[0];
        assert!(population.ess.iter().all(|ess| (ess - 500.0).abs() < 1e-6), "{method:?}: {:?}", population.ess);
        assert!((population.log_z.expect("an estimate") + 3.0).abs() < 1e-9);
        assert_eq!(population.distinct, 1.0);
    }
}

#[test]
fn gradients_and_the_best_of_many_raise_the_reward() {
    let mean = |found: &Steered| found.rewards.iter().sum::<f64>() / found.rewards.len() as f64;
    let single = |method, particles| {
        let mut wanted = request(method, 4, particles, 5);
        (wanted.keep, wanted.sample.count, wanted.sample.sampler) = (1, 400, Sampler::Map);
        run(&Coins, COINS, &Odd, &wanted)
    };
    let plain = mean(&single(Method::BestOf, 1));
    let still = single(Method::Gradient { step: 0.0, rounds: 1 }, 1);
    let moved = single(Method::Gradient { step: 2.0, rounds: 1 }, 1);
    let best = single(Method::BestOf, 8);
    assert!((mean(&still) - plain).abs() < 0.15, "no step, no change: {} {plain}", mean(&still));
    assert!(mean(&moved) > plain + 0.2, "{} {plain}", mean(&moved));
    let searched = single(Method::Gradient { step: 2.0, rounds: 5 }, 1);
    assert!(mean(&searched) > mean(&moved), "{} {}", mean(&searched), mean(&moved));
    assert_eq!(searched.populations[0].nfe, 44);
    assert!(mean(&best) > plain + 0.5, "{} {plain}", mean(&best));
    assert_eq!((moved.populations[0].nfe, best.samples.nfe[0]), (12, 32));
}

#[test]
fn populations_do_not_depend_on_the_batch() {
    for method in [
        Method::BestOf,
        Method::Resample,
        Method::Gradient { step: 0.5, rounds: 1 },
        smc(Twist::Draws, 2),
        tilt(Twist::Soft, 1.0),
    ] {
        let with = |batch| {
            let mut wanted = request(method, 3, 4, 9);
            (wanted.keep, wanted.sample.count, wanted.sample.batch) = (2, 12, batch);
            run(&Coins, COINS, &Odd, &wanted)
        };
        let (whole, parts, halves) = (with(64), with(4), with(3));
        assert_eq!(whole.samples.ids, parts.samples.ids, "{method:?}");
        assert_eq!(whole.samples.ids, halves.samples.ids, "{method:?}: a population larger than a batch");
        assert_eq!(whole.populations.len(), 6);
    }
}

/// What ranks find, each on a thread of its own.
fn on_ranks<T: Send>(size: usize, work: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
    let work = &work;
    std::thread::scope(|scope| {
        let team = Ranks::threads(size, Duration::from_secs(60));
        let running: Vec<_> = team.into_iter().map(|ranks| scope.spawn(move || work(ranks))).collect();
        running.into_iter().map(|rank| rank.join().expect("no rank panics")).collect()
    })
}

/// Samples, rewards, weights and `log Z` of several ranks are those of one process, whether ranks share populations or particles.
#[test]
fn ranks_steer_as_one_process() {
    let methods = [
        Method::BestOf,
        Method::Resample,
        smc(Twist::Draws, 3),
        smc(Twist::Soft, 2),
        tilt(Twist::Draws, 0.0),
        tilt(Twist::Soft, 1.0),
    ];
    for method in methods {
        for (ranks, count, particles, keep) in [(3, 20, 50, 20), (2, 33, 40, 7)] {
            let request = request(method, 5, particles, 3);
            let sample = SampleRequest { count, batch: 80, ..request.sample.clone() };
            let request = SteerRequest { sample, keep, ..request };
            let one = run(&Coins, COINS, &Odd, &request);
            let device = device();
            let generator = Generator::new(&Coins, COINS, &device).with_noise(config(OffDiagonal::default()).noise());
            let steered = on_ranks(ranks, |ranks| steer_together(&generator, &request, &Odd, &ranks, &mut |_| true));
            for found in steered {
                let found = found.expect("it steers");
                assert_eq!(found.samples.ids, one.samples.ids, "{method:?} {ranks}");
                assert_eq!((found.rewards, found.populations), (one.rewards.clone(), one.populations.clone()));
                assert_eq!(
                    (found.samples.endpoints, found.samples.nfe),
                    (one.samples.endpoints.clone(), one.samples.nfe.clone())
                );
            }
        }
    }
}

/// Fails when it is asked for the n-th time.
struct Failing {
    at: usize,
    asked: AtomicUsize,
}

impl Reward for Failing {
    fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
        if self.asked.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            return Err(RewardError::Failed("no such coin".into()));
        }
        Odd.score(ids)
    }
}

/// Where the reward of one rank fails, all stop, and the others name it; none is left waiting.
#[test]
fn a_reward_that_fails_on_one_rank_stops_all() {
    let device = device();
    let generator = Generator::new(&Coins, COINS, &device).with_noise(config(OffDiagonal::default()).noise());
    let smc = smc(Twist::Draws, 3);
    // Ranks share populations where there are enough, else the particles of each. The call that fails, of one or five a
    // population, and whether there are samples from before.
    let cases = [
        (Method::BestOf, 2, 8, [(1, false), (2, true)]),
        (smc, 2, 8, [(3, false), (6, true)]),
        (smc, 2, 1, [(1, false), (4, false)]),
        (smc, 3, 2, [(2, false), (6, true)]),
    ];
    for (method, size, populations, fails) in cases {
        let request = request(method, 5, 16, 3);
        let sample = SampleRequest { count: 2 * populations, batch: 16, ..request.sample.clone() };
        let request = SteerRequest { sample, keep: 2, ..request };
        for (at, some) in fails {
            let found = on_ranks(size, |ranks| {
                let reward = Failing { at: if ranks.rank() == 1 { at } else { 0 }, asked: AtomicUsize::new(0) };
                let found = steer_together(&generator, &request, &reward, &ranks, &mut |_| true);
                // What comes next is not mixed up with what was before.
                (found, ranks.gather(vec![ranks.rank() as u8]))
            });
            for (rank, (found, next)) in found.into_iter().enumerate() {
                assert_eq!(next, Ok((0..size as u8).map(|rank| vec![rank]).collect()), "{method:?} {at}");
                let (why, before) = match found {
                    Ok(steered) => (steered.stopped.expect("it stopped"), !steered.rewards.is_empty()),
                    Err(error) => (error, false),
                };
                assert_eq!(before, some, "{method:?} {at} {rank}: {why}");
                let own = SteerError::Reward(RewardError::Failed("no such coin".into()));
                let stopped = RankError::Stopped { rank: 1, why: own.to_string() };
                assert_eq!(why, if rank == 1 { own } else { stopped.into() }, "{method:?} {at}");
            }
        }
    }
}
