//! The fused layers in float32 against their composed forms in float64: values, tangents, and gradients through both,
//! at sizes that are not multiples of a register's; and the same bits on any number of threads.

use burn::module::{Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};
use pushforward::dual::{Dual, cross_entropy, divergence};
use pushforward::kernels::{Precision, serve};
use pushforward::nn::attention::{Positions, Rotary, biased_attention, self_attention};
use pushforward::nn::conv::{Conv2dConfig, ConvTranspose2d};
use pushforward::nn::edge_attention::edge_attention;
use pushforward::nn::graph_pooling::{Pooling, pool};
use pushforward::nn::linear::Linear;
use pushforward::nn::modulation::{Modulation, gated};
use pushforward::nn::norm::{GroupNorm, LayerNorm, RmsNorm};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{from_host, indices, to_host};

use crate::support::{close, numbers};

/// A function of leaves with value and optional tangent.
type Layer<'a> = &'a (dyn Fn(&[Dual<3>]) -> Dual<3> + Sync);

/// Named values.
type Named = Vec<(String, Vec<f64>)>;

/// Which parts of a layer's output the loss uses.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reads {
    /// The value only; the input has no tangent.
    Plain,
    Value,
    Tangent,
    Both,
}

/// Output, tangent and all gradients of `sum(c1 y + c2 dy)`.
///
/// With `strided`, leaves are transposed in memory.
fn evaluate(layer: Layer<'_>, shapes: &[[usize; 3]], reads: Reads, strided: bool, dtype: DType) -> Named {
    let device = Device::flex().autodiff();
    let leaf = |[a, b, c]: [usize; 3], seed: usize| -> Tensor<3> {
        let shape = if strided { [a, c, b] } else { [a, b, c] };
        let data = TensorData::new(numbers(a * b * c, seed as u64), shape).convert_dtype(dtype);
        Tensor::from_data(data, (&device, dtype)).require_grad()
    };
    let tangents = reads != Reads::Plain;
    let leaves: Vec<(Tensor<3>, Option<Tensor<3>>)> =
        shapes.iter().enumerate().map(|(i, &shape)| (leaf(shape, i), tangents.then(|| leaf(shape, 100 + i)))).collect();
    let enter = |x: &Tensor<3>| if strided { x.clone().swap_dims(1, 2) } else { x.clone() };
    let duals: Vec<Dual<3>> =
        leaves.iter().map(|(x, dx)| Dual { value: enter(x), tangent: dx.as_ref().map(enter) }).collect();
    assert_eq!(serve(&duals[0].value), dtype == DType::F32, "float32 takes the kernels and float64 does not");
    let y = layer(&duals);
    let weights = |seed: u64| -> Tensor<3> {
        let dims = y.dims();
        let data = TensorData::new(numbers(dims.iter().product(), seed), dims).convert_dtype(dtype);
        Tensor::from_data(data, (&device, dtype))
    };
    let of_value = || (y.value.clone() * weights(200)).sum();
    let of_tangent = || (y.tangent.clone().expect("a tangent") * weights(201)).sum();
    let loss = match reads {
        Reads::Plain | Reads::Value => of_value(),
        Reads::Tangent => of_tangent(),
        Reads::Both => of_value() + of_tangent(),
    };
    let grads = loss.backward();
    let mut found = vec![("value".to_owned(), to_host(&y.value))];
    found.extend(y.tangent.as_ref().map(|t| ("tangent".to_owned(), to_host(t))));
    for (i, (x, dx)) in leaves.iter().enumerate() {
        let mut gradient = |what: &str, leaf: &Tensor<3>| {
            let values = leaf.grad(&grads).map_or_else(|| vec![0.0; leaf.dims().iter().product()], |g| to_host(&g));
            found.push((format!("gradient of {what} {i}"), values));
        };
        gradient("input", x);
        dx.iter().for_each(|dx| gradient("tangent", dx));
    }
    found
}

/// Tolerance of the kernels, relative to the largest number.
const ALLOWED: [(Precision, f64); 3] = [(Precision::F32, 1e-4), (Precision::High, 1e-4), (Precision::Bf16, 5e-2)];

