//! Encoders and decoders: the networks of images, and those of flow maps.
//!
//! ```text
//! encoder    W net(x, 1, 1) + b          x: one-hot vectors, [sites, classes]; the outputs of all sites, flattened
//! decoder    net(W z + b, 0, 0)          W z: [sites, classes]
//! ```
//!
//! A network of a flow map is evaluated at one pair of times, which is a constant to it. Nodes that an item does not have are
//! masked in an encoder of graphs; a decoder does not know them, and its laws there count for nothing.
//!
//! # Examples
//! ```
//! use pushforward::aef::categorical::ItemNetworkConfig;
//! use pushforward::nn::SiteShape;
//!
//! let config: ItemNetworkConfig = toml::from_str("kind = 'dit'\nwidth = 16\nheads = 2\nblocks = 1")?;
//! assert!(config.check(&SiteShape::line(5, 3)).is_ok());
//! let config: ItemNetworkConfig = toml::from_str("kind = 'unet'")?;
//! assert!(config.check(&SiteShape::line(5, 3)).is_err());
//! # Ok::<(), toml::de::Error>(())
//! ```

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::aef::ImageShape;
use crate::aef::network::{
    BigDecoder, BigEncoder, ConvDecoder, ConvEncoder, DecoderNet, EncoderNet, ImageDecoder, ImageEncoder,
    ImageNetworkConfig, ImageNetworks as _, MlpConfig, MlpDecoder, MlpEncoder, SmallDecoder, SmallEncoder,
};
use crate::dual::Dual;
use crate::nn::count::linear;
use crate::nn::dilated::{Dilated, DilatedConfig};
use crate::nn::dit::{Dit, DitConfig};
use crate::nn::graph::GraphShape;
use crate::nn::graph_transformer::{GraphTransformer, GraphTransformerConfig};
use crate::nn::pair_transformer::{PairTransformer, PairTransformerConfig};
use crate::nn::unet::{Unet, UnetConfig};
use crate::nn::{Linear, LinearConfig, Pass, SiteShape};
use crate::rng::Stream;
use crate::setting::{SettingError, require};
use crate::tensor::vector;

/// Configuration of encoder and decoder, as in the table `model.network` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ItemNetworkConfig {
    /// Networks of images, whose `mlp` is for items of any kind.
    Image(ImageNetworkConfig),
    /// Networks of flow maps.
    Sites(SiteNetworkConfig),
}

/// A network of flow maps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SiteNetworkConfig {
    /// Transformer, on sites or patches of images.
    Dit(DitConfig),
    /// Dilated convolutions, for sequences.
    Dilated(DilatedConfig),
    /// Convolutional U-net, for images.
    Unet(UnetConfig),
    /// The published network for graphs.
    GraphTransformer(GraphTransformerConfig),
    /// A transformer on nodes and unordered pairs of nodes.
    PairTransformer(PairTransformerConfig),
}

impl<'de> Deserialize<'de> for ItemNetworkConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let table = BTreeMap::<String, toml::Value>::deserialize(deserializer)?;
        let kind = table.get("kind").and_then(toml::Value::as_str).unwrap_or_default();
        let of_images = matches!(kind, "small" | "big" | "mlp" | "conv");
        let table = toml::Value::Table(table.clone().into_iter().collect());
        let error = |e: toml::de::Error| {
            let more =
                if e.message().starts_with("unknown variant") { ", or `small`, `big`, `mlp`, `conv`" } else { "" };
            D::Error::custom(format!("{}{more}", e.message()))
        };
        if of_images {
            return table.try_into().map(Self::Image).map_err(error);
        }
        table.try_into().map(Self::Sites).map_err(error)
    }
}

impl Default for ItemNetworkConfig {
    fn default() -> Self {
        Self::Image(ImageNetworkConfig::Mlp(MlpConfig::default()))
    }
}

/// Items as images: a map per class, in rows of the grid, or in one row.
pub(super) fn shape(sites: &SiteShape) -> ImageShape {
    let [height, width] = sites.grid().unwrap_or([1, sites.count]);
    ImageShape { channels: sites.classes, height, width }
}

fn graph(sites: &SiteShape) -> Result<GraphShape, SettingError> {
    let large = sites.as_graph().filter(|graph| graph.nodes >= 2);
    large.ok_or_else(|| {
        SettingError::new("kind", "= pair-transformer and graph-transformer need graphs of 2 nodes or more")
    })
}

