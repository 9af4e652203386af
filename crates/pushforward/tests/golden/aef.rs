//! The models against the published code: latents, deviations, log-determinants, likelihoods, samples, gradients and masks.

use burn::tensor::Tensor;
use pushforward::aef::config::{AefConfig, Variant};
use pushforward::aef::gaussian::row_sum;
use pushforward::aef::marginal::log_mean;
use pushforward::aef::network::{ImageNetworkConfig, SmallConfig};
use pushforward::aef::output::{Output, OutputConfig};
use pushforward::aef::preprocessing::Prepared;
use pushforward::aef::{AefModel, ImageShape, mask};
use pushforward::bijector::{Bijector, FlowConfig, MafConfig};
use pushforward::params::{self, StateDict};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, to_host};
use serde_json::Value;

use crate::support::{
    Golden, close, device, golden, golden_and_config, gradients_by_name, precision, tolerance, tracked,
};

/// One group of a fixture: the published model with our parameters.
struct Case {
    g: Golden,
    group: String,
    d: usize,
    shape: ImageShape,
    /// The model before parameters were read from the fixture.
    fresh: AefModel,
    model: AefModel,
}

/// All groups of a fixture file.
fn cases(file: &str) -> Vec<Case> {
    let name = format!("aef/{file}");
    let Some((g, config)) = golden_and_config(&name) else { return Vec::new() };
    let groups = config.as_object().expect("the groups of the fixture");
    let cases: Vec<Case> = groups
        .iter()
        .filter(|(_, settings)| settings["shape"].is_array())
        .map(|(group, settings)| Case::new(g.clone(), group, settings))
        .collect();
    assert!(!cases.is_empty(), "{name} has groups");
    cases
}

impl Case {
    fn new(g: Golden, group: &str, settings: &Value) -> Self {
        let number = |key: &str| settings[key].as_u64().unwrap_or_else(|| panic!("{key} is a number")) as usize;
        let side = |i: usize| settings["shape"][i].as_u64().expect("a side") as usize;
        let shape = ImageShape { channels: side(0), height: side(1), width: side(2) };
        let maf = MafConfig {
            layers: number("flow_layers"),
            hidden: number("flow_hidden"),
            blocks: number("made_blocks"),
            ..MafConfig::default()
        };
        let config = AefConfig {
            variant: match settings["kind"].as_str().expect("a kind") {
                "center" => Variant::Center,
                "corner" => Variant::Corner,
                "linear" => Variant::Linear,
                "vae" => Variant::VaeIaf,
                other => panic!("unknown kind {other}"),
            },
            latent: number("d"),
            network: ImageNetworkConfig::Small(SmallConfig { channels: number("hidden_channels") }),
            output: match settings["decoder"].as_str().expect("a decoder") {
                "independent" => OutputConfig::Independent { floor: 0.0 },
                "dependent" => OutputConfig::Dependent { floor: 0.0 },
                "fixed" => OutputConfig::Fixed { scale: 1.0 },
                other => panic!("unknown decoder {other}"),
            },
            core: FlowConfig::Maf(maf.clone()),
            posterior: FlowConfig::Iaf(maf.clone()),
            prior: FlowConfig::Maf(maf.clone()).into(),
            alpha: settings["alpha"].as_f64().expect("a number"),
            ..AefConfig::default()
        };
        let device = device().autodiff();
        let fresh = cast_module(config.init(shape, &device, &mut stream(0, Purpose::Init, 0)), precision(&device));
        let steps = 3 * maf.layers;
        // Parameter names carry the variants of enums, which the table below leaves out.
        let weights = weights(&g, group, steps);
        let weights: StateDict = params::collect(&fresh)
            .into_iter()
            .filter_map(|(name, data)| {
                // The order of a permutation is a constant.
                let data = if data.dtype().is_float() { weights.get(&plain(&name))?.clone() } else { data };
                Some((name, data))
            })
            .collect();
        let mut model = params::load(fresh.clone(), &weights).unwrap_or_else(|e| panic!("{group}: {e}"));
        model.assume_initialised();
        Self { g, group: group.to_owned(), d: config.latent, shape, fresh, model }
    }

