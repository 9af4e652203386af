//! The losses, the posteriors and the likelihood bound for distributions known in closed form: `flow_map/oracle`.

use burn::tensor::Tensor;
use pushforward::data::synthetic::checker;
use pushforward::data::synthetic::echo::EchoConfig;
use pushforward::dual::Dual;
use pushforward::flow_map::backbone::EndpointNet;
use pushforward::flow_map::conditioning::Conditioning;
use pushforward::flow_map::likelihood::{BoundRequest, bound};
use pushforward::flow_map::losses::{self, EcldPreset, GradientPath};
use pushforward::flow_map::map::FlowMap;
use pushforward::flow_map::time::TimePairs;
use pushforward::nn::{Pass, SiteShape};
use pushforward::tensor::{from_host, to_host};

use crate::support::{Golden, close, device, golden, tolerance};

const FILE: &str = "flow_map/oracle";

/// Posterior marginals of all sites of one item, `sites * classes` numbers.
type Rule = Box<dyn Fn(&[f64], f64) -> Vec<f64> + Sync>;

/// One variable with prior `p`: `softmax_k( log p_k + t x_k / (1-t)^2 )`.
fn single(p: Vec<f64>) -> Rule {
    Box::new(move |x, t| {
        let logits: Vec<f64> = p.iter().zip(x).map(|(p, x)| p.ln() + t * x / (1.0 - t).powi(2)).collect();
        let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|l| (l - top).exp()).sum();
        logits.iter().map(|l| (l - top).exp() / sum).collect()
    })
}

/// Two variables with a joint table.
fn joint(table: Vec<f64>) -> Rule {
    Box::new(move |x, t| checker::posterior(&table, x, t))
}

fn rule(g: &Golden, group: &str) -> Rule {
    let p = g.values(&format!("{group}.p"));
    if is_joint(g, group) { joint(p) } else { single(p) }
}

/// Whether a group is a joint table of two variables.
fn is_joint(g: &Golden, group: &str) -> bool {
    g.floats(&format!("{group}.p")).0.len() == 2
}

/// A network whose endpoint is the posterior.
struct Exact(Rule);

impl EndpointNet for Exact {
    fn logits(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, _: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
        let (host, s, t) = (to_host(&x.value), to_host(&s.value), to_host(&t.value));
        assert_eq!(s, t, "only the diagonal is known");
        let per_item = host.len() / t.len();
        let pi = host.chunks(per_item).zip(&t).flat_map(|(x, &t)| (self.0)(x, t));
        let z: Vec<f64> = pi.map(|p| p.max(1e-30).ln()).collect();
        from_host(&z, x.dims(), &x.value).into()
    }
}

/// The exact map of a group at its stored points.
struct Truth {
    g: Golden,
    group: String,
    pairs: TimePairs,
    pi: Tensor<3>,
    x: Tensor<3>,
}

impl Truth {
    /// All groups that have a map; empty if the fixture is to be skipped.
    fn all() -> impl Iterator<Item = Self> {
        golden(FILE)
            .into_iter()
            .flat_map(|g| g.groups("map.x").into_iter().map(move |group| Self::new(g.clone(), group)))
    }

    fn new(g: Golden, group: String) -> Self {
        let at = |name: &str| g.values(&format!("{group}.map.{name}"));
        let pairs = TimePairs { s: at("s"), t: at("t") };
        let (pi, x) = (g.tensor(&format!("{group}.map.pi_st")), g.tensor(&format!("{group}.map.x")));
        Self { pairs, pi, x, group, g }
    }

    fn tensor(&self, name: &str) -> Tensor<3> {
        self.g.tensor(&format!("{}.map.{name}", self.group))
    }

    fn logits(&self, name: &str) -> Tensor<3> {
        self.tensor(name).log()
    }

    /// `log pi` with the tangent that a tangent of `pi` implies.
    fn student(&self, dpi: Tensor<3>) -> Dual<3> {
        Dual::new(self.pi.clone().log(), dpi / self.pi.clone())
    }

    fn student_in_t(&self) -> Dual<3> {
        self.student(self.tensor("dt_pi_st"))
    }

    /// Posteriors at `(x_s, s)`.
    fn start(&self) -> Tensor<3> {
        let [b, d, k] = self.x.dims();
        let (rule, host) = (rule(&self.g, &self.group), to_host(&self.x));
        let pi: Vec<f64> = host.chunks(d * k).zip(&self.pairs.s).flat_map(|(x, &s)| rule(x, s)).collect();
        from_host(&pi, [b, d, k], &self.x)
    }
}

fn largest(values: &[f64]) -> f64 {
    assert!(values.iter().all(|v| v.is_finite()), "{values:?}");
    values.iter().fold(0.0, |m: f64, v| m.max(v.abs()))
}

/// Smallest entry along the classes, `batch * sites` numbers.
fn smallest(x: Tensor<3>) -> Vec<f64> {
    to_host(&x.min_dim(2))
}

