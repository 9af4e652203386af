//! The built-in networks as one type: the table `model.network` of a recipe.
//!
//! # Examples
//! The settings name what does not fit the data.
//! ```
//! use pushforward::flow_map::backbone::BackboneConfig;
//! use pushforward::flow_map::network::NetworkConfig;
//! use pushforward::nn::{SiteShape, dit::DitConfig, unet::UnetConfig};
//!
//! let text = SiteShape::line(16, 27);
//! assert!(NetworkConfig::Dit(DitConfig::default()).check(text.clone()).is_ok());
//! let error = NetworkConfig::Unet(UnetConfig::default()).check(text).unwrap_err();
//! assert_eq!(error.to_string(), "kind = unet needs images: use dit or mlp");
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::dual::Dual;
use crate::flow_map::backbone::{Backbone, BackboneConfig, Factored, Inputs};
use crate::nn::count::Kept as _;
use crate::nn::dilated::{Dilated, DilatedConfig};
use crate::nn::dit::{Dit, DitConfig};
use crate::nn::graph::GraphShape;
use crate::nn::graph_transformer::{GraphTransformer, GraphTransformerConfig};
use crate::nn::mlp::{Mlp, MlpConfig};
use crate::nn::pair_transformer::{PairTransformer, PairTransformerConfig};
use crate::nn::unet::{Unet, UnetConfig};
use crate::nn::{Pass, SiteShape};
use crate::rng::Stream;
use crate::setting::{SettingError, require};

/// Choice of network with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum NetworkConfig {
    /// Diffusion transformer.
    Dit(DitConfig),
    /// Dilated convolutions, for sequences.
    Dilated(DilatedConfig),
    /// Convolutional U-net, for images.
    Unet(UnetConfig),
    /// Multilayer perceptron, for small problems.
    Mlp(MlpConfig),
    /// The published network for graphs, on edge matrices.
    GraphTransformer(GraphTransformerConfig),
    /// A transformer on nodes and unordered pairs of nodes, for graphs.
    PairTransformer(PairTransformerConfig),
}

/// A built-in network.
#[derive(Module, Debug)]
pub enum Network {
    /// Diffusion transformer.
    Dit(Dit),
    /// Dilated convolutions.
    Dilated(Dilated),
    /// Convolutional U-net.
    Unet(Unet),
    /// Multilayer perceptron.
    Mlp(Mlp),
    /// The published network for graphs, on edge matrices.
    GraphTransformer(GraphTransformer),
    /// A transformer on nodes and unordered pairs of nodes.
    PairTransformer(PairTransformer),
}

impl BackboneConfig for NetworkConfig {
    type Network = Network;

    fn validate(&self) -> Result<(), SettingError> {
        match self {
            Self::Dit(config) => config.validate(),
            Self::Dilated(config) => config.validate(),
            Self::Unet(config) => config.validate(),
            Self::Mlp(config) => config.validate(),
            Self::GraphTransformer(config) => config.validate(),
            Self::PairTransformer(config) => config.validate(),
        }
    }

    fn check(&self, sites: SiteShape) -> Result<(), SettingError> {
        if sites.as_graph().is_some() && matches!(self, Self::Dit(_) | Self::Dilated(_) | Self::Unet(_)) {
            let problem = "must be pair-transformer or graph-transformer for graphs, or mlp if the order of nodes is part of the data";
            return Err(SettingError::new("kind", problem));
        }
        match self {
            Self::Dit(config) => config.check(sites),
            Self::Dilated(config) => config.check(sites),
            Self::Unet(config) => config.check(sites),
            Self::Mlp(config) => {
                config.validate()?;
                let even = (0..sites.count).all(|site| sites.classes_of(site) == sites.classes);
                require(even || !config.centred, "centred", "is for data whose sites have equally many classes")?;
                check_graph_size(sites)
            }
            Self::GraphTransformer(config) => config.check(as_graph(sites)?),
            Self::PairTransformer(config) => config.check(as_graph(sites)?),
        }
    }

    /// # Panics
    /// If the network does not support this shape of data; see [`BackboneConfig::check`].
    fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> Network {
        match self {
            Self::GraphTransformer(config) => Network::GraphTransformer(config.init(graph(sites), device, stream)),
            Self::PairTransformer(config) => Network::PairTransformer(config.init(graph(sites), device, stream)),
            Self::Dit(config) => Network::Dit(config.init(sites, device, stream)),
            Self::Dilated(config) => Network::Dilated(config.init(sites, device, stream)),
            Self::Unet(config) => Network::Unet(config.init(sites, device, stream)),
            Self::Mlp(config) => Network::Mlp(config.init(sites, device, stream)),
        }
    }

    fn takes_labels(&self) -> bool {
        !matches!(self, Self::GraphTransformer(_))
    }

    fn parameters(&self, sites: SiteShape) -> Option<u128> {
        match self {
            Self::Dit(config) => Some(config.parameters(sites)),
            Self::Dilated(config) => Some(config.parameters(sites)),
            Self::Unet(config) => Some(config.parameters(sites)),
            Self::Mlp(config) => Some(config.parameters(sites)),
            Self::GraphTransformer(config) => sites.as_graph().map(|graph| config.parameters(graph)),
            Self::PairTransformer(config) => sites.as_graph().map(|graph| config.parameters(graph)),
        }
    }

    fn label_width(&self) -> Option<usize> {
        match self {
            Self::Dit(config) => Some(config.cond),
            Self::Dilated(config) => Some(config.cond),
            Self::Unet(config) => Some(config.cond()),
            Self::Mlp(config) => Some(config.width),
            Self::GraphTransformer(_) => None,
            Self::PairTransformer(config) => Some(config.cond),
        }
    }

