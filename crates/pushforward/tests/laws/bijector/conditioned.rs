//! Maps whose parameters depend on other features: which features, inverses, the start as the identity.

use burn::module::Module as _;
use burn::tensor::Tensor;
use pushforward::bijector::{Bijector, Transform};
use pushforward::tensor::{cast_module, to_host};

use super::{AFFINE, BOUNDED, Pass, ROWS, SPLINE, autoregressive, coupling, jacobians, one, tar_flow};
use crate::laws::dual::randomise;
use crate::support::{close, device, numbers, precision, tolerance, tracked};

#[test]
fn masked_parameters_see_only_the_features_before() {
    for d in [1, 2, 3, 6] {
        let network = randomise(autoregressive(AFFINE, d).network);
        let x = tracked(&numbers(ROWS * d, 11), [ROWS, d]);
        for jacobian in jacobians(&x, |x| network.forward(x).flatten(1, 2)) {
            for (output, row) in jacobian.iter().enumerate() {
                let feature = output / 2;
                for (input, slope) in row.iter().enumerate() {
                    assert!(
                        (*slope != 0.0) == (input < feature),
                        "{d} features: parameter {output} of feature {feature} has slope {slope} in feature {input}"
                    );
                }
            }
        }
    }
}

/// Inverts a map that is affine in each group of features given those before it, from two evaluations of `f` per group,
/// independently of the networks.
fn oracle(f: Pass<'_>, z: &Tensor<2>, group: usize) -> Vec<f64> {
    let ([rows, d], wanted) = (z.dims(), to_host(z));
    let mut x = vec![0.0; rows * d];
    let at = |x: &[f64]| to_host(&f(tracked(x, [rows, d])).0);
    for start in (0..d).step_by(group) {
        let columns = || (0..rows).flat_map(|r| (start..start + group).map(move |c| r * d + c));
        let at_zero = at(&x);
        columns().for_each(|i| x[i] = 1.0);
        let at_one = at(&x);
        columns().for_each(|i| x[i] = (wanted[i] - at_zero[i]) / (at_one[i] - at_zero[i]));
    }
    x
}

#[test]
fn the_inverse_of_an_autoregressive_map_is_the_sequential_one() {
    let map = randomise(autoregressive(AFFINE, 6));
    let z = tracked(&numbers(ROWS * 6, 12), [ROWS, 6]);
    let wanted = oracle(&|x| map.forward_and_ladj(x), &z, 1);
    close("masked", &to_host(&map.inverse_and_ladj(z).0), &wanted, tolerance(1e-10));
    let map = randomise(tar_flow(5, 3));
    let z = tracked(&numbers(ROWS * 15, 13), [ROWS, 15]);
    let wanted = oracle(&|x| map.forward_and_ladj(x), &z, 3);
    close("tokens", &to_host(&map.inverse_and_ladj(z.clone()).0), &wanted, tolerance(1e-10));
    // Without autodiff, attention takes another path.
    close("tokens", &to_host(&map.valid().inverse_and_ladj(z.inner()).0), &wanted, tolerance(1e-10));
}

#[test]
fn tokens_depend_on_those_before() {
    let (map, x) = (randomise(tar_flow(4, 2)), tracked(&numbers(ROWS * 8, 14), [ROWS, 8]));
    for jacobian in jacobians(&x, |x| map.forward_and_ladj(x).0) {
        for (i, j) in (0..8).flat_map(|i| (0..8).map(move |j| (i, j))) {
            let expected = j / 2 < i / 2 || i == j;
            assert!((jacobian[i][j] != 0.0) == expected, "output {i} has slope {} in input {j}", jacobian[i][j]);
        }
    }
}

#[test]
fn couplings_and_transformers_start_as_the_identity() {
    let x = tracked(&numbers(ROWS * 6, 15), [ROWS, 6]);
    let spline = Transform::Coupling(coupling(SPLINE, 6));
    let affine = Transform::Coupling(coupling(BOUNDED, 6));
    for transform in [spline, affine, Transform::TarFlow(tar_flow(3, 2))] {
        let flow = cast_module(one(transform), precision(&device()));
        let (z, ladj) = flow.forward_and_ladj(x.clone());
        close("identity", &to_host(&z), &to_host(&x), tolerance(1e-12));
        assert!(to_host(&ladj).iter().all(|l| l.abs() < tolerance(1e-12)), "{ladj}");
    }
    let mut untouched = randomise(coupling(AFFINE, 5)).forward_and_ladj(x.clone().narrow(1, 0, 5)).0;
    untouched = untouched.narrow(1, 0, 2);
    assert_eq!(to_host(&untouched), to_host(&x.narrow(1, 0, 2)), "the first half passes");
}

#[test]
#[should_panic(expected = "axis 1 of the input: a conditioner is for 3 features, found 4")]
fn another_number_of_features_is_refused() {
    autoregressive(AFFINE, 3).forward_and_ladj(tracked(&[0.0; 4], [1, 4]));
}
