//! Maps that take statistics from their first batch.

use burn::module::Module as _;
use burn::tensor::Tensor;
use pushforward::bijector::{Bijector, Leading, Transform};
use pushforward::params;
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, to_host};

use super::{Finite, act_norm, config, one};
use crate::support::{close, device, numbers, precision, tolerance, tracked};

fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

#[test]
fn act_norm_takes_its_statistics_from_the_first_batch() {
    let (rows, d) = (40, 6);
    let x: Tensor<2> = tracked(&numbers(rows * d, 16), [rows, d]);
    let x = x * 3.0 + tracked::<1>(&[5.0, -1.0, 0.0, 2.0, 7.0, 9.0], [6]).reshape([1, d]);
    let x = x.without_autodiff();
    for channels in [1, 2, 6] {
        for inverted in [false, true] {
            let mut flow = one(act_norm(channels));
            flow = cast_module(flow, precision(&device()));
            let z = if inverted { flow.initialise_inverse(x.clone()) } else { flow.initialise(x.clone()) };
            let values = to_host(&z);
            for channel in 0..channels {
                let own: Vec<f64> =
                    (0..rows * d).filter(|i| i % d / (d / channels) == channel).map(|i| values[i]).collect();
                let (mean, deviation) = moments(&own);
                // The floor of the scale changes the deviation.
                assert!(
                    mean.abs() < tolerance(1e-4) && (deviation - 1.0).abs() < tolerance(1e-4),
                    "{mean} {deviation}"
                );
            }
            // Another batch does not change it, and gradients flow.
            let before = params::collect(&flow);
            let other = x.clone() * 2.0 + 1.0;
            if inverted {
                flow.initialise_inverse(other)
            } else {
                flow.initialise(other)
            };
            assert_eq!(params::collect(&flow), before);
            let gradients = flow.log_density(Tensor::from_inner(x.clone())).sum().backward();
            flow.visit(&mut Finite(&gradients, "after initialisation"));
        }
    }
}

#[test]
fn act_norm_survives_a_constant_batch() {
    for inverted in [false, true] {
        let mut flow = one(act_norm(2));
        let x = || Tensor::<2>::ones([1, 4], &device()) * 3.0;
        let z = if inverted { flow.initialise_inverse(x()) } else { flow.initialise(x()) };
        // The floor of 1e-6 gives a scale of 1e6, which amplifies the rounding error of the mean.
        assert!(to_host(&z).iter().all(|v| v.abs() < 1.0), "{z}");
        assert!(to_host(&flow.forward_and_ladj(x()).1)[0].is_finite());
        for (name, values) in params::collect(&flow) {
            assert!(values.iter::<f64>().all(|v| v.is_finite()), "{name}: {values}");
        }
    }
}

#[test]
fn loaded_statistics_stay() {
    let config = config("kind = 'maf'\nlayers = 2\nhidden = 8");
    let make = |seed| config.init(3, &device().autodiff(), &mut stream(seed, Purpose::Init, 0));
    let x = Tensor::<2>::from_data(
        burn::tensor::TensorData::new(numbers(30, 17).iter().map(|&v| v as f32).collect::<Vec<_>>(), [10, 3]),
        &device(),
    );
    let mut trained = make(1);
    let arrived = trained.initialise(x.clone());
    let weights = params::collect(&trained).into_iter().collect();
    let mut loaded = params::load(make(2), &weights).expect("the same architecture");
    loaded.assume_initialised();
    close("loaded", &to_host(&loaded.valid().forward_and_ladj(x.clone()).0), &to_host(&arrived), 1e-5);
    loaded.initialise(x * 4.0 - 1.0);
    assert_eq!(params::collect(&loaded), params::collect(&trained));
}

#[test]
#[should_panic(expected = "ActNorm has no statistics yet: call `initialise`")]
fn act_norm_without_statistics_is_refused() {
    one(act_norm(1)).forward_and_ladj(tracked(&[1.0, 2.0], [1, 2]));
}

#[test]
fn a_leading_flow_is_initialised_too() {
    let mut flow = one(Transform::Leading(Leading::new(2, one(act_norm(1)))));
    let x = Tensor::<2>::from_data([[1.0f32, 5.0, 7.0], [3.0, 7.0, 7.0]], &device());
    let z = to_host(&flow.initialise(x));
    let (mean, deviation) = moments(&[z[0], z[1], z[3], z[4]]);
    assert!(mean.abs() < 1e-4 && (deviation - 1.0).abs() < 1e-4, "{mean} {deviation}");
    assert_eq!([z[2], z[5]], [7.0, 7.0]);
}
