//! Dual numbers over tensors, for forward-mode derivatives: a value and, optionally, its derivative along one
//! direction.
//!
//! ```text
//! x = value + eps * tangent,   eps^2 = 0        f(x) = f(value) + eps * J_f(value) tangent
//! ```
//!
//! The tangent is an ordinary (possibly tracked) tensor, so one reverse pass through it gives the gradient of a
//! derivative: reverse-over-forward with a first-order engine. Every layer is written once on [`Dual`]; a plain
//! forward pass is a `Dual` without tangent and does no extra work.
//!
//! # Examples
//! The derivative of `x^2` at 3 is 6.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::dual::Dual;
//! use pushforward::tensor::to_host;
//!
//! let (three, one) = ([[3.0f32]], [[1.0f32]]);
//! let x = Dual::new(Tensor::<2>::from_data(three, &Device::flex()), Tensor::from_data(one, &Device::flex()));
//! let square = x.clone() * x;
//! assert_eq!(to_host(&square.value), [9.0]);
//! assert_eq!(to_host(&square.tangent_or_zeros()), [6.0]);
//! ```
//!
//! Operations of a network, against the rules of differentiation.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor, activation::sigmoid};
//! use pushforward::dual::{Dual, log_softmax, softmax_tangent};
//! use pushforward::tensor::{mask, to_host};
//!
//! let row = |row: [f32; 2]| Tensor::<2>::from_data([row], &Device::flex());
//! let close = |a: &Tensor<2>, b: &Tensor<2>| to_host(&(a.clone() - b.clone())).iter().all(|d| d.abs() < 1e-6);
//! let x = Dual::new(row([0.5, -1.0]), row([1.0, 2.0]));
//! let weights = Tensor::<2>::from_data([[2.0f32, 0.0], [1.0, 1.0]], &Device::flex());
//! let y = x.clone().matmul(weights.into());
//! assert_eq!((to_host(&y.value), to_host(&y.tangent_or_zeros())), (vec![0.0, -1.0], vec![4.0, 2.0]));
//!
//! // A function of your own is given with its derivative; the product rule gives that of `x sigmoid(x)`.
//! let slope = |x: Tensor<2>| sigmoid(x.clone()) * (sigmoid(x).neg() + 1.0);
//! let product = x.clone().elementwise(sigmoid, slope) * x.clone();
//! let silu = x.silu();
//! assert!(close(&silu.value, &product.value) && close(&silu.tangent_or_zeros(), &product.tangent_or_zeros()));
//!
//! let pi = y.clone().softmax();
//! assert!(close(&pi.value, &log_softmax(y.value.clone()).exp()));
//! assert!(close(&pi.tangent_or_zeros(), &softmax_tangent(pi.value.clone(), y.tangent_or_zeros())));
//! // Without its second class, the first has probability one, whatever the logits.
//! let alone = y.mask_fill(mask(&[false, true], [1, 2], &Device::flex()), -1e9).softmax();
//! assert!(close(&alone.value, &row([1.0, 0.0])) && close(&alone.tangent_or_zeros(), &row([0.0, 0.0])));
//! ```

use burn::tensor::{Bool, Int, Tensor, activation};

use crate::kernels::{self, Activation, ValueTangent};

/// A tensor and, optionally, its derivative along one direction.
#[derive(Clone, Debug)]
pub struct Dual<const D: usize> {
    /// The value.
    pub value: Tensor<D>,
    /// The derivative along the direction, of the value's shape; `None` stands for zero.
    pub tangent: Option<Tensor<D>>,
}

impl<const D: usize> From<Tensor<D>> for Dual<D> {
    fn from(value: Tensor<D>) -> Self {
        Self { value, tangent: None }
    }
}

impl<const D: usize> From<ValueTangent<D>> for Dual<D> {
    fn from((value, tangent): ValueTangent<D>) -> Self {
        Self { value, tangent }
    }
}

impl<const D: usize> From<Dual<D>> for ValueTangent<D> {
    fn from(x: Dual<D>) -> Self {
        (x.value, x.tangent)
    }
}

