//! The models where their likelihood is known in closed form or by quadrature: `aef/closed_form`.

use burn::tensor::Tensor;
use pushforward::aef::gaussian::{LN_2PI, log_normal};
use pushforward::aef::latent::{Expansion, Recognition};
use pushforward::aef::marginal::{MarginalRequest, Proposal, log_mean, marginal};
use pushforward::aef::mask::CoreShell;
use pushforward::bijector::{Affine, Flow, FlowStep, Transform};
use pushforward::tensor::to_host;
use serde_json::Value;

use crate::aef_nets::{
    LinearEncoder, TanhDecoder, TinyLatent, TinyPartition, columns, decoder, encoder, identity, linear,
    no_preprocessing, plain, row_shape,
};
use crate::support::{close, golden_json, tolerance, tracked};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().expect("an array of arrays").iter().map(numbers).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn tensor(rows: &[Vec<f64>]) -> Tensor<2> {
    tracked(&rows.concat(), [rows.len(), rows[0].len()])
}

/// Core and shell, concatenated.
fn joined(core: &[Vec<f64>], shell: &[Vec<f64>]) -> Vec<Vec<f64>> {
    core.iter().zip(shell).map(|(c, s)| [c.clone(), s.clone()].concat()).collect()
}

/// Weights for the whole image from weights for the shell: zeros for the core, which comes first.
fn after_core(core: usize, weights: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let width = weights[0].len();
    std::iter::repeat_n(vec![0.0; width], core).chain(weights).collect()
}

fn partition(net: LinearEncoder, dec: TanhDecoder, scales: &[f64], core: usize) -> TinyPartition {
    let n = scales.len();
    let split = CoreShell::new(&(0..core).collect::<Vec<_>>(), n);
    TinyPartition::new(
        no_preprocessing(),
        identity(),
        split,
        (encoder(net, n), decoder(dec, scales)),
        identity(),
        identity(),
    )
}

#[test]
fn linear_gaussian_partition_reaches_its_optimum() {
    let Some(all) = golden_json("aef/closed_form") else { return };
    let entry = &all["linear_gaussian_internal"];
    let (data, best) = (rows(&entry["data"]), &entry["optimum"]);
    let n = data[0].len();
    let shell = |key: &str| numbers(&best[key]);
    let evaluate = |shift: f64| {
        let net = LinearEncoder {
            mean: linear(&after_core(1, columns(&[shell("enc_w")])), &[number(&best["enc_b"]) + shift]),
            scale: linear(&vec![vec![0.0]; n], &[number(&best["enc_scale"]).ln()]),
            exponential: true,
        };
        let widened = |v: Vec<f64>| [vec![0.0], v].concat();
        let dec = TanhDecoder {
            hidden: None,
            output: linear(&[widened(shell("dec_w"))], &widened(shell("dec_b"))),
            shape: row_shape(n),
        };
        let model = partition(net, dec, &vec![number(&best["dec_scale"]); n], 1);
        let values = to_host(&model.encode(&plain(tensor(&data))).log_density);
        -values.iter().sum::<f64>() / values.len() as f64
    };
    let wanted = number(&entry["nll_optimum"]);
    close("optimum", &[evaluate(0.0)], &[wanted], tolerance(1e-8));
    // It is a minimum: both sides are higher.
    assert!(evaluate(0.05) > wanted && evaluate(-0.05) > wanted);
}