impl ItemNetworkConfig {
    /// Checks the settings against their ranges.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        match self {
            Self::Image(config) => config.validate(None),
            Self::Sites(SiteNetworkConfig::Dit(config)) => config.validate(),
            Self::Sites(SiteNetworkConfig::Dilated(config)) => config.validate(),
            Self::Sites(SiteNetworkConfig::Unet(config)) => config.validate(),
            Self::Sites(SiteNetworkConfig::GraphTransformer(config)) => config.validate(),
            Self::Sites(SiteNetworkConfig::PairTransformer(config)) => config.validate(),
        }
    }

    /// The same, and against the shape of an item.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn check(&self, sites: &SiteShape) -> Result<(), SettingError> {
        self.validate()?;
        let of_graphs =
            matches!(self, Self::Sites(SiteNetworkConfig::GraphTransformer(_) | SiteNetworkConfig::PairTransformer(_)));
        if let (Self::Sites(_), Some(_), false) = (self, sites.as_graph(), of_graphs) {
            require(false, "kind", "must be pair-transformer, graph-transformer or mlp for graphs")?;
        }
        match self {
            Self::Image(config) => config.validate(Some(shape(sites))),
            Self::Sites(SiteNetworkConfig::Dit(config)) => config.check(sites.clone()),
            Self::Sites(SiteNetworkConfig::Dilated(config)) => config.check(sites.clone()),
            Self::Sites(SiteNetworkConfig::Unet(config)) => config.check(sites.clone()),
            Self::Sites(SiteNetworkConfig::GraphTransformer(config)) => config.check(graph(sites)?),
            Self::Sites(SiteNetworkConfig::PairTransformer(config)) => config.check(graph(sites)?),
        }
    }

    fn between(&self, sites: &SiteShape) -> u128 {
        match self {
            Self::Image(_) => 0,
            Self::Sites(SiteNetworkConfig::Dit(config)) => config.parameters(sites.clone()),
            Self::Sites(SiteNetworkConfig::Dilated(config)) => config.parameters(sites.clone()),
            Self::Sites(SiteNetworkConfig::Unet(config)) => config.parameters(sites.clone()),
            Self::Sites(SiteNetworkConfig::GraphTransformer(config)) => {
                sites.as_graph().map_or(0, |graph| config.parameters(graph))
            }
            Self::Sites(SiteNetworkConfig::PairTransformer(config)) => {
                sites.as_graph().map_or(0, |graph| config.parameters(graph))
            }
        }
    }

    /// Number of parameters of an encoder.
    pub(super) fn encoder_parameters(&self, sites: &SiteShape, d: usize) -> u128 {
        match self {
            Self::Image(config) => config.encoder_parameters(shape(sites), d),
            Self::Sites(_) => self.between(sites) + linear(sites.count * sites.classes, d),
        }
    }

    /// Number of parameters of a decoder.
    pub(super) fn decoder_parameters(&self, sites: &SiteShape, d: usize) -> u128 {
        match self {
            Self::Image(config) => config.decoder_parameters(d, sites.classes, shape(sites)),
            Self::Sites(_) => self.between(sites) + linear(d, sites.count * sites.classes),
        }
    }

    /// Draws the weights of an encoder to `d` numbers.
    pub(super) fn encoder(&self, sites: &SiteShape, d: usize, device: &Device, stream: &mut Stream) -> ItemEncoder {
        match self {
            Self::Image(config) => config.encoder(shape(sites), d, device, stream).into(),
            Self::Sites(config) => ItemEncoder::Sites(SiteEncoder {
                net: config.init(sites, device, stream),
                output: LinearConfig::new(sites.count * sites.classes, d).init(device, stream),
                nodes: sites.as_graph().map(|graph| graph.nodes),
            }),
        }
    }

    /// Draws the weights of a decoder from `d` numbers.
    pub(super) fn decoder(&self, sites: &SiteShape, d: usize, device: &Device, stream: &mut Stream) -> ItemDecoder {
        match self {
            Self::Image(config) => config.decoder(d, sites.classes, shape(sites), device, stream).into(),
            Self::Sites(config) => ItemDecoder::Sites(SiteDecoder {
                input: LinearConfig::new(d, sites.count * sites.classes).init(device, stream),
                net: config.init(sites, device, stream),
                end: [sites.count, sites.classes],
                image: [shape(sites).height, shape(sites).width],
            }),
        }
    }
}

impl SiteNetworkConfig {
    fn init(&self, sites: &SiteShape, device: &Device, stream: &mut Stream) -> SiteNet {
        let graph = || sites.as_graph().expect("the configuration was checked");
        match self {
            Self::Dit(config) => SiteNet::Dit(config.init(sites.clone(), device, stream)),
            Self::Dilated(config) => SiteNet::Dilated(config.init(sites.clone(), device, stream)),
            Self::Unet(config) => SiteNet::Unet(config.init(sites.clone(), device, stream)),
            Self::GraphTransformer(config) => SiteNet::GraphTransformer(config.init(graph(), device, stream)),
            Self::PairTransformer(config) => SiteNet::PairTransformer(config.init(graph(), device, stream)),
        }
    }
}

/// Any network of flow maps but the perceptron.
#[derive(Module, Debug)]
pub enum SiteNet {
    /// See [`Dit`].
    Dit(Dit),
    /// See [`Dilated`].
    Dilated(Dilated),
    /// See [`Unet`].
    Unet(Unet),
    /// See [`GraphTransformer`].
    GraphTransformer(GraphTransformer),
    /// See [`PairTransformer`].
    PairTransformer(PairTransformer),
}

