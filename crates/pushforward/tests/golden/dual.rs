//! Every layer's value, tangent, and gradient through both, against `nn/dual_rules`.

use burn::module::Param;
use burn::tensor::{Bool, Tensor};
use pushforward::dual::Dual;
use pushforward::nn::attention::{Positions, Rotary, attention};
use pushforward::nn::conv::{Conv2dConfig, ConvTranspose2d};
use pushforward::nn::linear::Linear;
use pushforward::nn::norm::{GroupNorm, LayerNorm, RmsNorm};
use pushforward::nn::time_embedding::TimeFeatures;
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, mask, to_host};

use crate::support::{Golden, close, device, golden, golden_and_config, precision, tolerance};

const FILE: &str = "nn/dual_rules";

/// Leaves of an operator's input, by name.
fn input<const D: usize>(g: &Golden, op: &str, name: &str) -> Dual<D> {
    Dual::new(g.leaf(&format!("{op}.in.{name}")), g.leaf(&format!("{op}.in.d{name}")))
}

/// Compares value, tangent and the gradients of `sum(c1 out + c2 dout)` with respect to every named input.
fn check<const O: usize>(g: &Golden, op: &str, out: Dual<O>, plain: Tensor<O>, inputs: &[(&str, Leaf)]) {
    close(op, &to_host(&out.value), &g.values(&format!("{op}.out")), tolerance(1e-12));
    close(&format!("{op}: value without tangent"), &to_host(&plain), &g.values(&format!("{op}.out")), tolerance(1e-12));
    let tangent = out.tangent.expect("an operator on a dual with tangent has one");
    close(&format!("d {op}"), &to_host(&tangent), &g.values(&format!("{op}.dout")), tolerance(1e-11));
    let objective =
        (g.tensor::<O>(&format!("{op}.c1")) * out.value + g.tensor::<O>(&format!("{op}.c2")) * tangent).sum();
    let grads = objective.backward();
    for (name, leaf) in inputs {
        let found = leaf.gradient(&grads);
        close(&format!("{op}: gradient of {name}"), &found, &g.values(&format!("{op}.grad.{name}")), tolerance(1e-10));
    }
}

/// Reads the gradient of one leaf.
type Reader = dyn Fn(&burn::tensor::Gradients) -> Vec<f64>;

/// A leaf of any rank.
struct Leaf(Box<Reader>);

impl Leaf {
    fn of<const D: usize>(x: &Tensor<D>) -> Self {
        let x = x.clone();
        Self(Box::new(move |grads| to_host(&x.grad(grads).expect("the leaf has a gradient"))))
    }

    fn gradient(&self, grads: &burn::tensor::Gradients) -> Vec<f64> {
        (self.0)(grads)
    }
}

fn unary<const D: usize, const O: usize>(g: &Golden, op: &str, f: impl Fn(Dual<D>) -> Dual<O>) {
    let x = input::<D>(g, op, "x");
    let leaves = [("x", Leaf::of(&x.value)), ("dx", Leaf::of(x.tangent.as_ref().expect("an input tangent")))];
    let plain = f(x.clone().constant()).value;
    check(g, op, f(x), plain, &leaves);
}

fn param<const D: usize>(g: &Golden, name: &str) -> Param<Tensor<D>> {
    Param::from_tensor(g.tensor(name))
}

fn linear(g: &Golden, weight: &str, bias: Option<&str>) -> Linear {
    let w: Tensor<2> = g.tensor(weight);
    Linear { weight: Param::from_tensor(w.transpose()), bias: bias.map(|b| param(g, b)) }
}

fn layer_norm(g: &Golden, weight: &str, bias: &str) -> LayerNorm {
    let [n] = g.shape(weight);
    let mut norm = LayerNorm::init(n, &device(), &mut stream(0, Purpose::Init, 0));
    norm.weight = param(g, weight);
    norm.bias = param(g, bias);
    norm
}

#[test]
fn elementwise_and_softmax() {
    let Some(g) = golden(FILE) else { return };
    unary::<2, 2>(&g, "silu", Dual::silu);
    unary::<2, 2>(&g, "gelu_tanh", Dual::gelu);
    unary::<2, 2>(&g, "relu", Dual::relu);
    unary::<2, 2>(&g, "softmax", Dual::softmax);
    unary::<2, 2>(&g, "log_softmax", Dual::log_softmax);
}

#[test]
fn product_broadcasts() {
    let Some(g) = golden(FILE) else { return };
    let (a, b) = (input::<3>(&g, "product", "x0"), input::<3>(&g, "product", "x1"));
    let leaves = [
        ("x0", Leaf::of(&a.value)),
        ("dx0", Leaf::of(a.tangent.as_ref().expect("a tangent"))),
        ("x1", Leaf::of(&b.value)),
        ("dx1", Leaf::of(b.tangent.as_ref().expect("a tangent"))),
    ];
    let plain = (a.clone().constant() * b.clone().constant().shift(1.0)).value;
    check(&g, "product", a * b.shift(1.0), plain, &leaves);
}

