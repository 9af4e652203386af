//! Whether a model and a description of data go together.

use crate::aef::ImageShape;
use crate::data::{Layout, Schema};
use crate::flow_map::config::{Condition, FlowMapConfig};
use crate::flow_map::network::NetworkConfig;
use crate::nn::graph::GraphShape;
use crate::nn::{Arrangement, SiteShape};
use crate::run::recipe::ModelConfig;

/// What networks compute on, for data of a given description.
pub fn site_shape(schema: &Schema) -> SiteShape {
    let arrangement = match &schema.layout {
        Layout::Image { height, width } => Arrangement::Grid([*height, *width]),
        Layout::Text { .. } | Layout::Table => Arrangement::Line,
        Layout::Graph(graph) => Arrangement::Graph(GraphShape {
            nodes: graph.nodes,
            node_classes: graph.node_classes.len(),
            edge_classes: graph.edge_classes,
        }),
    };
    SiteShape { count: schema.sites, classes: schema.classes, arrangement }
}

/// What the pixels of an image set look like to a model of continuous images: a schema of 256 levels.
pub fn image_schema([channels, height, width]: [usize; 3]) -> Schema {
    Schema { sites: channels * height * width, classes: 256, layout: Layout::Image { height, width } }
}

/// The shape of the images that a schema describes.
///
/// # Errors
/// If it describes no images.
pub fn image_shape(schema: &Schema) -> Result<ImageShape, String> {
    match schema.layout {
        Layout::Image { height, width } if height * width > 0 && schema.sites.is_multiple_of(height * width) => {
            Ok(ImageShape { channels: schema.sites / (height * width), height, width })
        }
        _ => Err("an autoencoder needs a set of images".into()),
    }
}

/// Checks that a network can compute on data of a given description, so that building it cannot panic.
///
/// # Errors
/// The key and what it must be.
pub fn check_compatibility(model: &ModelConfig, schema: &Schema) -> Result<(), String> {
    let sites = site_shape(schema);
    let network = match model {
        ModelConfig::FlowMap(config) => &config.network,
        ModelConfig::Aef(config) => return config.check_compatibility(image_shape(schema)?),
        ModelConfig::Classifier(_) if sites.grid().is_some() => return Ok(()),
        ModelConfig::Classifier(_) => return Err("a classifier needs a set of labelled images".into()),
    };
    if let ModelConfig::FlowMap(FlowMapConfig { condition: Condition::Prefix { .. }, .. }) = model
        && (sites.as_graph().is_some() || sites.count < 2)
    {
        return Err("model.condition.kind = prefix is for text, tables and images of several sites".into());
    }
    let for_graphs = matches!(network, NetworkConfig::GraphTransformer(_) | NetworkConfig::PairTransformer(_));
    match sites.as_graph() {
        Some(_) if !for_graphs && !matches!(network, NetworkConfig::Mlp(_)) => {
            return Err(
                "graphs need model.network.kind = pair-transformer or graph-transformer, or mlp, to which the order \
                        of nodes is part of a graph"
                    .into(),
            );
        }
        Some(graph) if graph.nodes < 2 => return Err("a graph network needs graphs of at least 2 nodes".into()),
        None if for_graphs => {
            return Err("model.network.kind = pair-transformer and graph-transformer need a set of graphs".into());
        }
        _ => {}
    }
    match (network, sites.grid()) {
        (NetworkConfig::Dit(dit), None) if dit.patch != 1 => {
            Err(format!("model.network.patch must be 1 for data that are no images, found {}", dit.patch))
        }
        (NetworkConfig::Dit(dit), Some([h, w]))
            if dit.patch == 0 || !h.is_multiple_of(dit.patch) || !w.is_multiple_of(dit.patch) =>
        {
            Err(format!("model.network.patch must divide the image of {h} x {w} pixels, found {}", dit.patch))
        }
        (NetworkConfig::Dit(dit), Some(_)) if !(dit.width / dit.heads.max(1)).is_multiple_of(4) => Err(format!(
            "model.network.width / heads must be a multiple of 4 for images, found {} / {}",
            dit.width, dit.heads
        )),
        (NetworkConfig::Unet(_), None) => Err("model.network.kind = unet needs images: use dit or mlp".into()),
        (NetworkConfig::Unet(unet), Some([h, w])) => {
            let factor = 1usize << unet.multipliers.len().saturating_sub(1).min(20);
            let groups_fit = unet.groups > 0
                && unet.multipliers.iter().all(|m| *m > 0 && (m * unet.channels).is_multiple_of(unet.groups));
            if unet.multipliers.is_empty() || !h.is_multiple_of(factor) || !w.is_multiple_of(factor) {
                Err(format!(
                    "model.network.multipliers halve the image of {h} x {w} pixels too often, found {:?}",
                    unet.multipliers
                ))
            } else if !groups_fit {
                Err(format!("model.network.groups must divide every channel count, found {}", unet.groups))
            } else {
                Ok(())
            }
        }
        _ => Ok(()),
    }
}
