//! Whether a model can be of the data it is given.

use crate::aef::ImageShape;
use crate::data::{Layout, Schema};
use crate::flow_map::backbone::BackboneConfig;
use crate::nn::graph::GraphShape;
use crate::nn::{Arrangement, SiteShape};
use crate::run::recipe::ModelConfig;
use crate::setting::SettingError;

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
pub fn image_shape(schema: &Schema) -> Result<ImageShape, SettingError> {
    match schema.layout {
        Layout::Image { height, width } if height * width > 0 && schema.sites.is_multiple_of(height * width) => {
            Ok(ImageShape { channels: schema.sites / (height * width), height, width })
        }
        _ => Err(SettingError::new("model.family", "= aef: an autoencoder needs a set of images")),
    }
}

/// Checks that a model can be of data of a given description, so that making it cannot panic.
///
/// # Errors
/// The key and what it must be.
pub fn check<C: BackboneConfig>(model: &ModelConfig<C>, schema: &Schema) -> Result<(), SettingError> {
    let sites = site_shape(schema);
    match model {
        ModelConfig::FlowMap(config) => config.check(sites).map_err(|e| e.within("model")),
        ModelConfig::Aef(config) => config.check(image_shape(schema)?),
        ModelConfig::Classifier(_) if sites.grid().is_some() => Ok(()),
        ModelConfig::Classifier(_) => {
            Err(SettingError::new("model.family", "= classifier: a classifier needs a set of labelled images"))
        }
    }
}