fn check(what: &str, layer: Layer<'_>, shapes: &[[usize; 3]]) {
    check_at(&ALLOWED, what, layer, shapes);
}

fn check_at(allowed: &[(Precision, f64)], what: &str, layer: Layer<'_>, shapes: &[[usize; 3]]) {
    for reads in [Reads::Plain, Reads::Value, Reads::Tangent, Reads::Both] {
        for strided in [false, true] {
            let wanted = evaluate(layer, shapes, reads, strided, DType::F64);
            for &(precision, allowed) in allowed {
                let _precision = precision.scope();
                let found = evaluate(layer, shapes, reads, strided, DType::F32);
                assert_eq!(found.len(), wanted.len());
                for ((name, found), (_, wanted)) in found.iter().zip(&wanted) {
                    let what = format!("{what} {shapes:?}, {precision:?}, {reads:?}, strided {strided}: {name}");
                    close(&what, found, wanted, allowed);
                }
            }
        }
        for &(precision, _) in allowed {
            let on = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                pool.install(|| {
                    let _precision = precision.scope();
                    evaluate(layer, shapes, reads, false, DType::F32)
                })
            };
            assert!(on(1) == on(2), "{what} {shapes:?}, {precision:?}, {reads:?}: the bits depend on the threads");
        }
    }
}

fn parameter<const D: usize>(x: Tensor<D>) -> Param<Tensor<D>> {
    Param::initialized(ParamId::new(), x)
}

/// A leaf as a vector or matrix of weights, without tangent.
fn weights<const D: usize>(x: &Dual<3>, shape: [usize; D]) -> Param<Tensor<D>> {
    parameter(x.value.clone().reshape(shape))
}

#[test]
fn linear_maps() {
    for (b, n, inputs, outputs) in [
        (1, 1, 1, 1),
        (2, 5, 7, 3),
        (3, 17, 33, 17),
        (1, 3, 17, 40),
        (4, 70, 64, 96),
        (3, 90, 96, 40),
        (6, 200, 33, 17),
    ] {
        let shapes = [[b, n, inputs], [1, inputs, outputs], [1, 1, outputs]];
        let layer = |x: &[Dual<3>], bias: bool| Linear {
            weight: weights(&x[1], [inputs, outputs]),
            bias: bias.then(|| weights(&x[2], [outputs])),
        };
        check("linear", &|x| layer(x, true).forward(x[0].clone()), &shapes);
        check("linear, gelu", &|x| layer(x, true).forward_gelu(x[0].clone()), &shapes);
        check("linear, silu", &|x| layer(x, true).forward_silu(x[0].clone()), &shapes);
        // With few digits, a number may be on the other side of the kink.
        check_at(&ALLOWED[..2], "linear, relu", &|x| layer(x, true).forward_relu(x[0].clone()), &shapes);
        check("linear without bias", &|x| layer(x, false).forward(x[0].clone()), &shapes[..2]);
        check("linear without bias, gelu", &|x| layer(x, false).forward_gelu(x[0].clone()), &shapes[..2]);
    }
}

fn layer_norm(x: &[Dual<3>], features: usize) -> LayerNorm {
    let mut norm = LayerNorm::init(features, &Device::flex(), &mut stream(0, Purpose::Init, 0));
    norm.weight = weights(&x[1], [features]);
    norm.bias = weights(&x[2], [features]);
    norm
}

#[test]
fn norms_and_modulation() {
    for (b, n, features) in [(1, 1, 7), (2, 3, 17), (3, 70, 33), (5, 130, 64)] {
        let vector = [1, 1, features];
        let shapes = [[b, n, features], vector, vector, [b, 1, features], [b, 1, features]];
        check("layer norm", &|x| layer_norm(x, features).forward(x[0].clone()), &shapes[..3]);
        let rms = |x: &[Dual<3>]| {
            let mut norm = RmsNorm::init(features, 1e-6, &Device::flex(), &mut stream(0, Purpose::Init, 0));
            norm.weight = weights(&x[1], [features]);
            norm.forward(x[0].clone())
        };
        check("rms norm", &rms, &shapes[..2]);
        let modulated =
            |x: &[Dual<3>]| layer_norm(x, features).forward_modulated(x[0].clone(), x[3].clone(), x[4].clone());
        check("modulated", &modulated, &shapes);
        // A tangent of the modulation only, and of the input only.
        let only_modulation = |x: &[Dual<3>]| {
            layer_norm(x, features).forward_modulated(x[0].clone().constant(), x[3].clone(), x[4].clone())
        };
        check("constant modulated", &only_modulation, &shapes);
        let only_point = |x: &[Dual<3>]| {
            layer_norm(x, features).forward_modulated(x[0].clone(), x[3].clone().constant(), x[4].clone().constant())
        };
        check("modulated by constants", &only_point, &shapes);
    }
}

