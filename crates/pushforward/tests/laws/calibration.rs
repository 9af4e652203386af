//! Calibrated networks: known laws, networks that are wrong in known ways.

use burn::tensor::Tensor;
use pushforward::dual::Dual;
use pushforward::flow_map::backbone::EndpointNet;
use pushforward::flow_map::calibration::{Calibrated, Calibration};
use pushforward::flow_map::conditioning::Conditioning;
use pushforward::flow_map::likelihood::{BoundRequest, bound};
use pushforward::flow_map::map::FlowMap;
use pushforward::nn::{Pass, SiteShape};
use pushforward::node_pairs::ABSENT;
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{from_f32, from_host, to_host};

use crate::support::device;

const LAW: [f64; 3] = [0.6, 0.3, 0.1];

/// The posterior's logits of sites with the law above, times a factor, and something that is wrong.
struct Posterior {
    factor: f64,
    wrong: f64,
}

impl EndpointNet for Posterior {
    fn logits(&self, x: Dual<3>, s: Dual<1>, _: Dual<1>, conditioning: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
        let [batch, sites, classes] = x.dims();
        let evidence = s.value.clone() / (s.value.neg() + 1.0).clamp_min(0.1).square();
        let prior: Vec<f64> = (0..classes).map(|k| LAW[k % 3].ln()).collect();
        let own = x.value.clone() * evidence.reshape([batch, 1, 1]) + from_host(&prior, [1, 1, classes], &x.value);
        // Another site's noise, which says nothing.
        let other = x.value.roll(&[1], &[1]) * self.wrong;
        assert!(sites > 1);
        conditioning.mask_logits(own * self.factor + other).into()
    }
}

fn drawn(sites: usize, items: usize) -> Vec<u32> {
    let mut random = stream(3, Purpose::Synthesis, 0);
    let mut class = || {
        let u = random.uniform();
        if u < LAW[0] { 0 } else { u32::from(u >= LAW[0] + LAW[1]) + 1 }
    };
    (0..sites * items).map(|_| class()).collect()
}

fn nats<N: EndpointNet>(net: &N, sites: &SiteShape, ids: &[u32]) -> f64 {
    let request = BoundRequest { draws: 32, ..BoundRequest::default() };
    let values = bound(&FlowMap::new(net), sites.clone(), ids, 0, &request, &device()).values;
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn a_network_that_is_too_sure_gets_the_bound_of_the_posterior() {
    let sites = SiteShape::line(4, 3);
    let (fitted, held_out) = (drawn(4, 500), drawn(4, 500));
    // The bound of the posterior itself by the same draws, which is the entropy up to its error.
    let exact = nats(&Posterior { factor: 1.0, wrong: 0.0 }, &sites, &held_out);
    let entropy = -4.0 * LAW.iter().map(|p| p * p.ln()).sum::<f64>();
    assert!((exact - entropy).abs() < 0.2, "{exact} {entropy}");
    for factor in [0.4, 3.0] {
        let net = Posterior { factor, wrong: 0.0 };
        let calibration = Calibration::fit(&net, &sites, &fitted, 0, &device());
        calibration.check().expect("finite numbers of rising levels");
        let (before, after) =
            (nats(&net, &sites, &held_out), nats(&Calibrated::new(&net, &calibration), &sites, &held_out));
        assert!(before > exact + 0.1, "factor {factor}: {before} before, the posterior has {exact}");
        assert!((after - exact).abs() < 0.03, "factor {factor}: {after} after, the posterior has {exact}");
        // Logits and evidence say the same of a site: only the sum of their factors is determined.
        let (a, b) = calibration.at(1.5);
        assert!((a * factor + b - 1.0).abs() < 0.1, "{a} {b}");
    }
}

#[test]
fn no_network_has_a_looser_bound_than_uniform_classes() {
    let sites = SiteShape::line(4, 3);
    let (fitted, held_out) = (drawn(4, 500), drawn(4, 500));
    let net = Posterior { factor: -2.0, wrong: 30.0 };
    let calibration = Calibration::fit(&net, &sites, &fitted, 0, &device());
    let (before, after) =
        (nats(&net, &sites, &held_out), nats(&Calibrated::new(&net, &calibration), &sites, &held_out));
    let uniform = 4.0 * 3f64.ln();
    assert!(before > 2.0 * uniform && after < uniform + 0.12, "{before} before, {after} after, uniform {uniform}");
}

#[test]
fn jumps_and_masks_are_the_networks_own() {
    let sites = SiteShape::line(4, 3);
    let net = Posterior { factor: 3.0, wrong: 0.3 };
    let calibration = Calibration::fit(&net, &sites, &drawn(4, 200), 0, &device());
    let calibrated = Calibrated::new(&net, &calibration);
    let x = from_f32(&stream(0, Purpose::Sample, 0).normals(24), [2, 4, 3], &Tensor::<1>::zeros([1], &device()));
    let [own, ours] = [
        to_host(&FlowMap::new(&net).endpoint(&x, &[0.2, 0.4], &[0.9, 0.4])),
        to_host(&FlowMap::new(&calibrated).endpoint(&x, &[0.2, 0.4], &[0.9, 0.4])),
    ];
    // The first item jumps, the second one is on the diagonal.
    assert_eq!(own[..12], ours[..12]);
    assert!(own[12..].iter().zip(&ours[12..]).any(|(a, b)| (a - b).abs() > 1e-3));
    // At time 1 everything is finite.
    assert!(to_host(&FlowMap::new(&calibrated).endpoint(&x, &[1.0, 1.0], &[1.0, 1.0])).iter().all(|p| p.is_finite()));
}

#[test]
fn absent_letters_are_left_out() {
    let sites = SiteShape::record(4, 3);
    let net = Posterior { factor: 3.0, wrong: 0.0 };
    let fit = |fill: u32| {
        let ids: Vec<u32> = drawn(2, 300).chunks(2).flat_map(|two| [two[0], two[1], fill, fill]).collect();
        Calibration::fit(&net, &sites, &ids, 0, &device())
    };
    // Of letters that are all the first class, far more is known than of none.
    let (absent, first) = (fit(ABSENT), fit(0));
    absent.check().expect("finite numbers");
    assert!(absent != first);
    let (a, b) = absent.at(1.5);
    assert!((3.0 * a + b - 1.0).abs() < 0.1, "{a} {b}");
}
