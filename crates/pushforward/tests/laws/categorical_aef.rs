//! Autoencoders of categorical data: laws of sites, and estimates of `log p` against quadrature over the latent.

use burn::module::Module as _;
use burn::tensor::Tensor;
use pushforward::aef::categorical::{
    CategoricalConfig, CategoricalModel, CategoricalObjective, ItemBatch, log_densities, one_step_log_densities,
};
use pushforward::aef::marginal::MarginalRequest;
use pushforward::bijector::Bijector as _;
use pushforward::nn::SiteShape;
use pushforward::nn::graph::GraphShape;
use pushforward::node_pairs::ABSENT;
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, from_host, to_host};
use pushforward::train::objective::{Objective as _, TrainStep};
use pushforward::transport::density::Density;

use crate::support::{close, device, gradients_by_name, precision, tolerance};

const LN_2PI: f64 = 1.837_877_066_409_345_3;
const FLOW_MAP: &str = "{ kind = 'flow-map', network = { width = 8, blocks = 1, time_width = 4 } }";
const MAF: &str = "{ kind = 'maf', layers = 2, hidden = 8 }";

fn model(prior: &str, latent: usize, sites: SiteShape, ids: &[u32]) -> CategoricalModel {
    let text = format!(
        "latent = {latent}\nnoise = 0.3\nnetwork = {{ kind = 'mlp', width = 8, layers = 1 }}\nprior = {prior}\ncoupling = {{}}"
    );
    let config: CategoricalConfig = toml::from_str(&text).expect("the types are right");
    let device = device().autodiff();
    let fresh = config.init(sites, &device, &mut stream(3, Purpose::Init, 0));
    let mut model = cast_module(fresh, precision(&device));
    model.initialise(ids);
    model
}

/// Every item of two sites with three classes.
fn all() -> Vec<u32> {
    (0..9).flat_map(|i| [i / 3, i % 3]).collect()
}

/// `log int p(x | z) p(z) dz` of every item, for a latent of one number, by the decoder or by that of the coupling.
fn by_quadrature(model: &CategoricalModel, ids: &[u32], one_step: bool) -> Vec<f64> {
    let (reach, points) = (30.0, 6001);
    let step = 2.0 * reach / (points - 1) as f64;
    let line: Vec<f64> = (0..points).map(|i| -reach + step * i as f64).collect();
    let z: Tensor<2> = from_host(&line, [points, 1], &model.standard.shift.val());
    let prior: Vec<f64> = if model.map.is_some() {
        // Before training `N(0, 1 + s^2)`.
        let v = 1.0 + model.noise() * model.noise();
        line.iter().map(|z| -0.5 * (z * z / v + v.ln() + LN_2PI)).collect()
    } else {
        let (z0, ladj) = model.prior.forward_and_ladj(z.clone());
        to_host(&z0).iter().zip(to_host(&ladj)).map(|(z, ladj)| -0.5 * (z * z + LN_2PI) + ladj).collect()
    };
    let one = |item: &[u32]| {
        let item = item.repeat(points);
        let likelihood = to_host(&match one_step {
            false => model.log_likelihood(z.clone(), &item),
            true => model.one_step_log_likelihood(model.to_base(z.clone()), &item),
        });
        let joint: Vec<f64> = likelihood.iter().zip(&prior).map(|(l, p)| l + p).collect();
        (joint.iter().map(|j| j.exp()).sum::<f64>() * step).ln()
    };
    ids.chunks(model.sites().count).map(one).collect()
}