impl SiteNet {
    /// The network at one pair of times. Of graphs of so many `nodes`, those that are zero in `x` are absent; without the
    /// number all are there.
    fn forward(&self, x: Tensor<3>, time: f64, nodes: Option<usize>) -> Tensor<3> {
        let [batch, sites, _] = x.dims();
        let at = || Dual::from(vector(&vec![time; batch], &x));
        let (s, t, pass) = (at(), at(), &mut Pass::eval());
        let mask = nodes.map(|nodes| x.clone().sum_dim(2).reshape([batch, sites]).narrow(1, 0, nodes));
        let point = Dual::from(x.clone());
        match self {
            Self::Dit(net) => net.forward(point, s, t, None, pass),
            Self::Dilated(net) => net.forward(point, s, t, None, pass),
            Self::Unet(net) => net.forward(point, s, t, None, pass),
            Self::GraphTransformer(net) => net.forward(point, s, t, mask.as_ref(), None, pass),
            Self::PairTransformer(net) => net.forward(point, s, t, None, mask.as_ref(), pass),
        }
        .value
    }
}

/// An encoder of a network of flow maps.
#[derive(Module, Debug)]
pub struct SiteEncoder {
    /// The network.
    pub net: SiteNet,
    /// `[sites * classes, d]`
    pub output: Linear,
    #[module(skip)]
    nodes: Option<usize>,
}

impl EncoderNet for SiteEncoder {
    fn forward(&self, image: Tensor<4>) -> Tensor<2> {
        let [batch, classes, height, width] = image.dims();
        let x = image.reshape([batch, classes, height * width]).swap_dims(1, 2);
        let h = self.net.forward(x, 1.0, self.nodes).reshape([batch, height * width * classes]);
        self.output.forward(h.into()).value
    }
}

/// A decoder of a network of flow maps.
#[derive(Module, Debug)]
pub struct SiteDecoder {
    /// `[d, sites * classes]`
    pub input: Linear,
    /// The network.
    pub net: SiteNet,
    #[module(skip)]
    end: [usize; 2],
    #[module(skip)]
    image: [usize; 2],
}

impl DecoderNet for SiteDecoder {
    fn forward(&self, z: Tensor<2>) -> Tensor<4> {
        let ([batch, _], [sites, classes], [height, width]) = (z.dims(), self.end, self.image);
        let x = self.input.forward(z.into()).value.reshape([batch, sites, classes]);
        self.net.forward(x, 0.0, None).swap_dims(1, 2).reshape([batch, classes, height, width])
    }
}

/// Any of the built-in encoders.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "one value per model")]
pub enum ItemEncoder {
    /// See [`SmallEncoder`].
    Small(SmallEncoder),
    /// See [`BigEncoder`].
    Big(BigEncoder),
    /// See [`MlpEncoder`].
    Mlp(MlpEncoder),
    /// See [`ConvEncoder`].
    Conv(ConvEncoder),
    /// See [`SiteEncoder`].
    Sites(SiteEncoder),
}

impl From<ImageEncoder> for ItemEncoder {
    fn from(net: ImageEncoder) -> Self {
        match net {
            ImageEncoder::Small(net) => Self::Small(net),
            ImageEncoder::Big(net) => Self::Big(net),
            ImageEncoder::Mlp(net) => Self::Mlp(net),
            ImageEncoder::Conv(net) => Self::Conv(net),
        }
    }
}

impl EncoderNet for ItemEncoder {
    fn forward(&self, image: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Small(net) => net.forward(image),
            Self::Big(net) => net.forward(image),
            Self::Mlp(net) => net.forward(image),
            Self::Conv(net) => net.forward(image),
            Self::Sites(net) => net.forward(image),
        }
    }
}

/// Any of the built-in decoders.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "one value per model")]
pub enum ItemDecoder {
    /// See [`SmallDecoder`].
    Small(SmallDecoder),
    /// See [`BigDecoder`].
    Big(BigDecoder),
    /// See [`MlpDecoder`].
    Mlp(MlpDecoder),
    /// See [`ConvDecoder`].
    Conv(ConvDecoder),
    /// See [`SiteDecoder`].
    Sites(SiteDecoder),
}

impl From<ImageDecoder> for ItemDecoder {
    fn from(net: ImageDecoder) -> Self {
        match net {
            ImageDecoder::Small(net) => Self::Small(net),
            ImageDecoder::Big(net) => Self::Big(net),
            ImageDecoder::Mlp(net) => Self::Mlp(net),
            ImageDecoder::Conv(net) => Self::Conv(net),
        }
    }
}

impl DecoderNet for ItemDecoder {
    fn forward(&self, z: Tensor<2>) -> Tensor<4> {
        match self {
            Self::Small(net) => net.forward(z),
            Self::Big(net) => net.forward(z),
            Self::Mlp(net) => net.forward(z),
            Self::Conv(net) => net.forward(z),
            Self::Sites(net) => net.forward(z),
        }
    }
}