#[test]
fn gates() {
    for (b, n, features) in [(1, 1, 1), (2, 3, 17), (3, 70, 33), (4, 300, 64)] {
        let shapes = [[b, n, features], [b, n, features], [b, 1, features]];
        check("gated", &|x| gated(x[0].clone(), x[1].clone(), x[2].clone()), &shapes);
        check("gated constant", &|x| gated(x[0].clone().constant(), x[1].clone(), x[2].clone()), &shapes);
        check("gated by constant", &|x| gated(x[0].clone(), x[1].clone(), x[2].clone().constant()), &shapes);
        check("constant branch", &|x| gated(x[0].clone(), x[1].clone().constant(), x[2].clone()), &shapes);
    }
}

#[test]
fn attention() {
    for (b, n, heads, head) in [(1, 1, 1, 2), (2, 7, 3, 6), (2, 17, 2, 16), (1, 150, 2, 34), (3, 64, 4, 32)] {
        let shapes = [[b, n, 3 * heads * head]];
        let layer = |x: &[Dual<3>]| {
            let rotary = Rotary::new(Positions::Line, n, head, &x[0].value);
            self_attention(x[0].clone(), heads, &rotary)
        };
        check("attention", &layer, &shapes);
    }
}

#[test]
fn attention_with_bias_and_mask() {
    for (b, n, heads, head) in [(1, 1, 1, 2), (3, 9, 4, 16), (2, 17, 3, 7), (1, 140, 2, 5)] {
        let shapes = [[b, n, 3 * heads * head], [b, heads * n, n]];
        let present = |like: &Tensor<3>| {
            let values: Vec<f64> = (0..b * n).map(|i| f64::from(u8::from(i % n == 0 || i % 3 != 1))).collect();
            from_host(&values, [b, n], like)
        };
        let bias = |x: &Dual<3>| x.clone().linear(|x| x.reshape([b, heads, n, n]));
        let layer = |x: &[Dual<3>]| biased_attention(x[0].clone(), bias(&x[1]), heads, &present(&x[0].value));
        check("attention with bias", &layer, &shapes);
        let fixed =
            |x: &[Dual<3>]| biased_attention(x[0].clone(), bias(&x[1]).constant(), heads, &present(&x[0].value));
        check("attention with a constant bias", &fixed, &shapes);
        let only = |x: &[Dual<3>]| biased_attention(x[0].clone().constant(), bias(&x[1]), heads, &present(&x[0].value));
        check("attention of constants with bias", &only, &shapes);
    }
}

#[test]
fn attention_of_graphs_by_features() {
    for (b, n, features) in [(1, 1, 1), (2, 3, 5), (3, 9, 17), (5, 4, 48)] {
        let (nodes, edges) = ([b, n, features], [b, n * n, features]);
        let edge = |x: &Dual<3>| x.clone().linear(|x| x.reshape([b, n, n, features]));
        let both = |x: &[Dual<3>], site_mask: Option<&Tensor<2>>| {
            let nodes = [0, 1, 2].map(|i| x[i].clone());
            let (scores, seen) = edge_attention(nodes, [edge(&x[3]), edge(&x[4])], site_mask);
            (scores.linear(|x| x.reshape([b, n * n, features])), seen)
        };
        let shapes = [nodes, nodes, nodes, edges, edges];
        let all = |x: &[Dual<3>]| {
            let (scores, seen) = both(x, None);
            Dual::cat(vec![scores, seen], 1)
        };
        check("edge attention", &all, &shapes);
        // The last node is masked in every entry but the first.
        let there = |like: &Tensor<3>| {
            let present = (0..b * n).map(|i| if i >= n && n > 1 && i % n == n - 1 { 0.0 } else { 1.0 });
            from_host(&present.collect::<Vec<_>>(), [b, n], like)
        };
        check("edge attention, what is seen", &|x| both(x, Some(&there(&x[0].value))).1, &shapes);
        check("edge attention, scores", &|x| both(x, None).0, &shapes);
        let part = |x: &[Dual<3>]| {
            let x: Vec<Dual<3>> =
                x.iter().enumerate().map(|(i, x)| if i % 2 == 0 { x.clone() } else { x.clone().constant() }).collect();
            both(&x, None).1
        };
        check("edge attention, some without tangent", &part, &shapes);
    }
}

