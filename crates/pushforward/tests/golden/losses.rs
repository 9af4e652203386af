//! The loss formulas and their gradients against `flow_map/losses`, without a network.

use burn::tensor::Tensor;
use pushforward::dual::Dual;
use pushforward::flow_map::interpolant::interpolate;
use pushforward::flow_map::losses::{self, EcldPreset, GradientPath};
use pushforward::flow_map::time::{TimePairs, jump_weight};
use pushforward::tensor::{indices, one_hot, to_host};
use serde_json::Value;

use crate::support::{Golden, close, device, golden_and_config, tolerance};

const FILE: &str = "flow_map/losses";

/// All groups of the fixture; empty if it is to be skipped.
fn cases() -> impl Iterator<Item = Case> {
    golden_and_config(FILE)
        .into_iter()
        .flat_map(|(g, config)| g.groups("in.x0").into_iter().map(move |group| Case::new(g.clone(), group, &config)))
}

/// Inputs of one group; the student's logits and their tangent are leaves.
struct Case {
    g: Golden,
    group: String,
    /// The least `1-t` of the clamped losses.
    clamp: f64,
    /// The least argument of a logarithm in the logit losses.
    floor: f64,
    pairs: TimePairs,
    r: Vec<f64>,
    x0: Tensor<3>,
    x1: Tensor<3>,
    x_s: Tensor<3>,
    z: Tensor<3>,
    dz: Tensor<3>,
}

impl Case {
    fn new(g: Golden, group: String, config: &Value) -> Self {
        let setting = |key: &str| config[key].as_f64().unwrap_or_else(|| panic!("the settings have no {key}"));
        let (clamp, floor) = (setting("clamp"), setting("lsd_logit_floor"));
        let pairs = TimePairs { s: g.values(&format!("{group}.in.s")), t: g.values(&format!("{group}.in.t")) };
        let x0: Tensor<3> = g.tensor(&format!("{group}.in.x0"));
        let shape: [usize; 2] = g.shape(&format!("{group}.in.x1"));
        let x1 = one_hot(indices(&g.ids(&format!("{group}.in.x1")), shape, &device()), x0.dims()[2], &x0);
        let x_s = interpolate(x0.clone(), x1.clone(), &pairs.s);
        let (z, dz) = (g.leaf(&format!("{group}.in.z_st")), g.leaf(&format!("{group}.in.dz_st")));
        let r = g.values(&format!("{group}.in.r"));
        Self { g, group, clamp, floor, pairs, r, x0, x1, x_s, z, dz }
    }

    fn input(&self, name: &str) -> Tensor<3> {
        self.g.tensor(&format!("{}.in.{name}", self.group))
    }

    fn wanted(&self, name: &str) -> Vec<f64> {
        self.g.values(&format!("{}.{name}", self.group))
    }

    fn has(&self, name: &str) -> bool {
        self.g.has(&format!("{}.{name}", self.group))
    }

    fn check(&self, name: &str, found: &[f64], relative: f64) {
        assert!(found.iter().all(|v| v.is_finite()), "{} {name}: {found:?}", self.group);
        close(&format!("{} {name}", self.group), found, &self.wanted(name), tolerance(relative));
    }

    fn ecld(&self, preset: EcldPreset, cross_entropy: bool) -> Tensor<2> {
        let (weights, z_tt) = (preset.weights(), self.input("z_tt"));
        let student = Dual::new(self.z.clone(), self.dz.clone());
        let (endpoint, drift) = losses::ecld(student, z_tt.clone(), &self.pairs, &weights);
        if !cross_entropy {
            return endpoint + drift;
        }
        let w_t = self.pairs.column(&z_tt, |_, t| weights.time_floor.map_or(1.0, |f| (1.0 - t).max(f).powi(-2)));
        endpoint + drift + losses::teacher_entropy(z_tt) * w_t.squeeze_dim(2) * weights.endpoint
    }

    /// The published loss of this name per variable, `[batch, sites]`.
    fn per_variable(&self, name: &str) -> Tensor<2> {
        let (z, dz, pairs) = (self.z.clone(), self.dz.clone(), &self.pairs);
        let (student, z_tt, x_s) = (Dual::new(z.clone(), dz), self.input("z_tt"), self.x_s.clone());
        let [b, d, _] = z.dims();
        let ids = || indices(&self.g.ids(&format!("{}.in.x1", self.group)), [b, d], &device());
        match name {
            "vfm_ls0" => losses::vfm(z, ids(), 0.0, None),
            "vfm_ls01" => losses::vfm(z, ids(), 0.1, None),
            "csd" => losses::csd(student, z_tt, x_s, pairs, GradientPath::Published),
            "csd_full_grad" => losses::csd(student, z_tt, x_s, pairs, GradientPath::Full),
            "lsd_clamped" => losses::lsd(student, z_tt, x_s, pairs, self.clamp),
            "lsd_exact" => losses::lsd(student, z_tt, x_s, pairs, 0.0),
            "ecld_paper_w1" => self.ecld(EcldPreset::Paper, true),
            "ecld_paper_w1_kl" => self.ecld(EcldPreset::Paper, false),
            "ecld_paper_wt" => self.ecld(EcldPreset::PaperTime, true),
            "ecld_graph" => self.ecld(EcldPreset::Graph, true),
            "ecld_graph_exactgamma" => self.ecld(EcldPreset::GraphExact, true),
            "ecld_text" => self.ecld(EcldPreset::Text, true),
            "psd_kl" => losses::psd(z, self.input("z_su"), self.input("z_ut"), pairs, &self.r),
            "lsd_logit" => losses::lsd_logit(student, z_tt, pairs, self.floor, GradientPath::Published),
            "lsd_logit_full_grad" => losses::lsd_logit(student, z_tt, pairs, self.floor, GradientPath::Full),
            "naive_diag" => losses::naive_diagonal(z, self.x0.clone(), self.x1.clone()),
            "naive_offdiag" => losses::naive(student, z_tt, pairs),
            other => panic!("the fixture has a loss that this test does not know: {other}"),
        }
    }