    fn rows(&self, name: &str) -> Tensor<2> {
        let (shape, values) = self.g.floats(&format!("{}.{name}", self.group));
        tracked(&values, [shape[0], shape[1..].iter().product()])
    }

    fn check<const D: usize>(&self, name: &str, found: &Tensor<D>, relative: f64) {
        let wanted = self.g.values(&format!("{}.{name}", self.group));
        close(&format!("{} {name}", self.group), &to_host(found), &wanted, tolerance(relative));
    }

    fn images(&self) -> Prepared {
        self.model.prepare(self.rows("in.x"))
    }

    /// Gradients of the mean of a loss against the recorded ones.
    fn check_gradients(&self, loss: Tensor<1>, steps: usize) {
        let by_name = gradients_by_name(&self.model, &loss.mean().backward());
        let recorded = self.g.under(&format!("{}.grad.", self.group));
        assert!(!recorded.is_empty(), "the fixture has gradients");
        for name in recorded {
            let (ours, transposed) = our_name(&name, steps).unwrap_or_else(|| panic!("{name} is a parameter"));
            let (shape, wanted) = self.g.floats(&format!("{}.grad.{name}", self.group));
            let wanted = if transposed { transpose(&wanted, shape[0], shape[1]) } else { wanted };
            let found = by_name.iter().find(|(name, _)| plain(name) == ours).and_then(|(_, g)| g.clone());
            let found = found.unwrap_or_else(|| panic!("{ours} has a gradient"));
            close(&format!("{} gradient of {name}", self.group), &found, &wanted, tolerance(1e-6));
        }
    }
}

/// A parameter's name without the variants of enums, and without the location of the core flow.
fn plain(name: &str) -> String {
    let part = |p: &&str| !p.starts_with(char::is_uppercase);
    name.split('.').filter(part).collect::<Vec<_>>().join(".").replace("recognition.core.", "core.")
}

/// The parameters of the fixture under our names.
fn weights(g: &Golden, group: &str, steps: usize) -> StateDict {
    use burn::tensor::TensorData;
    let prefix = format!("{group}.state.");
    let mut found = StateDict::new();
    let mut halves = Vec::new();
    for name in g.under(&prefix) {
        let Some((ours, transposed)) = our_name(&name, steps) else { continue };
        let (mut shape, mut values) = g.floats(&format!("{prefix}{name}"));
        if transposed {
            values = transpose(&values, shape[0], shape[1]);
            shape.swap(0, 1);
        }
        if name == "decoder.pre_sigma" {
            shape = vec![values.len()];
        }
        if name.starts_with("encoder.fc_") {
            halves.push((name, shape, values));
            continue;
        }
        found.insert(ours, TensorData::new(values, shape).convert_dtype(precision(&device())));
    }
    // The reference has two layers for mean and scale; here they are the two halves of one.
    for kind in ["weight", "bias"] {
        let half = |part: &str| {
            let wanted = format!("encoder.fc_{part}.{kind}");
            let (_, shape, values) = halves.iter().find(|(n, ..)| *n == wanted).expect("both halves are there");
            let columns = *shape.last().expect("a shape");
            (columns, values.clone())
        };
        let ((columns, mean), (_, scale)) = (half("mu"), half("sigma"));
        let joined: Vec<f64> =
            mean.chunks(columns).zip(scale.chunks(columns)).flat_map(|(m, s)| [m, s].concat()).collect();
        let shape = if kind == "bias" { vec![2 * columns] } else { vec![mean.len() / columns, 2 * columns] };
        let data = TensorData::new(joined, shape).convert_dtype(precision(&device()));
        found.insert(format!("encoder.net.output.{kind}"), data);
    }
    found
}

