//! Guidance: a network pushed away from a weaker one.
//!
//! ```text
//! z = z_weak + w (z_strong - z_weak)
//! ```
//!
//! in logits, where this multiplies probabilities: `pi ~ pi_strong^w pi_weak^(1-w)`, site by site. On the diagonal that is the usual
//! guided prediction; off it the jump of the guided flow is approximated by the guided endpoints of the jump.
//!
//! - *Classifier-free* (Ho and Salimans 2022, arXiv:2207.12598): the weak prediction is the same network's with the condition hidden.
//! - *Autoguidance* (Karras et al. 2024, arXiv:2406.02507): it is a smaller or less trained network's under the same condition.

use crate::dual::Dual;
use crate::flow_map::backbone::{EndpointNet, Parametrisation};
use crate::flow_map::conditioning::Conditioning;
use crate::nn::Pass;

/// A network and what it is pushed away from.
#[derive(Debug)]
pub struct Guided<'a, N> {
    strong: &'a N,
    weak: Option<&'a N>,
    weight: f64,
}

impl<'a, N: EndpointNet> Guided<'a, N> {
    /// Guidance of weight `w`; against the same network with its condition hidden, where there is no weak one. Weight one is
    /// the strong network alone, at twice the cost.
    ///
    /// # Panics
    /// If the weight is not positive: what the strong network closes has to stay closed.
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
