//! Composition of invertible maps: flows, and the built-in maps as one type.
//!
//! [`Flow`], [`Transform`] and [`Leading`] are in one file because they are mutually recursive: a flow on some of the
//! features is itself a transform.

use burn::module::Module;
use burn::tensor::Tensor;

use super::act_norm::ActNorm;
use super::affine::Affine;
use super::autoregressive::MaskedAutoregressive;
use super::coupling::Coupling;
use super::haar::Haar;
use super::logit::Logit;
use super::lu_linear::LuLinear;
use super::map::{Bijector, constant_ladj, sum_features};
use super::orthogonal::Orthogonal;
use super::permutation::Permutation;
use super::tar_flow::TarFlow;

/// A chain of invertible maps, in the order in which `forward` applies them; the empty chain is the identity.
///
/// `T` is [`Transform`], or any [`Bijector`] of your own.
///
/// # Examples
/// The density of `x / 2` for standard normal `x`.
/// ```
/// use pushforward::bijector::{Affine, Flow, FlowStep, Transform};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::tensor::to_host;
///
/// let flow = Flow { steps: vec![FlowStep::new(Transform::Affine(Affine::new(2.0, 0.0)))] };
/// let log_density = to_host(&flow.log_density(Tensor::zeros([1, 1], &Device::flex())))[0];
/// let expected = 2f64.ln() - 0.5 * std::f64::consts::TAU.ln();
/// assert!((log_density - expected).abs() < 1e-6);
/// let standard = to_host(&Flow::<Transform>::default().log_density(Tensor::zeros([1, 1], &Device::flex())))[0];
/// assert!((log_density - standard - 2f64.ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct Flow<T: Module = Transform> {
    /// The maps.
    pub steps: Vec<FlowStep<T>>,
}

impl<T: Module> Default for Flow<T> {
    fn default() -> Self {
        Self { steps: Vec::new() }
    }
}

/// One map of a [`Flow`], or its inverse.
#[derive(Module, Debug)]
pub struct FlowStep<T: Module = Transform> {
    /// The map.
    pub transform: T,
    /// Whether `forward` of the flow applies the inverse of the map.
    pub inverted: bool,
}

impl<T: Module> FlowStep<T> {
    /// The map itself, not inverted.
    pub fn new(transform: T) -> Self {
        Self { transform, inverted: false }
    }

    /// The inverse of this step.
    pub fn inverse(self) -> Self {
        Self { inverted: !self.inverted, ..self }
    }
}

impl<T: Bijector> FlowStep<T> {
    /// Initialises the map from a batch on its way through the flow, `forward` or, if `reverse`, `inverse`; returns the
    /// image of the batch, outside any autodiff graph.
    fn pass_on(&mut self, x: Tensor<2>, reverse: bool) -> Tensor<2> {
        let inverted = self.inverted != reverse;
        self.transform.initialise_from(&x, inverted);
        let (y, _) = if inverted { self.transform.inverse_and_ladj(x) } else { self.transform.forward_and_ladj(x) };
        y.detach()
    }
}

impl<T: Bijector> Bijector for FlowStep<T> {
    fn initialise_from(&mut self, x: &Tensor<2>, inverted: bool) {
        self.transform.initialise_from(x, inverted != self.inverted);
    }

    fn assume_initialised(&mut self) {
        self.transform.assume_initialised();
    }

    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        if self.inverted { self.transform.inverse_and_ladj(x) } else { self.transform.forward_and_ladj(x) }
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        if self.inverted { self.transform.forward_and_ladj(z) } else { self.transform.inverse_and_ladj(z) }
    }
}

impl<T: Bijector> Flow<T> {
    /// The inverse flow: its `forward` is this one's `inverse`. The parameters are the same.
    pub fn inverse(self) -> Self {
        Self { steps: self.steps.into_iter().rev().map(FlowStep::inverse).collect() }
    }

