//! Targets from several jumps of the teacher, one after the other.

use burn::tensor::Tensor;

use crate::dual::softmax;
use crate::flow_map::backbone::Backbone;
use crate::flow_map::config::TeacherJump;
use crate::flow_map::losses;
use crate::flow_map::objective::teacher::TeacherView;
use crate::rng::Stream;
use crate::transport::time::{TimePairs, column, jump_weight};

/// Several jumps of a teacher.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// Their number.
    pub(super) jumps: usize,
    /// How each is made.
    pub(super) by: TeacherJump,
    /// Their times are `u^power`, with steps of u that are equal but for chance.
    pub(super) power: f64,
}

/// The endpoint of the one jump from `x` that arrives where several jumps of the teacher do, `[batch, sites, classes]`.
///
/// Every jump moves the point towards an endpoint, `x = x + g_k (pi_k - x)`, so that the whole way is a jump towards a mean
/// of them:
///
/// ```text
/// q_1 = pi_1      q_k = q_(k-1) + g_k / G_k (pi_k - q_(k-1))      G_k = 1 - (1 - g_1) ... (1 - g_k)
/// ```
///
/// A way to time 1 ends in the last endpoint: there `g_k = G_k = 1`.
pub(super) fn endpoint_of_jumps<N: Backbone>(
    teacher: &TeacherView<'_, N>,
    x: Tensor<3>,
    pairs: &TimePairs,
    way: Way,
    randomness: &mut Stream,
) -> Tensor<3> {
    let n = pairs.s.len();
    let grids: Vec<Vec<f64>> =
        (0..n).map(|i| random_grid([pairs.s[i], pairs.t[i]], way.jumps, way.power, randomness)).collect();
    let time = |k: usize| -> Vec<f64> { grids.iter().map(|grid| grid[k]).collect() };
    let (mut x, mut whole, mut target) = (x, vec![0.0; n], None);
    for k in 0..way.jumps {
        let jump = TimePairs { s: time(k), t: time(k + 1) };
        let aim = if way.by == TeacherJump::Map { &jump.t } else { &jump.s };
        let mut pi = softmax(teacher.logits(x.clone(), &jump.s, aim));
        let weights: Vec<f64> = (0..n).map(|i| jump_weight(jump.s[i], jump.t[i])).collect();
        if way.by == TeacherJump::Heun && jump.t.iter().any(|&t| t < 1.0) {
            let guess = losses::jump(x.clone().inner(), pi.clone(), column(&weights, &pi));
            let later = softmax(teacher.logits(guess, &jump.t, &jump.t));
            let shares: Vec<f64> = (0..n).map(|i| share_of_end(jump.s[i], jump.t[i])).collect();
            pi = losses::jump(pi.clone(), later, column(&shares, &pi));
        }
        whole.iter_mut().zip(&weights).for_each(|(whole, g)| *whole += g * (1.0 - *whole));
        target = Some(match target {
            None => pi.clone(),
            Some(q) => {
                let share = |(whole, g): (&f64, &f64)| if *whole > 0.0 { g / whole } else { 1.0 };
                let shares: Vec<f64> = whole.iter().zip(&weights).map(share).collect();
                losses::jump(q, pi.clone(), column(&shares, &pi))
            }
        });
        x = losses::jump(x.clone().inner(), pi.clone(), column(&weights, &pi));
    }
    target.expect("at least one jump")
}

/// The share of the endpoint at `t` in the mean endpoint of a step from `s`, if the endpoint moves in a straight line in time.
///
/// A point follows `dx/du = (pi(u) - x) / (1 - u)`, so that with `g = (t-s)/(1-s)`
///
/// ```text
/// x_t = x_s + g (p - x_s)      p = (1 - share) pi(s) + share pi(t)
/// share = 1/(g (t-s)) int_s^t (1-t)/(1-u)^2 (u-s) du = (g + (1-g) ln(1-g)) / g^2
/// ```
///
/// It is 1/2 for short steps. At time 1 a point is its own endpoint and says nothing, so that a step there keeps that of its start.
fn share_of_end(s: f64, t: f64) -> f64 {
    let g = jump_weight(s, t);
    if t >= 1.0 {
        0.0
    } else if g < 1e-3 {
        0.5 + g / 6.0 // the first terms of the series
    } else {
        (g + (1.0 - g) * (-g).ln_1p()) / (g * g)
    }
}