#[test]
fn estimates_agree_with_quadrature_and_all_items_have_mass_one() {
    let ids = all();
    for prior in [FLOW_MAP, MAF] {
        let model = model(prior, 1, SiteShape::line(2, 3), &ids).valid();
        let exact = by_quadrature(&model, &ids, false);
        let mass: f64 = exact.iter().map(|l| l.exp()).sum();
        assert!((mass - 1.0).abs() < tolerance(1e-6), "{prior}: mass {mass}");
        let at = |density, draws| {
            let request = MarginalRequest { draws, density, ..MarginalRequest::default() };
            log_densities(&model, &ids, 0, &request)
        };
        for density in [Density::Ode { tolerance: 1e-6, probes: 0 }, Density::Map { jumps: 1 }] {
            let found = at(density, 4000);
            for ((value, error), exact) in found.values.iter().zip(&found.errors).zip(&exact) {
                assert!(
                    (value - exact).abs() < 5.0 * error && *error < 0.1,
                    "{prior}: {value} +- {error}, exact {exact}"
                );
            }
        }
        // Of any number of draws, the mean over many estimates of `p` is `p`.
        for draws in [1, 3] {
            let many = ids[..2].repeat(3000);
            let request = MarginalRequest { draws, density: Density::Map { jumps: 1 }, ..MarginalRequest::default() };
            let found: Vec<f64> = log_densities(&model, &many, 0, &request).values.iter().map(|l| l.exp()).collect();
            let n = found.len() as f64;
            let mean = found.iter().sum::<f64>() / n;
            let error = (found.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / (n * (n - 1.0))).sqrt();
            let p = exact[0].exp();
            assert!(
                (mean - p).abs() < 5.0 * error && error < 0.05 * p,
                "{prior}, {draws}: {mean} +- {error}, exact {p}"
            );
        }
        let bound = at(Density::Bound { draws: 1 }, 2000);
        for ((value, error), exact) in bound.values.iter().zip(&bound.errors).zip(&exact) {
            assert!(*value < exact + 4.0 * error, "{prior}: the bound {value} +- {error} is below {exact}");
        }
    }
}

#[test]
fn a_coupling_is_a_model_of_its_own_with_mass_one() {
    let ids = all();
    for prior in [FLOW_MAP, MAF] {
        let model = model(prior, 1, SiteShape::line(2, 3), &ids).valid();
        let exact = by_quadrature(&model, &ids, true);
        let mass: f64 = exact.iter().map(|l| l.exp()).sum();
        assert!((mass - 1.0).abs() < tolerance(1e-4), "{prior}: mass {mass}");
        for (density, draws) in [(Density::Map { jumps: 1 }, 4000), (Density::Bound { draws: 1 }, 500)] {
            let request = MarginalRequest { draws, density, ..MarginalRequest::default() };
            let found = one_step_log_densities(&model, &ids, 0, &request);
            for ((value, error), exact) in found.values.iter().zip(&found.errors).zip(&exact) {
                let bound = matches!(density, Density::Bound { .. });
                let near = if bound { *value < exact + 5.0 * error } else { (value - exact).abs() < 5.0 * error };
                assert!(near && *error < 0.1, "{prior}: {value} +- {error}, exact {exact}, {density:?}");
            }
        }
        // From base variables and back, and drawn along the same way.
        let z = model.code(&ids);
        close("back", &to_host(&model.from_base(model.to_base(z.clone()))), &to_host(&z), tolerance(1e-5));
    }
}

#[test]
fn the_second_stage_of_a_coupling_reaches_it_alone() {
    let ids = all();
    for prior in [FLOW_MAP, MAF] {
        let model = model(prior, 2, SiteShape::line(2, 3), &ids);
        let at = |step| TrainStep { model: &model, ema: &model, seed: 0, index: 1, step, steps: 10 };
        let objective = CategoricalObjective { warmup: 0.0, coupling: Some(0.5) };
        let name = |step| objective.loss(&at(step), &ItemBatch { ids: ids.clone() }).terms[0].values.name;
        assert_eq!([name(4), name(5)], ["negative_elbo", "coupling_nats"]);
        let terms = objective.loss(&at(9), &ItemBatch { ids: ids.clone() }).terms;
        let [term] = terms.try_into().ok().expect("one term");
        for (name, gradient) in gradients_by_name(&model, &term.loss.backward()) {
            assert_eq!(gradient.is_some(), name.starts_with("coupling."), "{prior}: {name}");
        }
    }
}