    /// Examples that count in the mean.
    fn counted(&self, name: &str) -> f64 {
        let n =
            if name == "lsd_exact" { self.pairs.t.iter().filter(|t| **t < 1.0).count() } else { self.pairs.t.len() };
        n as f64
    }
}

/// The names of all losses of a group.
fn names(case: &Case) -> Vec<String> {
    let all = case.g.under(&format!("{}.loss.", case.group));
    all.iter().filter_map(|n| n.strip_suffix(".mean")).map(str::to_owned).collect()
}

/// The text code adds 1e-8 to `1 - s`, which we do not: up to `2e-8 / (1-s)` of the drift.
fn slack(case: &Case, name: &str) -> f64 {
    let latest = case.pairs.s.iter().copied().fold(0.0, f64::max);
    if name == "ecld_text" { 4e-8 / (1.0 - latest) } else { 0.0 }
}

#[test]
fn values_and_gradients() {
    for case in cases() {
        let names = names(&case);
        assert!(!names.is_empty(), "{} has losses", case.group);
        for name in names {
            let slack = slack(&case, &name);
            let per_variable = case.per_variable(&name);
            if case.has(&format!("loss.{name}.per_var")) {
                case.check(&format!("loss.{name}.per_var"), &to_host(&per_variable), 1e-10 + slack);
            }
            let per_example: Tensor<1> = per_variable.mean_dim(1).squeeze_dim(1);
            case.check(&format!("loss.{name}.per_example"), &to_host(&per_example), 1e-10 + slack);
            let mean = per_example.sum() * case.counted(&name).recip(); // burn differentiates x / c with 1/c in float32
            case.check(&format!("loss.{name}.mean"), &to_host(&mean), 1e-10 + slack);
            let grads = mean.backward();
            for (leaf, tensor) in [("z_st", &case.z), ("dz_st", &case.dz)] {
                let found =
                    tensor.grad(&grads).map_or_else(|| vec![0.0; tensor.dims().iter().product()], |g| to_host(&g));
                case.check(&format!("grad.{name}.{leaf}"), &found, 1e-9 + slack);
            }
        }
    }
}

/// Every example is compared on its own scale, so that a large row cannot hide a wrong small one.
#[test]
fn values_row_by_row() {
    for case in cases() {
        for name in names(&case) {
            let found = to_host(&case.per_variable(&name).mean_dim(1));
            let wanted = case.wanted(&format!("loss.{name}.per_example"));
            for (i, (f, w)) in found.iter().zip(&wanted).enumerate() {
                let slack = slack(&case, &name) + 1e-9;
                close(&format!("{} {name}, example {i}", case.group), &[*f], &[*w], tolerance(slack));
            }
        }
    }
}

#[test]
fn intermediate_quantities() {
    for case in cases() {
        let (s, t, pairs) = (&case.pairs.s, &case.pairs.t, &case.pairs);
        case.check("out.x_s", &to_host(&case.x_s), 1e-12);
        let gamma = pairs.map(jump_weight);
        case.check("out.gamma", &gamma, 1e-12);
        let u: Vec<f64> = (0..s.len()).map(|i| s[i] + case.r[i] * (t[i] - s[i])).collect();
        case.check("out.u", &u, 1e-12);
        let b: Vec<f64> = gamma.iter().zip(&case.r).map(|(&g, &r)| losses::second_share(g, r)).collect();
        case.check("out.psd_b", &b, 1e-12);
        case.check("out.psd_a", &b.iter().map(|b| 1.0 - b).collect::<Vec<_>>(), 1e-12);
        let (pi, dpi) = losses::endpoint(Dual::new(case.z.clone(), case.dz.clone()));
        case.check("out.pi", &to_host(&pi), 1e-12);
        case.check("out.dpi", &to_host(&dpi), 1e-11);
        let x_t = losses::jump(case.x_s.clone(), pi, pairs.column(&case.x_s, jump_weight));
        case.check("out.X_st", &to_host(&x_t), 1e-12);
        case.check("out.teacher_entropy", &to_host(&losses::teacher_entropy(case.input("z_tt"))), 1e-11);
        if case.group == "edge" {
            assert!(s.iter().zip(t).any(|(s, t)| s == t) && t.contains(&1.0), "the edge group has its edges");
        }
    }
}

/// Terms that the published gradient leaves out, which a test of values cannot detect.
#[test]
fn stopped_parts_carry_no_gradient() {
    for case in cases() {
        assert!(case.wanted("grad.lsd_logit.dz_st").iter().all(|v| *v == 0.0), "the fixture stops the derivative");
        let grads = case.per_variable("lsd_logit").mean().backward();
        assert!(case.dz.grad(&grads).is_none_or(|g| to_host(&g).iter().all(|v| *v == 0.0)));
        // Published and full CSD have one value and two gradients.
        let gradient = |name: &str| {
            let loss = case.per_variable(name).mean();
            to_host(&case.z.grad(&loss.backward()).expect("the logits carry gradient"))
        };
        let (a, b) = (gradient("csd"), gradient("csd_full_grad"));
        assert!(a.iter().zip(&b).any(|(a, b)| (a - b).abs() > 1e-3 * b.abs().max(1e-3)), "two gradients, found one");
    }
}