#[test]
fn posteriors_are_exact() {
    let Some(g) = golden(FILE) else { return };
    for group in g.groups("grid.x") {
        let rule = rule(&g, &group);
        let [_, d, k] = g.shape(&format!("{group}.grid.x"));
        let x = g.values(&format!("{group}.grid.x"));
        let found: Vec<f64> = g
            .values(&format!("{group}.grid.t"))
            .into_iter()
            .flat_map(|t| x.chunks(d * k).flat_map(|x| rule(x, t)).collect::<Vec<_>>())
            .collect();
        close(&format!("{group}: posteriors"), &found, &g.values(&format!("{group}.grid.pi_tt")), 1e-12);
    }
}

#[test]
fn lagrangian_and_semigroup_losses_vanish_at_the_true_map() {
    for truth in Truth::all() {
        let group = &truth.group;
        let (pairs, z_tt) = (&truth.pairs, truth.logits("pi_tt_at_X"));
        for path in [GradientPath::Published, GradientPath::Full] {
            let csd = losses::csd(truth.student_in_t(), z_tt.clone(), truth.x.clone(), pairs, path);
            assert!(largest(&to_host(&csd)) < tolerance(1e-13), "{group} csd: {:e}", largest(&to_host(&csd)));
        }
        // Divided by (1-t)^2, which amplifies rounding errors near t = 1.
        let lsd = to_host(&losses::lsd(truth.student_in_t(), z_tt.clone(), truth.x.clone(), pairs, 0.0));
        let scaled: Vec<f64> = lsd
            .chunks(lsd.len() / pairs.t.len())
            .zip(&pairs.t)
            .flat_map(|(l, t)| l.iter().map(move |l| l * (1.0 - t).powi(2)))
            .collect();
        assert!(largest(&scaled) < tolerance(1e-13), "{group} lsd: {:e}", largest(&scaled));
        let u = truth.g.values(&format!("{group}.map.u"));
        let r: Vec<f64> = (0..u.len())
            .map(|i| if pairs.t[i] > pairs.s[i] { (u[i] - pairs.s[i]) / (pairs.t[i] - pairs.s[i]) } else { 0.5 })
            .collect();
        let psd = losses::psd(truth.pi.clone().log(), truth.logits("pi_su"), truth.logits("pi_ut"), pairs, &r);
        assert!(largest(&to_host(&psd)) < tolerance(1e-13), "{group} psd: {:e}", largest(&to_host(&psd)));
        // Zero is the minimum, and the formula is not zero everywhere: a wrong tangent or teacher gives a positive
        // loss.
        let wrong = Dual::new(truth.pi.clone().log(), truth.pi.zeros_like());
        let csd = losses::csd(wrong, z_tt, truth.x.clone(), pairs, GradientPath::Published);
        assert!(largest(&to_host(&csd)) > 1e-3);
        let swapped = losses::psd(truth.pi.clone().log(), truth.logits("pi_ut"), truth.logits("pi_su"), pairs, &r);
        assert!(largest(&to_host(&swapped)) > 1e-3);
    }
}

#[test]
fn logit_losses_vanish_at_the_true_map_where_their_floor_is_inactive() {
    for truth in Truth::all() {
        let group = &truth.group;
        let (pairs, floor) = (&truth.pairs, 0.01);
        let inside = |arguments: Vec<f64>, loss: Tensor<2>, what: &str| {
            let loss = to_host(&loss);
            let kept: Vec<f64> = loss.iter().zip(&arguments).filter(|(_, a)| **a > floor).map(|(l, _)| *l).collect();
            assert!(5 * kept.len() >= loss.len(), "{group} {what}: {} of {} variables count", kept.len(), loss.len());
            assert!(largest(&kept) < tolerance(1e-9), "{group} {what}: {:e}", largest(&kept));
            // Elsewhere the floor gives the true map a loss, of up to 0.09 (LSD) and 0.008 (ESD) nats here.
            assert!(kept.len() == loss.len() || largest(&loss) > 1e-4, "{group} {what}: the floor has an effect");
        };
        let z = truth.student_in_t();
        let argument = (z.tangent_or_zeros() - (truth.pi.clone() * z.tangent_or_zeros()).sum_dim(2))
            * pairs.column(&truth.x, losses::drift_weight)
            + 1.0;
        for path in [GradientPath::Published, GradientPath::Full] {
            let loss = losses::lsd_logit(z.clone(), truth.logits("pi_tt_at_X"), pairs, floor, path);
            inside(smallest(argument.clone()), loss, "lsd-logit");
        }
        // D pi along (1-s, pi_ss - x) is 1-s times the stored derivative along the flow.
        let dpi = truth.tensor("ds_along_flow_pi_st") * pairs.column(&truth.x, |s, _| 1.0 - s);
        let z = truth.student(dpi.clone());
        let loss = losses::esd_logit(z, truth.start().log(), pairs, floor);
        inside(smallest(dpi / truth.pi.clone() + 1.0), loss, "esd-logit");
    }
}