    /// `log N(f(x); 0, I) + ladj(x)`, in nats per example.
    ///
    /// # Shapes
    /// - `x`: `[batch, features]`
    /// - output: `[batch]`
    pub fn log_density(&self, x: Tensor<2>) -> Tensor<1> {
        let constant = 0.5 * x.dims()[1] as f64 * std::f64::consts::TAU.ln();
        let (z, ladj) = self.forward_and_ladj(x);
        sum_features(z.clone() * z) * -0.5 - constant + ladj
    }

    /// Initialises every map with data-dependent initial parameters that is not initialised yet, from a batch `x`
    /// mapped by `forward`. Returns the image of the batch, outside any autodiff graph.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, features]`
    pub fn initialise(&mut self, x: Tensor<2>) -> Tensor<2> {
        self.steps.iter_mut().fold(x.detach(), |x, step| step.pass_on(x, false))
    }

    /// The same from a batch `z` mapped by `inverse`, for flows that training uses in that direction.
    ///
    /// # Examples
    /// ```
    /// use pushforward::bijector::{ActNorm, Flow, FlowStep, Transform};
    /// use pushforward::burn::tensor::{Device, Tensor};
    /// use pushforward::tensor::to_host;
    ///
    /// let mut flow = Flow { steps: vec![FlowStep::new(Transform::ActNorm(ActNorm::init(1, &Device::flex())))] };
    /// let z = Tensor::<2>::from_data([[1.0f32], [3.0], [5.0]], &Device::flex());
    /// // The images of the batch have mean 0 and standard deviation 1.
    /// let x = to_host(&flow.initialise_inverse(z));
    /// assert!(x.iter().zip([-1.0, 0.0, 1.0]).all(|(x, exact)| (x - exact).abs() < 1e-4));
    /// ```
    ///
    /// # Shapes
    /// - `z`, output: `[batch, features]`
    pub fn initialise_inverse(&mut self, z: Tensor<2>) -> Tensor<2> {
        self.steps.iter_mut().rev().fold(z.detach(), |z, step| step.pass_on(z, true))
    }
}

impl<T: Bijector> Bijector for Flow<T> {
    fn initialise_from(&mut self, x: &Tensor<2>, inverted: bool) {
        if inverted {
            self.initialise_inverse(x.clone())
        } else {
            self.initialise(x.clone())
        };
    }

    fn assume_initialised(&mut self) {
        self.steps.iter_mut().for_each(|step| step.transform.assume_initialised());
    }

    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let start = (constant_ladj(0.0, &x), x);
        let (ladj, z) = self.steps.iter().fold(start, |(total, x), step| {
            let (y, ladj) = step.forward_and_ladj(x);
            (total + ladj, y)
        });
        (z, ladj)
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let start = (constant_ladj(0.0, &z), z);
        let (ladj, x) = self.steps.iter().rev().fold(start, |(total, z), step| {
            let (y, ladj) = step.inverse_and_ladj(z);
            (total + ladj, y)
        });
        (x, ladj)
    }
}

/// Any of the built-in invertible maps.
#[derive(Module, Debug)]
pub enum Transform {
    /// Fixed scale and shift.
    Affine(Affine),
    /// Unit interval to the real line.
    Logit(Logit),
    /// Learned scale and shift, initialised from data.
    ActNorm(ActNorm),
    /// Reordering of features.
    Permutation(Permutation),
    /// Learned linear map, of features or of channels.
    LuLinear(LuLinear),
    /// Learned orthogonal map.
    Orthogonal(Orthogonal),
    /// Wavelet transform of images.
    Haar(Haar),
    /// Maps every feature given those before it.
    MaskedAutoregressive(MaskedAutoregressive),
    /// Maps one half of the features given the other.
    Coupling(Coupling),
    /// Maps every token given those before it, with a transformer.
    TarFlow(TarFlow),
    /// A flow on the first features.
    Leading(Leading),
}

