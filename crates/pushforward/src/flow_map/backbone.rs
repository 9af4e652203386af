//! Networks: what a user brings, and what samplers ask of a model.
//!
//! A [`Backbone`] is a network of a point and two times. [`FlowMapModel`](crate::flow_map::model::FlowMapModel) makes a trainable model of
//! any: it adds labels, observed sites, masks and the evidence skip. What samplers, steering and likelihoods take is the [`EndpointNet`]
//! that such a model is, or anything else that answers with logits.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Int, Tensor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::dual::Dual;
use crate::flow_map::conditioning::Conditioning;
use crate::nn::{Pass, SiteShape};
use crate::rng::Stream;
use crate::setting::SettingError;
use crate::tensor::indices;

/// What the output of a network means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parametrisation {
    /// Logits of the endpoint on the simplex: `X = x + gamma (softmax(z) - x)`.
    #[default]
    Endpoint,
    /// An unconstrained mean velocity, the naive baseline: `X = x + (t-s) z`.
    Velocity,
}

/// A network of a point and two times, written on [`Dual`] so that it has a derivative along any direction.
///
/// # Examples
/// A linear network; what trains it is a [`FlowMapModel`](crate::flow_map::model::FlowMapModel) of it.
/// ```
/// use pushforward::burn::module::Module;
/// use pushforward::dual::Dual;
/// use pushforward::flow_map::backbone::{Backbone, Inputs};
/// use pushforward::nn::{Pass, linear::Linear};
///
/// #[derive(Module, Debug)]
/// struct OneLayer {
///     layer: Linear,
/// }
///
/// impl Backbone for OneLayer {
///     fn forward(&self, x: Dual<3>, s: Dual<1>, _t: Dual<1>, _: &Inputs<'_>, _: &mut Pass<'_>) -> Dual<3> {
///         let [batch, ..] = x.dims();
///         self.layer.forward(x * s.linear(|s| s.reshape([batch, 1, 1])))
///     }
/// }
/// ```
pub trait Backbone: Module + ModuleDisplay + Sync {
    /// Output of the network: logits of the endpoint, or velocities.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    /// - `s`, `t`: `[batch]`
    fn forward(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, inputs: &Inputs<'_>, pass: &mut Pass<'_>) -> Dual<3>;

    /// Width of the vector of a label that [`Inputs::label`] holds; `None` if the network cannot take labels.
    fn label_width(&self) -> Option<usize> {
        None
    }

    /// Whether the network takes [noise on the diagonal](Conditioning::diagonal_noise) of the edge matrix.
    fn takes_diagonal_noise(&self) -> bool {
        false
    }

    /// The network cut at a linear first and last layer, so that [samples of large
    /// vocabularies](crate::flow_map::sample::large_vocabulary) need not hold points; `None` if it has none, or that would not pay.
    fn factored(&self) -> Option<&dyn Factored> {
        None
    }
}

/// What a network sees beside the point and the times.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// Learned vectors of the items' labels, `[batch, label_width]`, to be added to the embedded times.
    pub label: Option<Tensor<2>>,
    /// Which nodes an item of graphs has, `[batch, nodes]`, one or zero.
    pub node_mask: Option<Tensor<2>>,
    /// Everything that is fixed about the items.
    pub conditioning: &'a Conditioning,
}

/// A network with a linear map at either end: `unembed(trunk(x W, s, t))`.
pub trait Factored {
    /// `x W`.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - output: `[batch, sites, width]`
    fn embed(&self, x: Tensor<3>) -> Tensor<3>;

    /// What the last layer sees.
    ///
    /// # Shapes
    /// - `embedded`, output: `[batch, sites, width]`
    /// - `s`, `t`: `[batch]`
    /// - `label`: `[batch, label_width]`
    fn trunk(&self, embedded: Tensor<3>, s: Tensor<1>, t: Tensor<1>, label: Option<Tensor<2>>) -> Tensor<3>;

    /// Logits of the endpoint.
    ///
    /// # Shapes
    /// - `features`: `[batch, sites, width]`
    /// - output: `[batch, sites, classes]`
    fn unembed(&self, features: Tensor<3>) -> Tensor<3>;
}

/// A configuration that makes a [`Backbone`]; what a recipe spells under `model.network`.
pub trait BackboneConfig: Clone + std::fmt::Debug + PartialEq + Serialize + DeserializeOwned {
    /// The network.
    type Network: Backbone;

    /// Checks the settings by themselves.
    ///
    /// # Errors
    /// The setting and what it may be.
    fn validate(&self) -> Result<(), SettingError> {
        Ok(())
    }

    /// Checks the settings, and that the network can compute on such sites, so that [`Self::init`] cannot panic.
    ///
    /// # Errors
    /// The setting and what it must be.
    fn check(&self, _sites: SiteShape) -> Result<(), SettingError> {
        self.validate()
    }

    /// Draws the weights.
    fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> Self::Network;

    /// Whether the network can take labels.
    fn takes_labels(&self) -> bool {
        false
    }
}

/// A function of a point and two times with one vector per site: all that samplers ask of a model.
pub trait EndpointNet {
    /// Logits of the endpoint (velocities, for the unconstrained baseline).
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    /// - `s`, `t`: `[batch]`
    fn logits(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, conditioning: &Conditioning, pass: &mut Pass<'_>) -> Dual<3>;

    /// What the output means.
    fn parametrisation(&self) -> Parametrisation {
        Parametrisation::Endpoint
    }

    /// Passes through a network that one call takes.
    fn passes(&self) -> u64 {
        1
    }

    /// See [`Backbone::factored`].
    fn factored(&self) -> Option<FactoredNet<'_>> {
        None
    }
}

/// A factored network with its labels and masks.
pub struct FactoredNet<'a> {
    backbone: &'a dyn Factored,
    labels: Option<Labels>,
}

impl<'a> FactoredNet<'a> {
    /// Puts a network and its labels together.
    pub fn new(backbone: &'a dyn Factored, labels: Option<Labels>) -> Self {
        Self { backbone, labels }
    }

    /// See [`Factored::embed`].
    pub fn embed(&self, x: Tensor<3>) -> Tensor<3> {
        self.backbone.embed(x)
    }

    /// See [`Factored::trunk`].
    pub fn trunk(&self, embedded: Tensor<3>, s: Tensor<1>, t: Tensor<1>, conditioning: &Conditioning) -> Tensor<3> {
        let label = self.labels.as_ref().map(|labels| labels.select(embedded.dims()[0], conditioning.labels.as_ref()));
        self.backbone.trunk(embedded, s, t, label)
    }

    /// See [`Factored::unembed`]; masked.
    pub fn unembed(&self, features: Tensor<3>, conditioning: &Conditioning) -> Tensor<3> {
        conditioning.mask_logits(self.backbone.unembed(features))
    }
}

/// Learned vectors of labels, `[labels + 1, width]`, the last row for a hidden label.
#[derive(Clone, Debug)]
pub struct Labels(pub Tensor<2>);

impl Labels {
    /// The vectors of the labels of a batch; those of hidden labels where there are none.
    ///
    /// # Shapes
    /// - `labels`: `[batch]`
    /// - output: `[batch, width]`
    pub fn select(&self, batch: usize, labels: Option<&Tensor<1, Int>>) -> Tensor<2> {
        let [rows, _] = self.0.dims();
        let hidden = || indices(&vec![rows as u32 - 1; batch], [batch], &self.0.device());
        self.0.clone().select(0, labels.cloned().unwrap_or_else(hidden))
    }
}
