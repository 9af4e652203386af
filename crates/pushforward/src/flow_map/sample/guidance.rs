//! Guidance: extrapolates from a weaker prediction through a stronger one.
//!
//! ```text
//! z = z_weak + w (z_strong - z_weak)
//! ```
//!
//! in logits, which for probabilities is `pi ~ pi_strong^w pi_weak^(1-w)`, site by site. On the diagonal this is the
//! usual guided prediction. Off the diagonal, the jump of the guided flow is approximated by guiding the endpoint of
//! the jump.
//!
//! - *Classifier-free* (Ho and Salimans 2022, arXiv:2207.12598): the weak prediction is that of the same network
//!   without labels and observed sites.
//! - *Autoguidance* (Karras et al. 2024, arXiv:2406.02507): the weak prediction is that of a smaller or less trained
//!   network with the same conditioning.
//!
//! # Examples
//! Logits of a strong and a weak network, 1 and 0: guidance of weight 3 gives 3.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::dual::Dual;
//! use pushforward::flow_map::backbone::EndpointNet;
//! use pushforward::flow_map::{conditioning::Conditioning, map::FlowMap, sample::guidance::Guided};
//! use pushforward::nn::Pass;
//! use pushforward::tensor::to_host;
//!
//! struct Logit(f64);
//! impl EndpointNet for Logit {
//!     fn logits(&self, x: Dual<3>, _: Dual<1>, _: Dual<1>, _: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
//!         x.scale(0.0).shift(self.0)
//!     }
//! }
//! let (strong, weak) = (Logit(1.0), Logit(0.0));
//! let guided = Guided::new(&strong, Some(&weak), 3.0);
//! let map = FlowMap::new(&guided);
//! let x = Tensor::<3>::ones([1, 1, 2], &Device::flex());
//! assert_eq!(to_host(&map.output(&x, &[0.0], &[1.0])), [3.0, 3.0]);
//! assert_eq!(map.evaluations(), 2);
//! ```

use crate::dual::Dual;
use crate::flow_map::backbone::{EndpointNet, Parametrisation};
use crate::flow_map::conditioning::Conditioning;
use crate::nn::Pass;

/// A network with guidance.
#[derive(Debug)]
pub struct Guided<'a, N> {
    strong: &'a N,
    weak: Option<&'a N>,
    weight: f64,
}

impl<'a, N: EndpointNet> Guided<'a, N> {
    /// Guidance of weight `w`: autoguidance with the given weak network, classifier-free guidance if `weak` is `None`.
    /// Weight one gives the predictions of the strong network, at twice the cost.
    ///
    /// # Panics
    /// If the weight is not positive: classes that the strong network masks would not stay masked.
    pub fn new(strong: &'a N, weak: Option<&'a N>, weight: f64) -> Self {
        assert!(weight > 0.0, "the weight of guidance is positive, found {weight}");
        Self { strong, weak, weight }
    }
}

impl<N: EndpointNet> EndpointNet for Guided<'_, N> {
    fn logits(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, conditioning: &Conditioning, pass: &mut Pass<'_>) -> Dual<3> {
        let strong = self.strong.logits(x.clone(), s.clone(), t.clone(), conditioning, pass);
        let weak = match self.weak {
            Some(weak) => weak.logits(x, s, t, conditioning, pass),
            None => self.strong.logits(x, s, t, &conditioning.unconditional(), pass),
        };
        strong.scale(self.weight) + weak.scale(1.0 - self.weight)
    }

    fn parametrisation(&self) -> Parametrisation {
        self.strong.parametrisation()
    }

    fn passes(&self) -> u64 {
        self.strong.passes() + self.weak.unwrap_or(self.strong).passes()
    }
}