    fn kept(&self, sites: SiteShape) -> u128 {
        match self {
            Self::Dit(config) => config.kept(sites),
            Self::Dilated(config) => config.kept(sites),
            Self::Unet(config) => config.kept(sites),
            Self::Mlp(config) => config.kept(sites),
            Self::GraphTransformer(config) => config.kept(sites),
            Self::PairTransformer(config) => config.kept(sites),
        }
    }
}

fn check_graph_size(sites: SiteShape) -> Result<(), SettingError> {
    let large = sites.as_graph().is_none_or(|graph| graph.nodes >= 2);
    require(large, "kind", "needs graphs of at least 2 nodes")
}

fn as_graph(sites: SiteShape) -> Result<GraphShape, SettingError> {
    check_graph_size(sites.clone())?;
    sites
        .as_graph()
        .ok_or_else(|| SettingError::new("kind", "= pair-transformer and graph-transformer need a set of graphs"))
}

fn graph(sites: SiteShape) -> GraphShape {
    sites.as_graph().unwrap_or_else(|| panic!("a graph network needs a graph: {sites:?}"))
}

impl Backbone for Network {
    fn forward(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, inputs: &Inputs<'_>, pass: &mut Pass<'_>) -> Dual<3> {
        match self {
            Self::Dit(net) => Backbone::forward(net, x, s, t, inputs, pass),
            Self::Dilated(net) => Backbone::forward(net, x, s, t, inputs, pass),
            Self::Unet(net) => Backbone::forward(net, x, s, t, inputs, pass),
            Self::Mlp(net) => Backbone::forward(net, x, s, t, inputs, pass),
            Self::GraphTransformer(net) => Backbone::forward(net, x, s, t, inputs, pass),
            Self::PairTransformer(net) => Backbone::forward(net, x, s, t, inputs, pass),
        }
    }

    fn label_width(&self) -> Option<usize> {
        match self {
            Self::Dit(net) => net.label_width(),
            Self::Dilated(net) => net.label_width(),
            Self::Unet(net) => net.label_width(),
            Self::Mlp(net) => net.label_width(),
            Self::GraphTransformer(net) => net.label_width(),
            Self::PairTransformer(net) => net.label_width(),
        }
    }

    fn takes_diagonal_noise(&self) -> bool {
        matches!(self, Self::GraphTransformer(_))
    }

    fn factored(&self) -> Option<&dyn Factored> {
        if let Self::Dit(net) = self { net.factored() } else { None }
    }
}

impl Backbone for Dit {
    /// Sites that an item does not have are zero, which noise never is: they tell the network the length of a record.
    fn forward(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, inputs: &Inputs<'_>, pass: &mut Pass<'_>) -> Dual<3> {
        self.forward(present(x, inputs), s, t, inputs.label.clone(), pass)
    }

    fn label_width(&self) -> Option<usize> {
        Some(self.time.width())
    }

    /// Only if there are more classes than features, so that it saves memory, and if every token is one site.
    fn factored(&self) -> Option<&dyn Factored> {
        let [token, width] = self.input.projection.weight.dims();
        (self.patch() == 1 && token > width).then_some(self)
    }
}

/// A point with zeros at the sites that an item does not have: jumps change them.
fn present(x: Dual<3>, inputs: &Inputs<'_>) -> Dual<3> {
    if inputs.conditioning.site_mask.is_none() { x } else { x.linear(|x| inputs.conditioning.mask(x)) }
}

impl Factored for Dit {
    fn embed(&self, x: Tensor<3>) -> Tensor<3> {
        self.embed(x)
    }

    fn trunk(&self, embedded: Tensor<3>, s: Tensor<1>, t: Tensor<1>, label: Option<Tensor<2>>) -> Tensor<3> {
        self.trunk_of(embedded, s, t, label)
    }

    fn unembed(&self, features: Tensor<3>) -> Tensor<3> {
        self.unembed(features)
    }
}

impl Backbone for Dilated {
    fn forward(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, inputs: &Inputs<'_>, pass: &mut Pass<'_>) -> Dual<3> {
        self.forward(present(x, inputs), s, t, inputs.label.clone(), pass)
    }

    fn label_width(&self) -> Option<usize> {
        Some(self.time.width())
    }
}

impl Backbone for Unet {
    fn forward(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, inputs: &Inputs<'_>, pass: &mut Pass<'_>) -> Dual<3> {
        self.forward(x, s, t, inputs.label.clone(), pass)
    }

    fn label_width(&self) -> Option<usize> {
        Some(self.time.width())
    }
}

impl Backbone for Mlp {
    /// The first layer reads all sites, so entries that an item does not have are zeroed first: jumps change them.
    fn forward(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, inputs: &Inputs<'_>, _: &mut Pass<'_>) -> Dual<3> {
        self.forward(x.linear(|x| inputs.conditioning.mask(x)), s, t, inputs.label.clone())
    }

    fn label_width(&self) -> Option<usize> {
        Some(self.time.width())
    }
}

impl Backbone for GraphTransformer {
    fn forward(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, inputs: &Inputs<'_>, pass: &mut Pass<'_>) -> Dual<3> {
        let diagonal_noise = inputs.conditioning.diagonal_noise.as_ref();
        self.forward(x, s, t, inputs.node_mask.as_ref(), diagonal_noise, pass)
    }

    fn takes_diagonal_noise(&self) -> bool {
        true
    }
}

impl Backbone for PairTransformer {
    fn forward(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, inputs: &Inputs<'_>, pass: &mut Pass<'_>) -> Dual<3> {
        self.forward(x, s, t, inputs.label.clone(), inputs.node_mask.as_ref(), pass)
    }

    fn label_width(&self) -> Option<usize> {
        Some(self.time.width())
    }
}