/// Our name of a parameter of the reference, and whether its two axes are swapped; `None` for values that we compute.
fn our_name(name: &str, steps: usize) -> Option<(String, bool)> {
    let flow = |rest: &str, ours: &str, reversed: bool| {
        let (index, rest) = rest.split_once('.')?;
        let index: usize = index.parse().ok()?;
        let index = if reversed { steps - 1 - index } else { index };
        let step = format!("{ours}.steps.{index}.transform");
        if let Some(kind) =
            rest.strip_prefix("_transform.").or(Some(rest)).filter(|r| *r == "log_scale" || *r == "shift")
        {
            return Some((format!("{step}.{kind}"), false));
        }
        let (layer, kind) = rest.strip_prefix("autoregressive_net.")?.rsplit_once('.')?;
        let layer = match layer {
            "initial_layer" => "input".to_owned(),
            "final_layer" => "output".to_owned(),
            block => {
                let (block, layer) = block.strip_prefix("blocks.")?.split_once(".linear_layers.")?;
                format!("blocks.{block}.{}", if layer == "0" { "first" } else { "second" })
            }
        };
        matches!(kind, "weight" | "bias").then(|| (format!("{step}.network.{layer}.linear.{kind}"), kind == "weight"))
    };
    for (theirs, ours, reversed) in [
        ("core_encoder._transform._transforms.", "core", false),
        ("prior_flow._transform._transforms.", "prior", false),
        ("prior_bijector._transform._transforms.", "prior", false),
        ("posterior_bijector._transforms.", "recognition", true),
    ] {
        if let Some(rest) = name.strip_prefix(theirs) {
            return flow(rest, ours, reversed);
        }
    }
    let (layer, kind) = name.rsplit_once('.')?;
    let layer = match (layer, kind) {
        ("decoder", "pre_sigma") => return Some(("decoder.pre_scale".into(), false)),
        ("preprocessing_layers.2", "log_scale" | "shift") => {
            return Some((format!("preprocessing.norm.{kind}"), false));
        }
        ("encoder.conv1", _) => "encoder.net.first",
        ("encoder.conv2", _) => "encoder.net.second",
        ("encoder.fc_mu" | "encoder.fc_sigma", _) => "encoder.net.output",
        ("decoder.fc", _) => "decoder.net.input",
        // The reference applies its second layer first.
        ("decoder.conv2", _) => "decoder.net.first",
        ("decoder.conv1", _) => "decoder.net.second",
        ("dense.1", _) => "recognition.map",
        _ => return None,
    };
    let linear = layer.ends_with("output") || layer.ends_with("input") || layer.ends_with("map");
    Some((format!("{layer}.{kind}"), linear && kind == "weight"))
}

fn transpose(values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..rows * columns).map(|i| values[i % rows * columns + i / rows]).collect()
}

#[test]
fn partitions_match_the_published_code() {
    for case in ["center_tiny", "corner_tiny"].into_iter().flat_map(cases) {
        let AefModel::Partition(model) = &case.model else { panic!("center and corner are partitions") };
        let images = case.images();
        let e = model.encode(&images);
        case.check("pre.actnorm.out", &images.h, 1e-8);
        case.check("out.logdet.preprocessing", &images.ladj, 1e-8);
        case.check("out.z", &e.z, 1e-8);
        case.check("out.z0", &e.z0, 1e-8);
        case.check("out.nll", &e.log_density.clone().neg(), 1e-8);
        let (core, encoder) = (case.rows_sum("out.logdet.core_flow"), case.rows_sum("out.logdet.encoder"));
        close("log volume", &to_host(&e.log_volume), &to_host(&(core + encoder)), tolerance(1e-8));
        // Deviations at core positions are not part of the model.
        let all = case.rows("out.deviations");
        let mask = case.g.values(&format!("{}.state.mask", case.group));
        let indices: Vec<usize> = (0..mask.len()).filter(|&i| mask[i] == 1.0).collect();
        let split = mask::CoreShell::new(&indices, case.shape.numel());
        close("deviations", &to_host(&e.deviations), &to_host(&split.shell(all)), tolerance(1e-8));
        // Sampling, with and without deviations, and reconstruction.
        let z = case.model.from_base(case.rows("sample.z0"));
        let deviations = split.shell(case.rows("sample.deviations"));
        case.check("sample.x", &case.model.decode(z.clone(), Some(deviations)), 1e-8);
        case.check("sample.x_mean", &case.model.decode(z, None), 1e-8);
        case.check("out.reconstruction_mean", &case.model.decode(e.z.clone(), None), 1e-8);
        let back = case.model.decode(e.z, Some(e.deviations));
        close("round trip", &to_host(&back), &to_host(&images.x), tolerance(1e-9));
        case.check_gradients(e.log_density.neg(), 3 * steps_of(&model.prior));
    }
}