#[test]
fn sites_have_their_own_classes_and_absent_ones_count_for_nothing() {
    let table = SiteShape::columns(&[2, 4]);
    let ids = [0, 3, 1, 2, 1, 0];
    let columns = model(FLOW_MAP, 2, table, &ids).valid();
    let laws = to_host(&pushforward::dual::softmax(columns.logits(columns.code(&ids))));
    for row in laws.chunks(8) {
        assert_eq!(row[2..4], [0.0, 0.0], "the first column has two classes");
        close("law", &[row[..4].iter().sum(), row[4..].iter().sum()], &[1.0, 1.0], tolerance(1e-9));
    }
    // Graphs of two or three nodes: three nodes, then three pairs.
    let graph = SiteShape::graph(GraphShape { nodes: 3, node_classes: 2, edge_classes: 3 });
    let whole = [0, 1, 1, 2, 0, 1];
    let small = [0, 1, ABSENT, 2, ABSENT, ABSENT];
    let graphs = model(FLOW_MAP, 2, graph, &[whole, small].concat()).valid();
    let z = graphs.code(&[whole, small].concat());
    let logs = to_host(&pushforward::dual::log_softmax(graphs.logits(z.clone())));
    let by_hand = |item: &[u32], row: &[f64]| -> f64 {
        let present = item.iter().enumerate().filter(|(_, id)| **id != ABSENT);
        present.map(|(site, &id)| row[site * 3 + id as usize]).sum()
    };
    let wanted = [by_hand(&whole, &logs[..18]), by_hand(&small, &logs[18..])];
    close("present sites", &to_host(&graphs.log_likelihood(z, &[whole, small].concat())), &wanted, tolerance(1e-9));
}

#[test]
fn the_objective_reaches_every_parameter() {
    let ids = all();
    for (prior, terms) in [(FLOW_MAP, 2), (MAF, 1)] {
        let model = model(prior, 2, SiteShape::line(2, 3), &ids);
        let step = TrainStep { model: &model, ema: &model, seed: 0, index: 1, step: 0, steps: 1 };
        let loss =
            |warmup| CategoricalObjective { warmup, coupling: None }.loss(&step, &ItemBatch { ids: ids.clone() });
        // At the end of the run the prior's gradient is whole, whatever the warm-up; its values always are.
        let value = |parts: pushforward::train::objective::LossParts| to_host(&parts.terms[0].loss);
        close("warm-up", &value(loss(0.0)), &value(loss(1.0)), tolerance(1e-12));
        let early = TrainStep { steps: 1000, ..step };
        let held = CategoricalObjective { warmup: 1.0, coupling: None }.loss(&early, &ItemBatch { ids: ids.clone() });
        close("warm-up", &to_host(&held.terms[0].loss), &value(loss(0.0)), tolerance(1e-12));
        let size = |parts: pushforward::train::objective::LossParts| -> f64 {
            let loss = parts.terms.into_iter().next().expect("a term").loss;
            let gradients = gradients_by_name(&model, &loss.backward());
            let of_encoder = gradients.iter().filter(|(name, _)| name.starts_with("standard."));
            of_encoder.flat_map(|(_, g)| g.clone().expect("a gradient")).map(|g| g * g).sum()
        };
        assert!((size(held) / size(loss(0.0)) - 1.0).abs() > 1e-3, "{prior}: the prior pulls less at first");
        let parts = loss(0.0);
        assert_eq!(parts.terms.len(), terms, "{prior}");
        let all = parts.terms.into_iter().map(|term| term.loss).reduce(Tensor::add).expect("terms");
        for (name, gradient) in gradients_by_name(&model, &all.backward()) {
            if name.ends_with("order") || name.starts_with("coupling.") {
                continue; // a permutation, and what is trained later
            }
            let gradient = gradient.unwrap_or_else(|| panic!("{prior}: {name} has a gradient"));
            assert!(gradient.iter().all(|g| g.is_finite()), "{prior}: gradient of {name}");
        }
    }
}

#[test]
fn an_item_is_scored_alike_in_any_batch() {
    let ids = all();
    let model = model(FLOW_MAP, 2, SiteShape::line(2, 3), &ids).valid();
    for density in [Density::Bound { draws: 1 }, Density::default()] {
        let request = MarginalRequest { draws: 8, density, ..MarginalRequest::default() };
        let together = log_densities(&model, &ids, 0, &request).values;
        let alone = log_densities(&model, &ids[8..10], 4, &request).values;
        close(&format!("{density:?}"), &alone, &together[4..5], tolerance(1e-6));
    }
}
