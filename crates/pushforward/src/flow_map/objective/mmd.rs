//! Maximum mean discrepancy between samples of one evaluation and data.
//!
//! ```text
//! o(x, y) = 1/L sum_l <x_l, y_l>          L sites; the share of sites at which two items agree
//! k(x, y) = exp(scale (o(x, y) - 1))      a product over sites: joint frequencies of all orders, high ones least
//! M = [E k(y, y') - 2 E k(y, x) + E k(x, x')] / E k(x, x')
//! ```
//!
//! Regression on a teacher gives every point of noise its own endpoint, and its errors add up to a law of samples that is not the data's:
//! the likeliest class of an endpoint that is undecided comes too often. The kernel is characteristic on items of finitely many classes,
//! so that M is zero for equal laws only, and its gradient moves frequencies, of single classes and of several together, to those of the
//! data. The estimate is unbiased but for its denominator, also where samples are told sites of the data: each is then compared with
//! other items than its own.
//!
//! References: A Kernel Two-Sample Test (Gretton et al., 2012), JMLR 13, lemma 6; Generative Moment Matching Networks (Li et al., 2015),
//! arXiv:1502.02761. The gradient goes through the likeliest class as through its probability (straight-through; Bengio et al., 2013,
//! arXiv:1308.3432).

use burn::tensor::Tensor;

use crate::dual::softmax;
use crate::tensor::one_hot;

/// The classes that a sampler takes from logits, as one-hot vectors with the gradient of the probabilities.
///
/// # Shapes
/// - `z`, output: `[batch, sites, classes]`
pub(super) fn likeliest(z: Tensor<3>) -> Tensor<3> {
    let [batch, sites, classes] = z.dims();
    let pi = softmax(z.clone());
    let hard = one_hot(z.inner().argmax(2).reshape([batch, sites]), classes, &pi.clone().inner());
    pi.clone() + (hard - pi.inner())
}