impl<const D: usize> Dual<D> {
    /// A value with a tangent.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn new(value: Tensor<D>, tangent: Tensor<D>) -> Self {
        let (v, t) = (value.dims(), tangent.dims());
        assert_eq!(v, t, "a tangent has the shape of its value: value {v:?}, tangent {t:?}");
        Self { value, tangent: Some(tangent) }
    }

    /// The same value without a tangent.
    pub fn constant(self) -> Self {
        self.value.into()
    }

    /// The shape of the value.
    pub fn dims(&self) -> [usize; D] {
        self.value.dims()
    }

    /// The tangent as a tensor, zeros where it is absent.
    pub fn tangent_or_zeros(&self) -> Tensor<D> {
        self.tangent.clone().unwrap_or_else(|| self.value.zeros_like())
    }

    /// Applies a linear map without offset, such as a reshape, a selection or a product with a constant. It acts on the
    /// tangent as on the value.
    pub fn linear<const E: usize>(self, f: impl Fn(Tensor<D>) -> Tensor<E>) -> Dual<E> {
        Dual { value: f(self.value), tangent: self.tangent.map(&f) }
    }

    /// Applies an elementwise function `f` with derivative `df`; `df` is only evaluated if there is a tangent.
    pub fn elementwise(
        self,
        f: impl FnOnce(Tensor<D>) -> Tensor<D>,
        df: impl FnOnce(Tensor<D>) -> Tensor<D>,
    ) -> Dual<D> {
        match self.tangent {
            None => f(self.value).into(),
            Some(t) => Dual { value: f(self.value.clone()), tangent: Some(df(self.value) * t) },
        }
    }

    /// Multiplies by a number.
    pub fn scale(self, factor: f64) -> Dual<D> {
        self.linear(|x| x * factor)
    }

    /// Adds a number.
    pub fn shift(self, offset: f64) -> Dual<D> {
        Dual { value: self.value + offset, tangent: self.tangent }
    }

    /// `x * sigmoid(x)`.
    pub fn silu(self) -> Dual<D> {
        if kernels::serve(&self.value) {
            return kernels::activate(self.into(), Activation::Silu).into();
        }
        self.elementwise(activation::silu, |x| {
            let s = activation::sigmoid(x.clone());
            s.clone() * (x * (s.neg() + 1.0) + 1.0)
        })
    }

    /// GELU in its tanh form, `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))` (Hendrycks and Gimpel 2016,
    /// arXiv:1606.08415).
    pub fn gelu(self) -> Dual<D> {
        if kernels::serve(&self.value) {
            return kernels::activate(self.into(), Activation::Gelu).into();
        }
        const TWO_C: f64 = 1.595_769_121_605_730_8; // 2 sqrt(2 / pi)
        const A: f64 = 0.044_715;
        // x/2 (1 + tanh(v/2)) = x sigmoid(v)
        let gate = |x: Tensor<D>| activation::sigmoid((x.clone() * x.clone() * A + 1.0) * x * TWO_C);
        self.elementwise(
            |x| gate(x.clone()) * x,
            |x| {
                let s = gate(x.clone());
                let slope = (x.clone() * x.clone() * (3.0 * A) + 1.0) * TWO_C;
                s.clone() + x * (s.clone().neg() + 1.0) * s * slope
            },
        )
    }

    /// `max(x, 0)`; its derivative at 0 is taken as 0.
    pub fn relu(self) -> Dual<D> {
        if kernels::serve(&self.value) {
            return kernels::activate(self.into(), Activation::Relu).into();
        }
        let tangent = self.tangent.map(|t| t.mask_fill(self.value.clone().lower_equal_scalar(0.0), 0.0));
        Dual { value: activation::relu(self.value), tangent }
    }

    /// Softmax along the last axis; `d pi = pi (dz - <pi, dz>)`.
    pub fn softmax(self) -> Dual<D> {
        if kernels::serve(&self.value) {
            return kernels::softmax(self.into()).into();
        }
        let value = activation::softmax(self.value, D - 1);
        let tangent = self.tangent.map(|t| softmax_tangent(value.clone(), t));
        Dual { value, tangent }
    }

    /// Log-softmax along the last axis; `d log pi = dz - <pi, dz>`.
    pub fn log_softmax(self) -> Dual<D> {
        if kernels::serve(&self.value) {
            return kernels::log_softmax(self.into()).into();
        }
        let value = activation::log_softmax(self.value, D - 1);
        let tangent = self.tangent.map(|t| {
            let mean = (value.clone().exp() * t.clone()).sum_dim(D - 1);
            t - mean
        });
        Dual { value, tangent }
    }

    /// Replaces the entries where `drop` is true by a constant, whose tangent is zero.
    pub fn mask_fill(self, drop: Tensor<D, Bool>, fill: f64) -> Dual<D> {
        Dual { value: self.value.mask_fill(drop.clone(), fill), tangent: self.tangent.map(|t| t.mask_fill(drop, 0.0)) }
    }

    /// Concatenates along an axis.
    pub fn cat(parts: Vec<Dual<D>>, axis: usize) -> Dual<D> {
        let tangent = parts
            .iter()
            .any(|p| p.tangent.is_some())
            .then(|| Tensor::cat(parts.iter().map(Dual::tangent_or_zeros).collect(), axis));
        Dual { value: Tensor::cat(parts.into_iter().map(|p| p.value).collect(), axis), tangent }
    }

    /// Matrix product over the last two axes.
    pub fn matmul(self, other: Dual<D>) -> Dual<D> {
        product(self, other, |a, b| a.matmul(b))
    }
}

