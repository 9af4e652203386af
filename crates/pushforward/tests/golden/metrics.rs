//! Evaluation metrics against `metrics/metrics.safetensors`.

use crate::support::Golden;
use pushforward::flow_map::steer::weights::{effective_size, log_mean_exp};
use pushforward::metrics::frechet::{Moments, frechet, frechet_ridged, kid};
use pushforward::metrics::{bits_per_dim, divergence, entropy};

fn golden() -> Option<Golden> {
    crate::support::golden("metrics/metrics")
}

fn assert_close(what: &str, ours: f64, golden: f64, tolerance: f64) {
    assert!((ours - golden).abs() <= tolerance, "{what}: {ours} against {golden}");
}

#[test]
fn frechet_and_kid() {
    let Some(golden) = golden() else { return };
    for group in golden.groups("a") {
        let name = |part: &str| format!("{group}.{part}");
        let (shape, a) = golden.floats(&name("a"));
        let (_, b) = golden.floats(&name("b"));
        // With fewer samples than dimensions, covariances are singular, and square roots of zero eigenvalues amplify
        // rounding.
        let deficient = a.len().min(b.len()) <= shape[1] * shape[1];
        let (relative, absolute) = if deficient { (0.0, 1e-6) } else { (1e-8, 0.0) };
        let (first, second) = (Moments::of(&a, shape[1]), Moments::of(&b, shape[1]));
        for (set, moments) in [("a", &first), ("b", &second)] {
            let ours = [moments.mean().to_vec(), moments.covariance()].concat();
            let theirs =
                [golden.floats(&name(&format!("mean_{set}"))).1, golden.floats(&name(&format!("cov_{set}"))).1]
                    .concat();
            assert_eq!(ours.len(), theirs.len());
            for (x, y) in ours.iter().zip(theirs) {
                assert_close("moments", *x, y, 1e-12);
            }
        }
        let check = |part: &str, ours: f64| {
            let theirs = golden.scalar(&name(part));
            assert_close(&name(part), ours, theirs, absolute + relative * theirs.abs());
        };
        check("distance", frechet(&first, &second));
        check("distance", frechet(&second, &first));
        check("distance_eps1e-6", frechet_ridged(&first, &second, 1e-6));
        check("kid", kid(&a, &b, shape[1]));
    }
}

#[test]
fn frechet_of_one_dimensional_gaussians() {
    let Some(golden) = golden() else { return };
    let (_, values) = golden.floats("frechet.gauss1d");
    let [m1, sd1, m2, sd2, distance] = values[..] else { panic!("gauss1d has five numbers") };
    let gaussian = |mean: f64, sd: f64| Moments::from_parts(2, vec![mean], &[sd * sd]);
    assert_close("gauss1d", frechet(&gaussian(m1, sd1), &gaussian(m2, sd2)), distance, 1e-12);
}

#[test]
fn entropies() {
    let Some(golden) = golden() else { return };
    let (shape, tokens) = golden.floats("entropy.tokens");
    let tokens: Vec<u32> = tokens.iter().map(|&t| t as u32).collect();
    let sequences: Vec<&[u32]> = tokens.chunks(shape[1]).collect();
    for (sequence, value) in sequences.iter().zip(golden.floats("entropy.per_sequence").1) {
        assert_close("per sequence", entropy::unigram(sequence), value, 1e-12);
    }
    assert_close("mean", entropy::mean_unigram(&sequences).value, golden.scalar("entropy.mean_per_sequence"), 1e-12);
    assert_close("pooled", entropy::pooled(&sequences), golden.scalar("entropy.pooled"), 1e-12);
}

#[test]
fn divergences() {
    let Some(golden) = golden() else { return };
    let (shape, p) = golden.floats("divergence.p");
    let (_, q) = golden.floats("divergence.q");
    let (_, entropies) = golden.floats("divergence.entropy_p");
    let (_, kls) = golden.floats("divergence.kl_pq");
    for (row, (p, q)) in p.chunks(shape[1]).zip(q.chunks(shape[1])).enumerate() {
        assert_close("entropy", entropy::of_probabilities(p), entropies[row], 1e-12);
        assert_close("kl", divergence::kl(p, q), kls[row], 1e-12);
    }
}

#[test]
fn dequantised_bits_per_dim() {
    let Some(golden) = golden() else { return };
    let dims = golden.floats("bpd.n").1[0] as usize;
    for (nats, value) in golden.floats("bpd.nll_unit_cube").1.into_iter().zip(golden.floats("bpd.value").1) {
        assert_close("bpd", bits_per_dim::bits_per_dim_dequantised(nats, dims, 256), value, 1e-12);
    }
    assert_close(
        "uniform",
        bits_per_dim::bits_per_dim_dequantised(0.0, dims, 256),
        golden.scalar("bpd.uniform"),
        1e-12,
    );
}

#[test]
fn weights_of_particles() {
    let Some(golden) = golden() else { return };
    let (shape, log_weights) = golden.floats("smc.log_weights");
    let (_, sizes) = golden.floats("smc.ess");
    let (_, means) = golden.floats("smc.log_mean_weight");
    assert_eq!(sizes.len(), log_weights.len() / shape[1]);
    for (row, log_weights) in log_weights.chunks(shape[1]).enumerate() {
        assert_close("ess", effective_size(log_weights), sizes[row], 1e-9 * sizes[row]);
        assert_close("log mean weight", log_mean_exp(log_weights), means[row], 1e-9 * means[row].abs().max(1.0));
    }
}