#[test]
fn summaries_of_sets() {
    for shape @ [b, n, features] in [[1, 1, 1], [2, 3, 5], [3, 9, 17], [5, 40, 48]] {
        let row = |y: Dual<2>| y.linear(|y| y.reshape([b, 1, 4 * features]));
        check("summaries", &|x| row(pool(x[0].clone(), None, Pooling::Masked)), &[shape]);
        // The last two entries are masked in every set but the first.
        let masked = |x: &[Dual<3>]| {
            let present = (0..b * n).map(|i| if i >= n && n > 2 && i % n >= n - 2 { 0.0 } else { 1.0 });
            let present = from_host(&present.collect::<Vec<_>>(), [b, n, 1], &x[0].value);
            row(pool(x[0].clone(), Some(&present), Pooling::Masked))
        };
        check("summaries of what is there", &masked, &[shape]);
    }
}

#[test]
fn activations_and_softmax() {
    for shape in [[1, 1, 1], [2, 3, 7], [3, 17, 33], [2, 90, 300]] {
        check("gelu", &|x| x[0].clone().gelu(), &[shape]);
        check("silu", &|x| x[0].clone().silu(), &[shape]);
        check("relu", &|x| x[0].clone().relu(), &[shape]);
        check("softmax", &|x| x[0].clone().softmax(), &[shape]);
        check("log-softmax", &|x| x[0].clone().log_softmax(), &[shape]);
        // A tangent of a value without gradient, as teachers have it.
        let detached = |x: &[Dual<3>]| {
            let constant = Dual { value: x[0].value.clone().detach(), tangent: x[0].tangent.clone() };
            constant.softmax() + x[0].clone()
        };
        check("softmax of a constant", &detached, &[shape]);
    }
}

#[test]
fn cross_entropy_and_divergence() {
    for shape @ [b, n, k] in [[1, 1, 1], [2, 3, 7], [3, 17, 33], [2, 90, 300]] {
        let classes: Vec<u32> = (0..b * n).map(|i| (i * i % k) as u32).collect();
        // The losses have no tangent: they scale what has one.
        let scaled = |x: &Dual<3>, loss: Tensor<2>| x.clone() * Dual::from(loss.unsqueeze_dim::<3>(2));
        let hard = |x: &[Dual<3>]| {
            let ids = indices(&classes, [b, n], &x[0].value.device());
            scaled(&x[1], cross_entropy(ids, x[0].value.clone()))
        };
        check("cross-entropy", &hard, &[shape, shape]);
        let soft = |x: &[Dual<3>]| scaled(&x[1], divergence(x[2].clone().softmax().value, x[0].value.clone()));
        check("divergence", &soft, &[shape, shape, shape]);
        let constant = |x: &[Dual<3>]| scaled(&x[1], divergence(x[2].value.clone().detach(), x[0].value.clone()));
        check("divergence of a constant that is no law", &constant, &[shape, shape, shape]);
        // Certain probabilities, and logits of masked classes.
        let hot: Vec<f64> = (0..b * n * k).map(|i| f64::from(u8::from(i % k == classes[i / k] as usize))).collect();
        let shut: Vec<f64> =
            hot.iter().enumerate().map(|(i, q)| if *q == 0.0 && i % 3 == 0 { -1e9 } else { 0.0 }).collect();
        let certain = |x: &[Dual<3>]| {
            let [q, shut] = [&hot, &shut].map(|v| from_host(v, shape, &x[0].value));
            scaled(&x[1], divergence(q + x[2].value.clone() * 0.0, x[0].value.clone() + shut))
        };
        check("divergence of what is certain", &certain, &[shape, shape, shape]);
    }
}