#[test]
fn a_partition_is_a_vae_on_its_shell() {
    let Some(all) = golden_json("aef/closed_form") else { return };
    let entry = &all["internal_equals_vae"];
    let p = &entry["params"];
    let (shell, core) = (rows(&entry["s"]), rows(&entry["core"]));
    let (m, d) = (shell[0].len(), core[0].len());
    let net = LinearEncoder {
        mean: linear(&after_core(d, columns(&rows(&p["enc_w"]))), &numbers(&p["enc_b"])),
        scale: linear(&after_core(d, columns(&rows(&p["enc_scale_w"]))), &numbers(&p["enc_scale_b"])),
        exponential: false,
    };
    let widened = |v: Vec<f64>| [vec![0.0; d], v].concat();
    let dec = || TanhDecoder {
        hidden: Some(linear(&columns(&rows(&p["dec_w1"])), &numbers(&p["dec_b1"]))),
        output: linear(
            &columns(&rows(&p["dec_w2"])).into_iter().map(widened).collect::<Vec<_>>(),
            &widened(numbers(&p["dec_b2"])),
        ),
        shape: row_shape(m + d),
    };
    let scales = [vec![1.0; d], numbers(&p["dec_scale"])].concat();
    let model = partition(net, dec(), &scales, d);
    let images = plain(tensor(&joined(&core, &shell)));
    let encoding = model.encode(&images);
    close("z", &to_host(&encoding.z), &rows(&entry["z"]).concat(), tolerance(1e-12));
    close("log p(c, s)", &to_host(&encoding.log_density), &numbers(&entry["log_p_aef"]), tolerance(1e-12));

    // The same encoder and decoder as a VAE of the shell whose noise is the standardised core.
    let vae_net = LinearEncoder {
        mean: linear(&columns(&rows(&p["enc_w"])), &numbers(&p["enc_b"])),
        scale: linear(&columns(&rows(&p["enc_scale_w"])), &numbers(&p["enc_scale_b"])),
        exponential: false,
    };
    let vae_dec = TanhDecoder {
        output: linear(&columns(&rows(&p["dec_w2"])), &numbers(&p["dec_b2"])),
        shape: row_shape(m),
        ..dec()
    };
    // q(z|s) is the distribution of mu + sigma c with c ~ N(cond): a posterior flow that is affine in every coordinate
    // would do; here its noise is set so that z is the same, and its density is computed by hand.
    let vae = TinyLatent::new(
        no_preprocessing(),
        (encoder(vae_net, m), decoder(vae_dec, &numbers(&p["dec_scale"]))),
        Recognition::Posterior(identity()),
        identity(),
        1,
    );
    let shell_images = plain(tensor(&shell));
    let core_tensor = tensor(&core);
    let draw = vae.draw(vae.latent_distribution(shell_images.h.clone()), core_tensor.clone(), 1.0);
    close("the same latent", &to_host(&draw.z), &to_host(&encoding.z), tolerance(1e-12));
    let conditional = linear(&columns(&rows(&p["cond_w"])), &numbers(&p["cond_b"]));
    let mean = conditional.forward(shell_images.h.clone().into()).value;
    let scale = tracked(&numbers(&p["cond_scale"]), [1, d]).expand(mean.dims());
    let log_core = log_normal(core_tensor, mean, scale);
    let joint = vae.decoder.forward(draw.z.clone()).log_density(&shell_images) + vae.log_prior(draw.z);
    let elbo = joint - (log_core.clone() - draw.log_volume);
    close("elbo", &to_host(&elbo), &numbers(&entry["elbo_single_sample"]), tolerance(1e-12));
    close("identity", &to_host(&(elbo + log_core)), &to_host(&encoding.log_density), tolerance(1e-12));
}

/// The expansion of the closed form with noise of scale `s`.
fn expansion(p: &Value, s: f64) -> TinyLatent {
    let n = rows(&p["dec_w2"]).len();
    let net = LinearEncoder {
        mean: linear(&columns(&[numbers(&p["enc_w"])]), &[number(&p["enc_b"])]),
        scale: linear(&columns(&[numbers(&p["enc_ls_w"])]), &[number(&p["enc_ls_b"])]),
        exponential: true,
    };
    expansion_around(p, net, s, n)
}

fn expansion_around(p: &Value, net: LinearEncoder, s: f64, n: usize) -> TinyLatent {
    let dec = TanhDecoder {
        hidden: Some(linear(&[numbers(&p["dec_w1"])], &numbers(&p["dec_b1"]))),
        output: linear(&columns(&rows(&p["dec_w2"])), &numbers(&p["dec_b2"])),
        shape: row_shape(n),
    };
    let scale = number(&p["flow_scale"]);
    let core = Affine::new(1.0 / scale, -number(&p["flow_shift"]) / scale);
    let recognition = Recognition::Expansion(Expansion {
        map: linear(&columns(&[numbers(&p["W"])]), &[number(&p["b"])]),
        core: Flow { steps: vec![FlowStep::new(Transform::Affine(core))] },
        noise: s,
    });
    let nets = (encoder(net, n), decoder(dec, &numbers(&p["dec_scale"])));
    TinyLatent::new(no_preprocessing(), nets, recognition, identity(), 1)
}

/// The mean of the bound over its noise, by quadrature.
fn expected_bound(model: &TinyLatent, x: &[Vec<f64>]) -> Vec<f64> {
    let (reach, points) = (9.0, 1801);
    let step = 2.0 * reach / (points - 1) as f64;
    let mut sums = vec![0.0; x.len()];
    for i in 0..points {
        let xi = -reach + step * i as f64;
        let weight = step * (-0.5 * (xi * xi + LN_2PI)).exp();
        let values = model.bound(&plain(tensor(x)), tracked(&vec![xi; x.len()], [x.len(), 1])).value;
        sums.iter_mut().zip(to_host(&values)).for_each(|(sum, v)| *sum += weight * v);
    }
    sums
}