/// Times of `jumps` steps from `s` to `t`: powers of a uniform grid, whose inner points are moved by at most 0.4 of its step.
fn random_grid([s, t]: [f64; 2], jumps: usize, power: f64, randomness: &mut Stream) -> Vec<f64> {
    let [first, last] = [s, t].map(|time| time.powf(1.0 / power));
    let inner = (1..jumps).map(|k| {
        let place = (k as f64 + 0.8 * (randomness.uniform() - 0.5)) / jumps as f64;
        (first + place * (last - first)).powf(power).clamp(s, t)
    });
    std::iter::once(s).chain(inner).chain(std::iter::once(t)).collect()
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, ModuleMapper, Param};
    use burn::tensor::Device;

    use super::*;
    use crate::flow_map::model::FlowMapModel;
    use crate::flow_map::objective::batch::{BatchConfig, IdBatch, NoisedBatch};
    use crate::nn::SiteShape;
    use crate::nn::mlp::MlpConfig;
    use crate::rng::{Purpose, stream};
    use crate::tensor::{from_host, to_host};

    /// Parameters that are not zero, so that endpoints depend on points and times.
    struct Random(Stream);

    impl ModuleMapper for Random {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|value| {
                let fresh = self.0.normals(value.dims().iter().product());
                let fresh: Vec<f64> = fresh.into_iter().map(|v| 0.4 * f64::from(v)).collect();
                from_host(&fresh, value.dims(), &value)
            })
        }
    }

    #[test]
    fn one_jump_to_the_endpoint_arrives_where_all_jumps_do() {
        let (sites, device) = (SiteShape::line(2, 3), Device::flex());
        let network = MlpConfig { width: 8, blocks: 1, time_width: 4, ..MlpConfig::default() };
        let network = network.init(sites.clone(), &device, &mut stream(0, Purpose::Init, 0));
        let model = FlowMapModel::new(network.map(&mut Random(stream(1, Purpose::Init, 0))), sites);
        let ids = IdBatch { ids: vec![0, 2, 1, 1, 2, 0, 1, 2], labels: None };
        let batch = NoisedBatch::new(&model, &ids, &BatchConfig::default(), &mut stream(0, Purpose::Source, 0), None);
        let teacher = TeacherView { model: &model, batch: &batch };
        // The last item does not move.
        let pairs = TimePairs { s: vec![0.0, 0.2, 0.5, 0.3], t: vec![1.0, 0.9, 0.6, 0.3] };
        let x_s = batch.at(&pairs.s);
        for (by, power) in [(TeacherJump::Map, 1.0), (TeacherJump::Euler, 0.75), (TeacherJump::Heun, 1.0)] {
            let way = Way { jumps: 3, by, power };
            let found = endpoint_of_jumps(&teacher, x_s.clone(), &pairs, way, &mut stream(0, Purpose::Time, 0));
            assert!(to_host(&found.clone().sum_dim(2)).iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{found}");
            let mut randomness = stream(0, Purpose::Time, 0);
            let grids: Vec<Vec<f64>> =
                (0..4).map(|i| random_grid([pairs.s[i], pairs.t[i]], 3, power, &mut randomness)).collect();
            let time = |k: usize| -> Vec<f64> { grids.iter().map(|grid| grid[k]).collect() };
            let mut x = x_s.clone();
            for k in 0..3 {
                let (s, t) = (time(k), time(k + 1));
                let mut pi = softmax(teacher.logits(x.clone(), &s, if by == TeacherJump::Map { &t } else { &s }));
                let jump = TimePairs { s, t };
                let weights = jump.column(&x, jump_weight);
                if by == TeacherJump::Heun {
                    let guess = losses::jump(x.clone(), pi.clone(), weights.clone());
                    let later = softmax(teacher.logits(guess, &jump.t, &jump.t));
                    pi = losses::jump(pi, later, jump.column(&x, share_of_end));
                }
                x = losses::jump(x.clone(), pi, weights);
            }
            let at_once = losses::jump(x_s.clone(), found, pairs.column(&x_s, jump_weight));
            for (a, b) in to_host(&at_once).iter().zip(to_host(&x)) {
                assert!((a - b).abs() < 1e-5, "{by:?}: {a}, {b}");
            }
        }
        // Far from the end, steps of second order are nearer to the flow than twice as many of first order.
        let pairs = TimePairs { s: vec![0.1; 4], t: vec![0.7; 4] };
        let end = |jumps, by| {
            let way = Way { jumps, by, power: 1.0 };
            to_host(&endpoint_of_jumps(&teacher, batch.at(&pairs.s), &pairs, way, &mut stream(0, Purpose::Time, 0)))
        };
        let flow = end(1000, TeacherJump::Heun);
        let error = |found: Vec<f64>| found.iter().zip(&flow).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let [euler, heun] = [error(end(64, TeacherJump::Euler)), error(end(32, TeacherJump::Heun))];
        assert!(heun < 0.3 * euler, "{heun}, {euler}");
    }

    #[test]
    fn the_share_of_the_later_endpoint_is_its_integral() {
        for (s, t) in [(0.0, 0.5), (0.3, 0.9), (0.2, 0.2005), (0.5, 0.9999)] {
            // The midpoint rule in v = 1/(1-u), with dv = du/(1-u)^2.
            let (n, [a, b]) = (100_000, [s, t].map(|u: f64| 1.0 / (1.0 - u)));
            let step = (b - a) / f64::from(n);
            let later = |i: i32| (1.0 - 1.0 / (a + step * (f64::from(i) + 0.5)) - s) / (t - s);
            let wanted = (0..n).map(later).sum::<f64>() * step * (1.0 - t) / jump_weight(s, t);
            assert!((share_of_end(s, t) - wanted).abs() < 1e-6, "{s}, {t}: {}, {wanted}", share_of_end(s, t));
        }
        assert_eq!(share_of_end(0.4, 1.0), 0.0);
    }
}