#[test]
fn parts_of_a_modulation() {
    for (b, cond, features) in [(1, 1, 1), (3, 7, 17), (5, 33, 64)] {
        let shapes = [[1, b, cond], [1, cond, 3 * features], [1, 1, 3 * features]];
        let layer = |x: &[Dual<3>]| {
            let mut modulation = Modulation::init(cond, 3, features, &Device::flex(), &mut stream(0, Purpose::Init, 0));
            modulation.linear.weight = weights(&x[1], [cond, 3 * features]);
            modulation.linear.bias = Some(weights(&x[2], [3 * features]));
            let parts: [Dual<3>; 3] = modulation.forward(x[0].clone().linear(|v| v.reshape([b, cond])));
            // One part is not used.
            parts[0].clone() * parts[2].clone()
        };
        check("modulation", &layer, &shapes);
    }
}

#[test]
fn convolutions() {
    let init = || stream(0, Purpose::Init, 0);
    for (b, [h, w], inputs, outputs, kernel, stride) in [
        (1, [1, 1], 1, 1, 1, 1),
        (2, [7, 5], 3, 2, 3, 1),
        (3, [7, 10], 2, 5, 3, 2),
        (2, [9, 8], 1, 17, 5, 2),
        (11, [12, 12], 8, 20, 3, 1),
        // Several images at once, and a grid that is processed a few rows at a time.
        (20, [4, 6], 33, 18, 3, 2),
        (1, [31, 33], 40, 3, 3, 1),
    ] {
        let config = Conv2dConfig { inputs, outputs, kernel, stride, padding: kernel / 2 };
        let image = |x: &Dual<3>| x.clone().linear(|v| v.reshape([b, inputs, h, w]));
        let flat = |y: Dual<4>| {
            let [b, c, h, w] = y.dims();
            y.linear(|v| v.reshape([b, c, h * w]))
        };
        let shapes = [[b, inputs, h * w], [outputs, inputs, kernel * kernel], [1, 1, outputs]];
        let layer = |x: &[Dual<3>]| {
            let mut conv = config.init(&Device::flex(), &mut init());
            conv.weight = weights(&x[1], [outputs, inputs, kernel, kernel]);
            conv.bias = weights(&x[2], [outputs]);
            flat(conv.forward(image(&x[0])))
        };
        check("convolution", &layer, &shapes);
        let layer = |x: &[Dual<3>]| {
            let mut conv = ConvTranspose2d::init(inputs, outputs, &Device::flex(), &mut init());
            conv.weight = weights(&x[1], [inputs, outputs, 4, 4]);
            conv.bias = weights(&x[2], [outputs]);
            flat(conv.forward(image(&x[0])))
        };
        check("transposed convolution", &layer, &[shapes[0], [inputs, outputs, 16], shapes[2]]);
        let groups = if inputs % 2 == 0 { 2 } else { 1 };
        let layer = |x: &[Dual<3>]| {
            let mut norm = GroupNorm::init(groups, inputs, &Device::flex(), &mut init());
            norm.weight = weights(&x[1], [inputs]);
            norm.bias = weights(&x[2], [inputs]);
            flat(norm.forward(image(&x[0])))
        };
        if h * w > 1 {
            check("group norm", &layer, &[shapes[0], [1, 1, inputs], [1, 1, inputs]]);
        }
    }
}

/// On processors with slow denormal numbers, the kernels treat them as zero.
#[cfg(target_arch = "x86_64")]
#[test]
fn numbers_below_the_least_normal_one_count_as_zero() {
    let device = Device::flex().autodiff();
    let filled = |value: f32, rows: usize, columns: usize| -> Tensor<2> {
        Tensor::from_data(TensorData::new(vec![value; rows * columns], [rows, columns]), &device)
    };
    for rows in [1, 700] {
        let layer = Linear { weight: Param::from_tensor(filled(1.0, 64, 64)), bias: None };
        let y = layer.forward(Dual::from(filled(1e-40, rows, 64)));
        assert!(to_host(&y.value).iter().all(|y| *y == 0.0), "{rows} rows");
    }
}
