//! Targets from several jumps of the teacher, one after the other.

use burn::tensor::Tensor;

use crate::dual::softmax;
use crate::flow_map::backbone::Backbone;
use crate::flow_map::config::TeacherJump;
use crate::flow_map::losses;
use crate::flow_map::objective::teacher::TeacherView;
use crate::rng::Stream;
use crate::transport::time::{TimePairs, column, jump_weight};

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
    (jumps, by): (usize, TeacherJump),
    randomness: &mut Stream,
) -> Tensor<3> {
    let n = pairs.s.len();
    let grids: Vec<Vec<f64>> = (0..n).map(|_| random_grid(jumps, randomness)).collect();
    let time =
        |k: usize| -> Vec<f64> { (0..n).map(|i| pairs.s[i] + grids[i][k] * (pairs.t[i] - pairs.s[i])).collect() };
    let (mut x, mut whole, mut target) = (x, vec![0.0; n], None);
    for k in 0..jumps {
        let jump = TimePairs { s: time(k), t: time(k + 1) };
        let aim = if by == TeacherJump::Euler { &jump.s } else { &jump.t };
        let pi = softmax(teacher.logits(x.clone(), &jump.s, aim));
        let weights: Vec<f64> = (0..n).map(|i| jump_weight(jump.s[i], jump.t[i])).collect();
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

/// A grid from 0 to 1 of `jumps` steps; the inner times of a uniform grid are moved by at most 0.4 of its step.
fn random_grid(jumps: usize, randomness: &mut Stream) -> Vec<f64> {
    let inner = (1..jumps).map(|k| (k as f64 + 0.8 * (randomness.uniform() - 0.5)) / jumps as f64);
    std::iter::once(0.0).chain(inner).chain(std::iter::once(1.0)).collect()
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
        for by in [TeacherJump::Map, TeacherJump::Euler] {
            let found = endpoint_of_jumps(&teacher, x_s.clone(), &pairs, (3, by), &mut stream(0, Purpose::Time, 0));
            assert!(to_host(&found.clone().sum_dim(2)).iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{found}");
            let mut randomness = stream(0, Purpose::Time, 0);
            let grids: Vec<Vec<f64>> = (0..4).map(|_| random_grid(3, &mut randomness)).collect();
            let time = |k: usize| -> Vec<f64> {
                (0..4).map(|i| pairs.s[i] + grids[i][k] * (pairs.t[i] - pairs.s[i])).collect()
            };
            let mut x = x_s.clone();
            for k in 0..3 {
                let (s, t) = (time(k), time(k + 1));
                let pi = softmax(teacher.logits(x.clone(), &s, if by == TeacherJump::Euler { &s } else { &t }));
                let jump = TimePairs { s, t };
                x = losses::jump(x.clone(), pi, jump.column(&x, jump_weight));
            }
            let at_once = losses::jump(x_s.clone(), found, pairs.column(&x_s, jump_weight));
            for (a, b) in to_host(&at_once).iter().zip(to_host(&x)) {
                assert!((a - b).abs() < 1e-5, "{by:?}: {a}, {b}");
            }
        }
    }
}