#[test]
fn linear_and_norms() {
    let Some((g, config)) = golden_and_config(FILE) else { return };
    let l = linear(&g, "linear.param.weight", Some("linear.param.bias"));
    unary::<2, 2>(&g, "linear", |x| l.forward(x));
    let norm = layer_norm(&g, "layer_norm.param.weight", "layer_norm.param.bias");
    unary::<3, 3>(&g, "layer_norm", |x| norm.forward(x));
    let s = &mut stream(0, Purpose::Init, 0);
    let [width] = g.shape("rms_norm.param.weight");
    let mut rms = RmsNorm::init(width, config["rms_norm_eps"].as_f64().expect("an epsilon"), &device(), s);
    rms.weight = param(&g, "rms_norm.param.weight");
    unary::<3, 3>(&g, "rms_norm", |x| rms.forward(x));
    let [channels] = g.shape("group_norm.param.weight");
    let groups = config["groups"].as_u64().expect("the number of groups") as usize;
    let mut group = GroupNorm::init(groups, channels, &device(), s);
    group.weight = param(&g, "group_norm.param.weight");
    group.bias = param(&g, "group_norm.param.bias");
    unary::<4, 4>(&g, "group_norm", |x| group.forward(x));
}

#[test]
fn attention_with_masked_keys() {
    let Some(g) = golden(FILE) else { return };
    let [q, k, v] = ["q", "k", "v"].map(|n| input::<4>(&g, "attention", n));
    let shape: [usize; 2] = g.shape("attention.param.key_mask");
    let keep: Vec<bool> = g.values("attention.param.key_mask").iter().map(|&m| m > 0.5).collect();
    let keys: Tensor<2, Bool> = mask(&keep, shape, &device());
    let mut leaves = Vec::new();
    for (name, x) in [("q", &q), ("k", &k), ("v", &v)] {
        leaves.push((name, Leaf::of(&x.value)));
    }
    for (name, x) in [("dq", &q), ("dk", &k), ("dv", &v)] {
        leaves.push((name, Leaf::of(x.tangent.as_ref().expect("a tangent"))));
    }
    let constants = [&q, &k, &v].map(|x| x.clone().constant());
    let [cq, ck, cv] = constants;
    let plain = attention(cq, ck, cv, Some(keys.clone())).value;
    check(&g, "attention", attention(q, k, v, Some(keys)), plain, &leaves);
}

#[test]
fn rotary_positions_and_times() {
    let Some(g) = golden(FILE) else { return };
    // The fixture has heads after positions; ours has them before.
    unary::<4, 4>(&g, "rope", |x| {
        let x = x.linear(|v| v.swap_dims(1, 2));
        let [_, _, n, width] = x.dims();
        let rotary = Rotary::new(Positions::Line, n, width, &x.value);
        rotary.forward(x).linear(|v| v.swap_dims(1, 2))
    });
    let [_, width] = g.shape("time_features.out");
    unary::<1, 2>(&g, "time_features", |a| TimeFeatures::Sinusoidal.features(a, width));
}

/// The smallest stride and padding that map one height and width to the other.
fn step_and_zeros(kernel: usize, [_, _, h, w]: [usize; 4], [_, _, out_h, out_w]: [usize; 4]) -> (usize, usize) {
    let mut all = (1..=kernel).flat_map(|stride| (0..kernel).map(move |padding| (stride, padding)));
    let fits = |n: usize, out: usize, (stride, padding): (usize, usize)| {
        n + 2 * padding >= kernel && (n + 2 * padding - kernel) / stride + 1 == out
    };
    all.find(|&pair| fits(h, out_h, pair) && fits(w, out_w, pair)).expect("some convolution has these shapes")
}

#[test]
fn convolutions() {
    let Some(g) = golden(FILE) else { return };
    let s = &mut stream(0, Purpose::Init, 0);
    let [outputs, inputs, kernel, _] = g.shape("conv2d.param.weight");
    let (stride, padding) = step_and_zeros(kernel, g.shape("conv2d.in.x"), g.shape("conv2d.out"));
    let config = Conv2dConfig { inputs, outputs, kernel, stride, padding };
    let mut conv = cast_module(config.init(&device(), s), precision(&device()));
    conv.weight = param(&g, "conv2d.param.weight");
    conv.bias = param(&g, "conv2d.param.bias");
    unary::<4, 4>(&g, "conv2d", |x| conv.forward(x));
    let [inputs, outputs, _, _] = g.shape("conv_transpose2d.param.weight");
    let mut up = ConvTranspose2d::init(inputs, outputs, &device(), s);
    up.weight = param(&g, "conv_transpose2d.param.weight");
    up.bias = param(&g, "conv_transpose2d.param.bias");
    unary::<4, 4>(&g, "conv_transpose2d", |x| up.forward(x));
}

#[test]
fn chain_of_layers() {
    let Some(g) = golden(FILE) else { return };
    let norm = layer_norm(&g, "chain.param.norm_weight", "chain.param.norm_bias");
    let (w1, w2) = (linear(&g, "chain.param.w1", None), linear(&g, "chain.param.w2", None));
    unary::<2, 2>(&g, "chain", |x| (x.clone() + w2.forward(w1.forward(norm.forward(x)).gelu())).softmax());
}