/// [`Dual::softmax`] of a value.
pub fn softmax<const D: usize>(z: Tensor<D>) -> Tensor<D> {
    Dual::from(z).softmax().value
}

/// [`Dual::log_softmax`] of a value.
pub fn log_softmax<const D: usize>(z: Tensor<D>) -> Tensor<D> {
    Dual::from(z).log_softmax().value
}

/// `KL(q || softmax(z))` over the last axis, in nats, with `0 log 0 = 0`.
///
/// # Shapes
/// - `q`, `z`: `[batch, sites, classes]`
/// - output: `[batch, sites]`
pub fn divergence(q: Tensor<3>, z: Tensor<3>) -> Tensor<2> {
    if kernels::serve(&q) && kernels::serve(&z) {
        return kernels::divergence(q, z);
    }
    let cross: Tensor<2> = (q.clone() * log_softmax(z)).sum_dim(2).squeeze_dim(2);
    (entropy(q) + cross).neg()
}

/// Entropy `-sum q log q` over the last axis, in nats, with `0 log 0 = 0`.
///
/// # Shapes
/// - `q`: `[batch, sites, classes]`
/// - output: `[batch, sites]`
///
/// # Examples
/// The uniform distribution has the entropy `ln K`.
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::dual::entropy;
/// use pushforward::tensor::to_host;
///
/// let uniform = Tensor::<3>::full([1, 1, 4], 0.25, &Device::flex());
/// assert!((to_host(&entropy(uniform))[0] - 4f64.ln()).abs() < 1e-6);
/// ```
pub fn entropy(q: Tensor<3>) -> Tensor<2> {
    let terms = q.clone() * q.clamp_min(f64::from(kernels::LEAST)).log();
    terms.sum_dim(2).squeeze_dim::<2>(2).neg()
}

/// Cross-entropy `-log softmax(z)_c` to classes, in nats.
///
/// # Shapes
/// - `z`: `[batch, sites, classes]`
/// - `class`, output: `[batch, sites]`
///
/// # Examples
/// Equal logits give `ln K`.
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::dual::cross_entropy;
/// use pushforward::tensor::{indices, to_host};
///
/// let device = Device::flex();
/// let loss = cross_entropy(indices(&[2], [1, 1], &device), Tensor::zeros([1, 1, 5], &device));
/// assert!((to_host(&loss)[0] - 5f64.ln()).abs() < 1e-6);
/// ```
pub fn cross_entropy(class: Tensor<2, Int>, z: Tensor<3>) -> Tensor<2> {
    if kernels::serve(&z) {
        return kernels::cross_entropy(&class, z);
    }
    log_softmax(z).gather(2, class.unsqueeze_dim(2)).squeeze_dim::<2>(2).neg()
}

/// `pi (dz - <pi, dz>)` along the last axis: the tangent of a softmax with value `pi`.
pub fn softmax_tangent<const D: usize>(pi: Tensor<D>, dz: Tensor<D>) -> Tensor<D> {
    let mean = (pi.clone() * dz.clone()).sum_dim(D - 1);
    pi * (dz - mean)
}

/// A bilinear map of two duals by the product rule.
fn product<const D: usize>(a: Dual<D>, b: Dual<D>, f: impl Fn(Tensor<D>, Tensor<D>) -> Tensor<D>) -> Dual<D> {
    let left = a.tangent.map(|t| f(t, b.value.clone()));
    let right = b.tangent.map(|t| f(a.value.clone(), t));
    let tangent = match (left, right) {
        (Some(l), Some(r)) => Some(l + r),
        (l, r) => l.or(r),
    };
    Dual { value: f(a.value, b.value), tangent }
}

impl<const D: usize> std::ops::Add for Dual<D> {
    type Output = Dual<D>;
    /// The sum; shapes broadcast.
    fn add(self, other: Dual<D>) -> Dual<D> {
        let value = self.value + other.value;
        let tangent = match (self.tangent, other.tangent) {
            (Some(a), Some(b)) => Some(a + b),
            // A lone tangent may have to be broadcast to the shape of the sum.
            (a, b) => a.or(b).map(|t| if t.dims() == value.dims() { t } else { t.expand(value.shape()) }),
        };
        Dual { value, tangent }
    }
}

impl<const D: usize> std::ops::Mul for Dual<D> {
    type Output = Dual<D>;
    /// The elementwise product; shapes broadcast.
    fn mul(self, other: Dual<D>) -> Dual<D> {
        product(self, other, |a, b| a * b)
    }
}
