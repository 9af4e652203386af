//! Interfaces of networks: [`Backbone`] for training, [`EndpointNet`] for sampling.
//!
//! A [`Backbone`] is a network that takes a point and two times.
//! [`FlowMapModel`](crate::flow_map::model::FlowMapModel) wraps a backbone into a trainable model: it adds labels,
//! observed sites, masks and the evidence skip. Samplers, steering and the likelihood bound take an [`EndpointNet`];
//! `FlowMapModel` implements it, and so can any other function that returns logits.
//!
//! # Examples
//! A flow map without a network or training: its logits are constant, so every item ends in class 1.
//! ```
//! use pushforward::burn::tensor::Device;
//! use pushforward::dual::Dual;
//! use pushforward::flow_map::backbone::EndpointNet;
//! use pushforward::flow_map::conditioning::Conditioning;
//! use pushforward::flow_map::sample::{Generator, SampleRequest, sample};
//! use pushforward::nn::{Pass, SiteShape};
//! use pushforward::tensor::from_host;
//!
//! struct Constant;
//! impl EndpointNet for Constant {
//!     fn logits(&self, x: Dual<3>, _: Dual<1>, _: Dual<1>, _: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
//!         let z = from_host(&[0.0, 5.0, 0.0], [1, 1, 3], &x.value).expand(x.dims());
//!         z.into()
//!     }
//! }
//! let device = Device::flex();
//! let generator = Generator::new(&Constant, SiteShape::line(2, 3), &device);
//! assert_eq!(sample(&generator, &SampleRequest::map(2, 1, 0), &mut |_| true).ids, [1, 1, 1, 1]);
//! ```

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

/// Meaning of the output of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parametrisation {
    /// Logits of the endpoint on the simplex: `X = x + gamma (softmax(z) - x)`.
    #[default]
    Endpoint,
    /// An unconstrained mean velocity, the naive baseline: `X = x + (t-s) z`.
    Velocity,
}

/// A network that takes a point and two times, written on [`Dual`] so that it has a derivative along any direction.
///
/// # Examples
/// A linear network, wrapped into a trainable [`FlowMapModel`](crate::flow_map::model::FlowMapModel).
/// ```
/// use pushforward::burn::{module::Module, tensor::Device};
/// use pushforward::dual::Dual;
/// use pushforward::flow_map::backbone::{Backbone, Inputs};
/// use pushforward::flow_map::model::FlowMapModel;
/// use pushforward::nn::{Linear, LinearConfig, Pass, SiteShape};
/// use pushforward::rng::{Purpose, stream};
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
///
/// let layer = LinearConfig::new(3, 3).init(&Device::flex(), &mut stream(0, Purpose::Init, 0));
/// let model = FlowMapModel::new(OneLayer { layer }, SiteShape::line(2, 3));
/// assert_eq!(model.num_params(), 3 * 3 + 3);
/// ```
pub trait Backbone: Module + ModuleDisplay + Sync {
    /// The output of the network: logits of the endpoint, or velocities.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    /// - `s`, `t`: `[batch]`
    fn forward(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, inputs: &Inputs<'_>, pass: &mut Pass<'_>) -> Dual<3>;

    /// Width of the label embedding in [`Inputs::label`]; `None` if the network cannot take labels.
    fn label_width(&self) -> Option<usize> {
        None
    }

    /// Whether the network takes [noise on the diagonal](Conditioning::diagonal_noise) of the edge matrix.
    fn takes_diagonal_noise(&self) -> bool {
        false
    }

    /// The network split at its linear first and last layers, so that [sampling with large
    /// vocabularies](crate::flow_map::sample::large_vocabulary) need not store points; `None` if the network has no
    /// such layers, or if this would not save memory.
    fn factored(&self) -> Option<&dyn Factored> {
        None
    }
}

/// Inputs of a network besides the point and the times.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// Learned embeddings of the items' labels, `[batch, label_width]`, to be added to the embedded times.
    pub label: Option<Tensor<2>>,
    /// For graphs, one for each node that the item has and zero for padding, `[batch, nodes]`.
    pub node_mask: Option<Tensor<2>>,
    /// Masks, labels, observed sites and constraints of the items.
    pub conditioning: &'a Conditioning,
}