/// The discrepancy M between the items `y` and `x`, `[1]`; `None` if either has fewer than two of them.
///
/// The last n of x are the items that y were told sites of: a sample is not compared with its own.
///
/// # Shapes
/// - `y`: `[n, sites, classes]`; `x`: `[m, sites, classes]`, without gradient, m >= n
pub(super) fn mmd(y: Tensor<3>, x: Tensor<3>, scale: f64) -> Option<Tensor<1>> {
    let ([n, sites, classes], [m, ..]) = (y.dims(), x.dims());
    if n < 2 || m < 2 {
        return None;
    }
    let flat = |items: Tensor<3>| {
        let count = items.dims()[0];
        items.reshape([count, sites * classes])
    };
    let kernel = |a: &Tensor<2>, b: &Tensor<2>| {
        let overlap = a.clone().matmul(b.clone().transpose()) / sites as f64;
        ((overlap - 1.0) * scale).exp()
    };
    let diagonal = |k: Tensor<2>| k.clone() * Tensor::<2>::eye(k.dims()[0], &k.device()).cast(k.dtype());
    // The mean over pairs of different items.
    let others = |k: Tensor<2>| {
        let n = k.dims()[0];
        (k.clone() - diagonal(k)).sum() / (n * (n - 1)) as f64
    };
    let (y, x) = (flat(y), flat(x));
    let same = others(kernel(&x, &x));
    let across = kernel(&y, &x);
    let own = diagonal(across.clone().slice_dim(1, m - n..m));
    let across = (across.sum() - own.sum()) / (n * (m - 1)) as f64;
    Some((others(kernel(&y, &y)) - across * 2.0) / same + 1.0)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::rng::{Purpose, Stream, stream};
    use crate::tensor::{scalar, to_host};

    const SCALE: f64 = 3.0;

    fn tensor(values: &[f64], n: usize, device: &Device) -> Tensor<3> {
        let data = TensorData::new(values.to_vec(), [n, values.len() / n / 3, 3]);
        Tensor::from_data(data, (device, burn::tensor::DType::F64))
    }

    /// Random points of simplices of three classes.
    fn points(n: usize, sites: usize, random: &mut Stream) -> Vec<f64> {
        let mut site = || {
            let e: Vec<f64> = (0..3).map(|_| -random.uniform().ln()).collect();
            let sum: f64 = e.iter().sum();
            e.into_iter().map(move |e| e / sum).collect::<Vec<_>>()
        };
        (0..n * sites).flat_map(|_| site()).collect()
    }

    /// By the definition, in plain loops.
    fn by_hand(y: &[f64], x: &[f64], sites: usize) -> f64 {
        let items = |v: &[f64]| v.chunks(3 * sites).map(<[f64]>::to_vec).collect::<Vec<_>>();
        let (y, x) = (items(y), items(x));
        let k = |a: &[f64], b: &[f64]| {
            let o: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / sites as f64;
            (SCALE * (o - 1.0)).exp()
        };
        let mean = |a: &[Vec<f64>], b: &[Vec<f64>]| {
            let before = b.len() - a.len();
            let pairs = (0..a.len()).flat_map(|i| (0..b.len()).map(move |j| (i, j))).filter(|(i, j)| before + i != *j);
            let values: Vec<f64> = pairs.map(|(i, j)| k(&a[i], &b[j])).collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        let data = mean(&x, &x);
        (mean(&y, &y) - 2.0 * mean(&y, &x) + data) / data
    }

    #[test]
    fn value_and_gradient_are_those_of_the_definition() {
        let device = Device::flex();
        let random = &mut stream(0, Purpose::Init, 0);
        let (y, x) = (points(4, 2, random), points(5, 2, random));
        let tracked = tensor(&y, 4, &device.clone().autodiff()).require_grad();
        let found = mmd(tracked.clone(), tensor(&x, 5, &device), SCALE).expect("enough items");
        assert!((scalar(&found) - by_hand(&y, &x, 2)).abs() < 1e-12);
        let gradient = to_host(&tracked.grad(&found.backward()).expect("it is tracked"));
        for i in 0..y.len() {
            let at = |step: f64| {
                let mut y = y.clone();
                y[i] += step;
                by_hand(&y, &x, 2)
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            // Gradients are divided by scalars in float32.
            assert!((gradient[i] - difference).abs() < 1e-6, "{i}: {} {difference}", gradient[i]);
        }
        assert!(mmd(tensor(&y[..6], 1, &device), tensor(&x, 5, &device), SCALE).is_none());
    }

    #[test]
    fn it_sees_joint_laws_and_not_only_marginals() {
        // Two sites of two classes: always equal, always different, or independent, with equal marginals.
        let device = Device::flex();
        let items = |pairs: &[[usize; 2]]| {
            let hot = |class: usize| (0..3).map(move |k| f64::from(u8::from(k == class)));
            let values: Vec<f64> = pairs.iter().flatten().flat_map(|&class| hot(class)).collect();
            tensor(&values, pairs.len(), &device)
        };
        let (equal, different) = ([[0, 0], [1, 1]].repeat(200), [[0, 1], [1, 0]].repeat(200));
        let independent = [[0, 0], [1, 1], [0, 1], [1, 0]].repeat(100);
        let distance = |y: &[[usize; 2]], x: &[[usize; 2]]| scalar(&mmd(items(y), items(x), SCALE).expect("enough"));
        assert!(distance(&equal, &equal).abs() < 0.01);
        let [near, far] = [distance(&independent, &equal), distance(&different, &equal)];
        assert!(near > 0.1 && far > 3.0 * near, "{near}, {far}");
    }

    #[test]
    fn the_gradient_of_the_likeliest_class_is_that_of_probabilities() {
        let device = Device::flex().autodiff();
        let z = tensor(&[0.3, 1.2, -0.4, 2.0, 0.1, 0.2], 1, &device).require_grad();
        let weights = tensor(&[1.0, -2.0, 0.5, 0.7, 3.0, -1.0], 1, &device.clone().without_autodiff());
        let hard = likeliest(z.clone());
        assert_eq!(to_host(&hard), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        let slope = |y: Tensor<3>| to_host(&z.grad(&(y * weights.clone()).sum().backward()).expect("it is tracked"));
        assert_eq!(slope(hard), slope(softmax(z.clone())));
    }
}