impl Bijector for Transform {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        match self {
            Self::Affine(map) => map.forward_and_ladj(x),
            Self::Logit(map) => map.forward_and_ladj(x),
            Self::ActNorm(map) => map.forward_and_ladj(x),
            Self::Permutation(map) => map.forward_and_ladj(x),
            Self::LuLinear(map) => map.forward_and_ladj(x),
            Self::Orthogonal(map) => map.forward_and_ladj(x),
            Self::Haar(map) => map.forward_and_ladj(x),
            Self::MaskedAutoregressive(map) => map.forward_and_ladj(x),
            Self::Coupling(map) => map.forward_and_ladj(x),
            Self::TarFlow(map) => map.forward_and_ladj(x),
            Self::Leading(map) => map.forward_and_ladj(x),
        }
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        match self {
            Self::Affine(map) => map.inverse_and_ladj(z),
            Self::Logit(map) => map.inverse_and_ladj(z),
            Self::ActNorm(map) => map.inverse_and_ladj(z),
            Self::Permutation(map) => map.inverse_and_ladj(z),
            Self::LuLinear(map) => map.inverse_and_ladj(z),
            Self::Orthogonal(map) => map.inverse_and_ladj(z),
            Self::Haar(map) => map.inverse_and_ladj(z),
            Self::MaskedAutoregressive(map) => map.inverse_and_ladj(z),
            Self::Coupling(map) => map.inverse_and_ladj(z),
            Self::TarFlow(map) => map.inverse_and_ladj(z),
            Self::Leading(map) => map.inverse_and_ladj(z),
        }
    }

    fn initialise_from(&mut self, x: &Tensor<2>, inverted: bool) {
        match self {
            Self::ActNorm(map) => map.initialise_from(x, inverted),
            Self::Leading(map) => map.initialise_from(x, inverted),
            _ => {}
        }
    }

    fn assume_initialised(&mut self) {
        match self {
            Self::ActNorm(map) => map.assume_initialised(),
            Self::Leading(map) => map.assume_initialised(),
            _ => {}
        }
    }
}

/// A flow on the first features; the others are unchanged.
///
/// # Examples
/// ```
/// use pushforward::bijector::{Affine, Bijector, Flow, FlowStep, Leading, Transform};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::tensor::to_host;
///
/// let double = Flow { steps: vec![FlowStep::new(Transform::Affine(Affine::new(2.0, 0.0)))] };
/// let x = Tensor::<2>::from_data([[1.0f32, 2.0, 3.0]], &Device::flex());
/// assert_eq!(to_host(&Leading::new(2, double).forward_and_ladj(x).0), [2.0, 4.0, 3.0]);
/// ```
#[derive(Module, Debug)]
pub struct Leading {
    /// The flow.
    pub flow: Flow,
    features: usize,
}

impl Leading {
    /// `flow` on the first `features` features.
    ///
    /// # Panics
    /// If `features` is 0.
    pub fn new(features: usize, flow: Flow) -> Self {
        assert!(features > 0, "a flow on the leading features needs at least one of them");
        Self { flow, features }
    }

    fn split(&self, x: Tensor<2>) -> (Tensor<2>, Option<Tensor<2>>) {
        let ([_, found], n) = (x.dims(), self.features);
        assert!(found >= n, "axis 1 of the input: a flow on the first {n} features found {found}");
        let rest = (found > n).then(|| x.clone().narrow(1, n, found - n));
        (x.narrow(1, 0, n), rest)
    }

    fn apply(&self, x: Tensor<2>, map: impl FnOnce(Tensor<2>) -> (Tensor<2>, Tensor<1>)) -> (Tensor<2>, Tensor<1>) {
        let (first, rest) = self.split(x);
        let (first, ladj) = map(first);
        (Tensor::cat([first].into_iter().chain(rest).collect(), 1), ladj)
    }
}

impl Bijector for Leading {
    /// Initialises the flow, see [`Flow::initialise`].
    fn initialise_from(&mut self, x: &Tensor<2>, inverted: bool) {
        let (first, _) = self.split(x.clone());
        if inverted {
            self.flow.initialise_inverse(first)
        } else {
            self.flow.initialise(first)
        };
    }

    fn assume_initialised(&mut self) {
        self.flow.assume_initialised();
    }

    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        self.apply(x, |x| self.flow.forward_and_ladj(x))
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        self.apply(z, |z| self.flow.inverse_and_ladj(z))
    }
}