/// A network with a linear first and last layer: `unembed(trunk(x W, s, t))`.
pub trait Factored {
    /// The linear part of the first layer, `x W`.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - output: `[batch, sites, width]`
    fn embed(&self, x: Tensor<3>) -> Tensor<3>;

    /// The input of the last layer.
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

/// Configuration of a [`Backbone`]: the table `model.network` of a recipe.
pub trait BackboneConfig: Clone + std::fmt::Debug + PartialEq + Serialize + DeserializeOwned {
    /// The network.
    type Network: Backbone;

    /// Checks the settings on their own, without the shape of the data.
    ///
    /// # Errors
    /// Names the setting and its allowed values.
    fn validate(&self) -> Result<(), SettingError> {
        Ok(())
    }

    /// Checks the settings, and that the network supports this shape of data; [`Self::init`] does not panic afterwards.
    ///
    /// # Errors
    /// Names the setting and its allowed values.
    fn check(&self, _sites: SiteShape) -> Result<(), SettingError> {
        self.validate()
    }

    /// Makes the network with random initial weights.
    fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> Self::Network;

    /// Whether the network can take labels.
    fn takes_labels(&self) -> bool {
        false
    }

    /// Number of parameters, counted before the network is made; `None` if it is not known.
    fn parameters(&self, _sites: SiteShape) -> Option<u128> {
        None
    }

    /// Width of the embeddings of labels that the network takes, if it is known before the network is made.
    fn label_width(&self) -> Option<usize> {
        None
    }

    /// Numbers that one item keeps in memory until the gradient is taken, at least; 0 if it is not known.
    fn kept(&self, _sites: SiteShape) -> u128 {
        0
    }
}

/// A function from a point and two times to one vector per site: the interface that samplers need of a model.
pub trait EndpointNet: Sync {
    /// Logits of the endpoint (velocities, for the unconstrained baseline).
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    /// - `s`, `t`: `[batch]`
    fn logits(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, conditioning: &Conditioning, pass: &mut Pass<'_>) -> Dual<3>;

    /// Meaning of the output.
    fn parametrisation(&self) -> Parametrisation {
        Parametrisation::Endpoint
    }

    /// Number of network evaluations (NFE) of one call.
    fn passes(&self) -> u64 {
        1
    }

    /// See [`Backbone::factored`].
    fn factored(&self) -> Option<FactoredNet<'_>> {
        None
    }
}

/// A factored network with its label embeddings; applies the masks of the conditioning.
pub struct FactoredNet<'a> {
    backbone: &'a dyn Factored,
    labels: Option<Labels>,
}

impl<'a> FactoredNet<'a> {
    /// Combines a network with its label embeddings.
    pub fn new(backbone: &'a dyn Factored, labels: Option<Labels>) -> Self {
        Self { backbone, labels }
    }

    /// See [`Factored::embed`].
    pub(super) fn embed(&self, x: Tensor<3>) -> Tensor<3> {
        self.backbone.embed(x)
    }

    /// See [`Factored::trunk`].
    pub(super) fn trunk(
        &self,
        embedded: Tensor<3>,
        s: Tensor<1>,
        t: Tensor<1>,
        conditioning: &Conditioning,
    ) -> Tensor<3> {
        let label = self.labels.as_ref().map(|labels| labels.select(embedded.dims()[0], conditioning.labels.as_ref()));
        self.backbone.trunk(embedded, s, t, label)
    }

    /// See [`Factored::unembed`]; logits of classes that are not allowed are masked.
    pub(super) fn unembed(&self, features: Tensor<3>, conditioning: &Conditioning) -> Tensor<3> {
        conditioning.mask_logits(self.backbone.unembed(features))
    }
}

/// Learned label embeddings, `[labels + 1, width]`; the last row stands for a hidden label.
#[derive(Clone, Debug)]
pub struct Labels(pub Tensor<2>);

impl Labels {
    /// Embeddings of the labels of a batch; those of hidden labels if `labels` is `None`.
    ///
    /// # Shapes
    /// - `labels`: `[batch]`
    /// - output: `[batch, width]`
    pub(super) fn select(&self, batch: usize, labels: Option<&Tensor<1, Int>>) -> Tensor<2> {
        let [rows, _] = self.0.dims();
        let hidden = || indices(&vec![rows as u32 - 1; batch], [batch], &self.0.device());
        self.0.clone().select(0, labels.cloned().unwrap_or_else(hidden))
    }
}