#[test]
fn an_expansion_is_no_likelihood_and_its_noise_makes_it_a_bound() {
    let Some(all) = golden_json("aef/closed_form") else { return };
    let entry = &all["linear_marginal"];
    let (p, x) = (&entry["params"], rows(&entry["x"]));
    let images = plain(tensor(&x));
    let none = tracked(&vec![0.0; x.len()], [x.len(), 1]);
    let extended = to_host(&expansion(p, 0.0).bound(&images, none.clone()).value);
    close("extended", &extended, &numbers(&entry["extended_log_density"]), tolerance(1e-9));

    let log_marginal = numbers(&entry["log_marginal_decoder_quadrature"]);
    let mut last_gap = f64::INFINITY;
    let mut smallest = f64::INFINITY;
    for case in entry["elbo_s"].as_array().expect("cases") {
        let s = number(&case["s"]);
        let found = expected_bound(&expansion(p, s), &x);
        close(&format!("elbo at s = {s}"), &found, &numbers(&case["elbo"]), tolerance(1e-8));
        assert!(found.iter().zip(&log_marginal).all(|(e, m)| e <= m), "a bound at s = {s}");
        let limit: Vec<f64> = extended.iter().map(|e| e + 0.5 * (LN_2PI + 1.0 + 2.0 * s.ln())).collect();
        close(&format!("limit at s = {s}"), &limit, &numbers(&case["ext_plus_const"]), tolerance(1e-9));
        let gap = found.iter().zip(&limit).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        if s < smallest {
            assert!(gap < last_gap, "the gap to the limit falls with s: {gap} at {s}");
            (smallest, last_gap) = (s, gap);
        }
    }

    // The volume mode: sigma grows while z stays where it is.
    for case in entry["volume_mode"].as_array().expect("cases") {
        let sigma = number(&case["scale"]);
        let flow_scale = number(&p["flow_scale"]);
        let factor = sigma / flow_scale;
        let mean: Vec<Vec<f64>> =
            numbers(&p["enc_w"]).iter().zip(numbers(&p["W"])).map(|(e, w)| vec![e - factor * w]).collect();
        let offset = number(&p["enc_b"]) - factor * (number(&p["b"]) - number(&p["flow_shift"]));
        let n = x[0].len();
        let net = LinearEncoder {
            mean: linear(&mean, &[offset]),
            // Softplus of a large number is the number; of 1 its inverse is known.
            scale: linear(&vec![vec![0.0]; n], &[if sigma > 30.0 { sigma } else { sigma.exp_m1().ln() }]),
            exponential: false,
        };
        let found = to_host(&expansion_around(p, net, 0.0, n).bound(&images, none.clone()).value);
        close(&format!("volume mode at {sigma}"), &found, &numbers(&case["extended_log_density"]), tolerance(1e-7));
    }
}

#[test]
fn importance_sampling_finds_the_marginal_and_misses_it_by_ln_k_as_published() {
    let Some(all) = golden_json("aef/closed_form") else { return };
    let entry = &all["linear_marginal"];
    let (p, x) = (&entry["params"], rows(&entry["x"]));
    let (model, images) = (expansion(p, 0.0), plain(tensor(&x)));
    let recorded = &entry["importance_sampling"];
    let std = number(&recorded["std"]);
    let weights: Vec<Vec<f64>> = rows(&recorded["noise_K_by_B"])
        .iter()
        .map(|xi| {
            let xi = tracked(xi, [x.len(), 1]);
            let draw = model.draw(model.latent_distribution(images.h.clone()), xi.clone(), std);
            let joint = model.decoder.forward(draw.z.clone()).log_density(&images) + model.log_prior(draw.z.clone());
            to_host(&(joint - model.log_recognition(&draw, xi, std)))
        })
        .collect();
    let estimates = |without: bool| -> Vec<f64> {
        (0..x.len()).map(|i| log_mean(&weights.iter().map(|w| w[i]).collect::<Vec<_>>(), without).0).collect()
    };
    close("with ln K", &estimates(false), &numbers(&recorded["estimate_with_log_K"]), tolerance(1e-9));
    close("without", &estimates(true), &numbers(&recorded["logsumexp_without_log_K"]), tolerance(1e-9));

    // The proposal without a width parameter, and the recognition with a tuned width, against quadrature.
    let wanted = numbers(&entry["log_marginal_decoder_quadrature"]);
    for proposal in [Proposal::GaussNewton, Proposal::Recognition { noise: Some(5.0) }] {
        let request = MarginalRequest { draws: 20_000, proposal, rows: 4_000, ..MarginalRequest::default() };
        let found = marginal(&model, &images, 0, &request);
        for ((found, error), wanted) in found.values.iter().zip(&found.errors).zip(&wanted) {
            assert!(*error < 0.05, "{proposal:?}: standard error {error}");
            assert!((found - wanted).abs() < 5.0 * error + 1e-4, "{proposal:?}: {found} +- {error}, wanted {wanted}");
        }
        let published = marginal(&model, &images, 0, &MarginalRequest { without_ln_k: true, ..request });
        for (p, v) in published.values.iter().zip(&found.values) {
            assert!((p - v - 20_000f64.ln()).abs() < 1e-9, "off by exactly ln K");
        }
    }
}