/// ECLD has another minimiser: it penalises the drift of the true endpoint itself.
///
/// Means over the points of the repository's fixture, endpoint + drift:
///
/// ```text
///          Paper             PaperTime        Graph, GraphExact   Text
/// single   0.2457 + 1.3568   15.503 + 1.357   0.2457 + 1.7196     0.0614 + 0.6784
/// joint    0.2765 + 1.2170   12.781 + 1.217   0.2765 + 1.6133     0.0691 + 1.2170
/// ```
#[test]
fn ecld_is_positive_at_the_true_map() {
    use EcldPreset::{Graph, GraphExact, Paper, PaperTime, Text};
    for truth in Truth::all() {
        let group = &truth.group;
        for preset in [Paper, PaperTime, Graph, GraphExact, Text] {
            let z_tt = truth.logits("pi_tt_at_X");
            let (endpoint, drift) = losses::ecld(truth.student_in_t(), z_tt, &truth.pairs, &preset.weights());
            let mean = |x: Tensor<2>| to_host(&x.mean())[0];
            let (endpoint, drift) = (mean(endpoint), mean(drift));
            assert!(endpoint > 1e-3 && drift > 1e-3, "{group} {preset:?}: {endpoint} + {drift}");
        }
    }
}

/// Mean and standard error of the bound over independent items.
fn estimate(rule: Rule, sites: SiteShape, item: &[u32], items: usize) -> (f64, f64) {
    let net = Exact(rule);
    let map = FlowMap::new(&net);
    let request = BoundRequest { draws: 16, seed: 3, batch: 4096, ..BoundRequest::default() };
    let values = bound(&map, sites, &item.repeat(items), 0, &request, &device()).values;
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

#[track_caller]
fn near(what: &str, (mean, error): (f64, f64), wanted: f64) {
    assert!(error < 0.03 * wanted.max(1.0), "{what}: the standard error {error} decides nothing");
    assert!((mean - wanted).abs() < 4.0 * error, "{what}: found {mean} +- {error}, wanted {wanted}");
}

#[test]
fn bound_is_tight_for_one_variable() {
    let Some(g) = golden(FILE) else { return };
    let groups: Vec<String> = g.groups("neg_log_p").into_iter().filter(|group| !is_joint(&g, group)).collect();
    assert!(!groups.is_empty(), "the fixture has groups of one variable");
    for group in groups {
        let wanted = g.values(&format!("{group}.neg_log_p"));
        let sites = SiteShape::line(1, wanted.len());
        for (k, &wanted) in wanted.iter().enumerate() {
            near(&format!("{group}, class {k}"), estimate(rule(&g, &group), sites.clone(), &[k as u32], 1500), wanted);
        }
    }
    for group in g.groups("neg_log_p_model") {
        let name = |rest: &str| format!("{group}.{rest}");
        let wanted = g.values(&name("neg_log_p_model"));
        let sites = SiteShape::line(1, wanted.len());
        let mut cross_entropy = 0.0;
        for (k, &wanted) in wanted.iter().enumerate() {
            let found = estimate(single(g.values(&name("p_model"))), sites.clone(), &[k as u32], 1500);
            near(&format!("{group} mismatched, class {k}"), found, wanted);
            cross_entropy += g.values(&name("p"))[k] * found.0;
        }
        let (wanted, entropy) = (g.scalar(&name("cross_entropy")), g.scalar(&name("entropy")));
        assert!((cross_entropy - wanted).abs() < 0.05 && wanted > entropy, "{group}: {cross_entropy} {wanted}");
    }
}

#[test]
fn bound_is_tight_for_two_variables() {
    if let Some(g) = golden(FILE) {
        let groups: Vec<String> = g.groups("neg_log_p").into_iter().filter(|group| is_joint(&g, group)).collect();
        assert!(!groups.is_empty(), "the fixture has groups of two variables");
        for group in groups {
            let [_, k] = g.shape(&format!("{group}.p"));
            let sites = SiteShape::line(2, k);
            for (cell, wanted) in g.values(&format!("{group}.neg_log_p")).into_iter().enumerate() {
                let item = [(cell / k) as u32, (cell % k) as u32];
                near(&format!("{group} {item:?}"), estimate(rule(&g, &group), sites.clone(), &item, 2000), wanted);
            }
        }
    }
    // A repeated letter costs as much as a single one.
    let echo = EchoConfig { letters: 1, vocabulary: "abc".into() };
    let wanted = echo.entropy();
    let sites = SiteShape::line(2, 3);
    let exact: Rule = Box::new(move |x, t| echo.posterior(x, t));
    near("echo", estimate(exact, sites.clone(), &[1, 1], 1500), wanted);
    // Independent sites cost ln K each: the bound includes what the posterior does not know.
    let alone: Rule = Box::new(|x, t| x.chunks(3).flat_map(|x| single(vec![1.0 / 3.0; 3])(x, t)).collect());
    near("independent sites", estimate(alone, sites, &[1, 1], 1500), 2.0 * wanted);
}
