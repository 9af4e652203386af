//! Train a flow of a bijector of your own by exact maximum likelihood. An enum of it and `Transform` mixes it with the built-in ones.
//! `cargo run --release -p pushforward --example own_bijector`
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::{error::Error, ops::ControlFlow};

use pushforward::bijector::{Bijector, Flow, FlowStep};
use pushforward::prelude::*;
use pushforward::tensor::{from_f32, to_host};
use pushforward::train::train;

/// `z = e^-c asinh(e^a x)`: heavy tails become light ones.
#[derive(Module, Debug)]
struct Asinh {
    a: Param<Tensor<1>>,
    c: Param<Tensor<1>>,
}

impl Bijector for Asinh {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let (a, c) = (self.a.val().unsqueeze::<2>(), self.c.val().unsqueeze::<2>());
        let u = x * a.clone().exp();
        let ladj = (u.clone() * u.clone() + 1.0).log() * -0.5 + a - c.clone();
        (u.asinh() * c.neg().exp(), ladj.sum_dim(1).squeeze_dim(1))
    }
    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let (a, c) = (self.a.val().unsqueeze::<2>(), self.c.val().unsqueeze::<2>());
        let x = (z * c.exp()).sinh() * a.neg().exp();
        (x.clone(), self.forward_and_ladj(x).1.neg())
    }
}

/// Minus the log-density, in nats.
struct Nll;

impl Objective<Flow<Asinh>> for Nll {
    type Batch = Vec<f32>;
    fn loss(&self, step: &TrainStep<'_, Flow<Asinh>>, batch: &Vec<f32>) -> LossParts {
        let x = from_f32(batch, [batch.len(), 1], &step.model.steps[0].transform.a.val());
        LossParts::mean("nll", step.model.log_density(x).neg(), Vec::new())
    }
}

#[cfg_attr(test, test)]
fn main() -> Result<(), Box<dyn Error>> {
    let zero = || Param::from_tensor(Tensor::zeros([1], &Device::flex().autodiff()).require_grad());
    let flow = Flow { steps: vec![FlowStep::new(Asinh { a: zero(), c: zero() })] };
    // sinh(2 n) / 2 of normal numbers n, which the flow with e^a = e^c = 2 makes normal again.
    let next = |index| stream(0, Purpose::Example, index).normals(256).iter().map(|n| (2.0 * n).sinh() / 2.0).collect();
    let config = TrainConfig { steps: 300, lr: 2e-2, warmup: 10, ..TrainConfig::default() };
    let flow = train(TrainRequest::new(flow, &Nll, &next, config), &mut |_| ControlFlow::Continue(()))?.ema;
    let Asinh { a, c } = &flow.steps[0].transform;
    let found = [a, c].map(|p| to_host(&p.val())[0].exp());
    println!("e^a and e^c, which are 2 in truth: {found:.3?}");
    assert!(found.iter().all(|v| (v - 2.0).abs() < 0.2));
    Ok(())
}