#[test]
fn expansions_match_the_published_code() {
    for case in cases("linear_tiny") {
        let AefModel::Latent(model) = &case.model else { panic!("an expansion is a latent model") };
        let images = case.images();
        let distribution = model.latent_distribution(images.h.clone());
        let zeros = case.rows("out.z").zeros_like();
        let draw = model.draw(distribution, zeros.clone(), 0.0);
        case.check("out.z", &draw.z, 1e-8);
        case.check("out.z0", &model.prior.forward_and_ladj(draw.z.clone()).0, 1e-8);
        let deviations = model.deviations(&images, draw.z.clone()).expect("a Gaussian has deviations");
        case.check("out.deviations", &deviations, 1e-8);
        let bound = model.bound(&images, zeros);
        case.check("out.nll", &bound.value.clone().neg(), 1e-8);
        let z = case.model.from_base(case.rows("sample.z0"));
        case.check("sample.x", &case.model.decode(z.clone(), Some(case.rows("sample.deviations"))), 1e-8);
        case.check("sample.x_mean", &case.model.decode(z, None), 1e-8);
        case.check("out.reconstruction_mean", &case.model.decode(draw.z, None), 1e-8);

        // Importance sampling from the recognition with noise of the recorded scale.
        let std = case.g.scalar(&format!("{}.is.std", case.group));
        let noise = case.noise("is.noise");
        let weights = noise.iter().map(|xi| {
            let draw = model.draw(model.latent_distribution(images.h.clone()), xi.clone(), std);
            let joint = model.decoder.forward(draw.z.clone()).log_density(&images) + model.log_prior(draw.z.clone());
            to_host(&(joint - model.log_recognition(&draw, xi.clone(), std)))
        });
        case.check_estimates(weights.collect(), "is.nll", false);
        let weights = noise.iter().map(|xi| {
            let draw = model.draw(model.latent_distribution(images.h.clone()), xi.clone(), std);
            let joint = model.decoder.forward(draw.z.clone()).log_density(&images) + model.log_prior(draw.z.clone());
            to_host(&(joint - model.log_recognition(&draw, xi.clone(), std)))
        });
        case.check_estimates(weights.collect(), "is.nll_as_published", true);
        case.check_gradients(bound.value.neg(), 3 * steps_of(&model.prior));
    }
}

#[test]
fn variational_autoencoders_match_the_published_code() {
    for case in cases("vae_tiny") {
        let AefModel::Latent(model) = &case.model else { panic!("a VAE is a latent model") };
        let (images, xi) = (case.images(), case.rows("in.noise"));
        let draw = model.draw(model.latent_distribution(images.h.clone()), xi.clone(), 1.0);
        case.check("out.z", &draw.z, 1e-8);
        case.check("out.z_prior", &model.prior.forward_and_ladj(draw.z.clone()).0, 1e-8);
        case.check("out.log_prior", &model.log_prior(draw.z.clone()), 1e-8);
        case.check("out.log_q", &model.log_recognition(&draw, xi.clone(), 1.0), 1e-8);
        let bound = model.bound(&images, xi);
        case.check("out.loss", &bound.value.clone().neg(), 1e-8);
        let z = case.model.from_base(case.rows("sample.z0"));
        case.check("sample.x_mean", &case.model.decode(z, None), 1e-8);
        let weights = case.noise("iw.noise").into_iter().map(|xi| {
            let draw = model.draw(model.latent_distribution(images.h.clone()), xi.clone(), 1.0);
            let joint = model.decoder.forward(draw.z.clone()).log_density(&images) + model.log_prior(draw.z.clone());
            to_host(&(joint - model.log_recognition(&draw, xi, 1.0)))
        });
        case.check_estimates(weights.collect(), "iw.nll", false);
        case.check_gradients(bound.value.neg(), 3 * steps_of(&model.prior));
    }
}

#[test]
fn initialisation_by_the_first_batch_matches_the_published_code() {
    for case in ["center_tiny", "linear_tiny", "vae_tiny"].into_iter().flat_map(cases) {
        // All parameters that initialisation does not set.
        let mut model = params::load(case.fresh.clone(), &weights_without_norms(&case)).expect("the same names");
        let x = case.rows("in.x_init").inner();
        match &mut model {
            AefModel::Partition(m) => m.initialise(Tensor::from_inner(x)),
            AefModel::Latent(m) => {
                let name = format!("{}.in.noise_init", case.group);
                let xi = if case.g.has(&name) {
                    case.rows("in.noise_init")
                } else {
                    tracked(&vec![0.0; x.dims()[0] * case.d], [x.dims()[0], case.d])
                };
                m.initialise(Tensor::from_inner(x), xi);
            }
            other => panic!("{other:?} has no fixture"),
        }
        let wanted: StateDict = params::collect(&case.model).into_iter().collect();
        for (name, found) in params::collect(&model) {
            if name.ends_with("log_scale") || name.ends_with("shift") {
                let values = |data: &burn::tensor::TensorData| data.iter::<f64>().collect::<Vec<_>>();
                close(&format!("{} {name}", case.group), &values(&found), &values(&wanted[&name]), tolerance(1e-8));
            }
        }
    }
}

/// The weights of a case, with the normalisations of a fresh model.
fn weights_without_norms(case: &Case) -> StateDict {
    let fresh: StateDict = params::collect(&case.fresh).into_iter().collect();
    let loaded = params::collect(&case.model).into_iter();
    loaded
        .map(|(name, data)| {
            let norm = name.ends_with("log_scale") || name.ends_with("shift");
            let data = if norm { fresh[&name].clone() } else { data };
            (name, data)
        })
        .collect()
}

impl Case {
    fn rows_sum(&self, name: &str) -> Tensor<1> {
        let (shape, values) = self.g.floats(&format!("{}.{name}", self.group));
        row_sum(tracked(&values, [shape[0], 1]))
    }

    /// Noise of several draws, each `[batch, d]`.
    fn noise(&self, name: &str) -> Vec<Tensor<2>> {
        let (shape, values) = self.g.floats(&format!("{}.{name}", self.group));
        values.chunks(shape[1] * shape[2]).map(|draw| tracked(draw, [shape[1], shape[2]])).collect()
    }

    /// Estimates from log-weights `[draw][image]` against recorded ones.
    fn check_estimates(&self, weights: Vec<Vec<f64>>, name: &str, without_ln_k: bool) {
        let found: Vec<f64> = (0..weights[0].len())
            .map(|i| -log_mean(&weights.iter().map(|draw| draw[i]).collect::<Vec<_>>(), without_ln_k).0)
            .collect();
        let wanted = self.g.values(&format!("{}.{name}", self.group));
        close(&format!("{} {name}", self.group), &found, &wanted, tolerance(1e-8));
    }
}

fn steps_of(flow: &pushforward::bijector::Flow) -> usize {
    flow.steps.len() / 3
}

#[test]
fn masks_match_the_published_code() {
    let Some(g) = golden("aef/masks") else { return };
    let names = g.under("mask.");
    assert!(!names.is_empty(), "the fixture has masks");
    for name in names {
        let parts: Vec<&str> = name.split('.').collect();
        let sides: Vec<usize> = parts[1].split('x').map(|s| s.parse().expect("a side")).collect();
        let shape = ImageShape { channels: sides[2], height: sides[0], width: sides[1] };
        let d: usize = parts[2][1..].parse().expect("a size");
        let found = if parts[0] == "center" { mask::center(shape, d) } else { mask::corner(shape, d) };
        let wanted: Vec<usize> = g.ids(&format!("mask.{name}")).into_iter().map(|i| i as usize).collect();
        assert_eq!(found, wanted, "{name}");
    }
}

#[test]
fn fixed_outputs_have_the_recorded_scale() {
    for case in cases("center_tiny") {
        let AefModel::Partition(model) = &case.model else { panic!("center is a partition") };
        let Output::Gaussian { mean, scale } = model.decoder.forward(case.rows("out.z")) else {
            panic!("the published outputs are Gaussian")
        };
        case.check("out.dec_mu", &mean, 1e-8);
        case.check("out.dec_sigma", &(scale - pushforward::aef::config::AEF_EPSILON), 1e-8);
    }
}
