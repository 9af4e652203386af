//! Compatibility of a model configuration with a data set.

use crate::aef::ImageShape;
use crate::data::{Layout, Schema};
use crate::flow_map::backbone::BackboneConfig;
use crate::nn::graph::GraphShape;
use crate::nn::{Arrangement, SiteShape};
use crate::run::recipe::ModelConfig;
use crate::setting::{SettingError, require};

/// Shape of a network's input for data of this schema.
///
/// # Examples
/// ```
/// use pushforward::run::{image_schema, site_shape};
/// let sites = site_shape(&image_schema([1, 28, 28]));
/// assert_eq!((sites.count, sites.classes, sites.grid()), (784, 256, Some([28, 28])));
/// ```
pub fn site_shape(schema: &Schema) -> SiteShape {
    let arrangement = match &schema.layout {
        Layout::Image { height, width } => Arrangement::Grid([*height, *width]),
        Layout::Text { .. } | Layout::Table => Arrangement::Line,
        Layout::Sequence(sequence) if sequence.varies() => Arrangement::Record,
        Layout::Sequence(_) => Arrangement::Line,
        Layout::Columns(table) => Arrangement::Columns(table.class_counts().into()),
        Layout::Graph(graph) => Arrangement::Graph(GraphShape {
            nodes: graph.nodes,
            node_classes: graph.node_classes.len(),
            edge_classes: graph.edge_classes,
        }),
    };
    SiteShape { count: schema.sites, classes: schema.classes, arrangement }
}

/// Schema of 8-bit images of `[channels, height, width]`: one site per value, 256 classes.
///
/// # Examples
/// ```
/// use pushforward::run::{image_schema, image_shape};
/// let shape = image_shape(&image_schema([3, 32, 16]))?;
/// assert_eq!([shape.channels, shape.height, shape.width], [3, 32, 16]);
/// # Ok::<(), pushforward::setting::SettingError>(())
/// ```
pub fn image_schema([channels, height, width]: [usize; 3]) -> Schema {
    Schema { sites: channels * height * width, classes: 256, layout: Layout::Image { height, width } }
}

/// Channels, height and width of the images that a schema describes.
///
/// # Errors
/// If the schema is not one of images.
pub fn image_shape(schema: &Schema) -> Result<ImageShape, SettingError> {
    match schema.layout {
        Layout::Image { height, width } if schema.check().is_ok() => {
            Ok(ImageShape { channels: schema.sites / (height * width), height, width })
        }
        _ => Err(SettingError::new("model.family", "= aef: an autoencoder needs a set of images")),
    }
}

/// Checks that a model configuration fits data of this schema; constructing the model cannot panic afterwards.
///
/// # Errors
/// The key and what it must be.
///
/// # Examples
/// ```
/// use pushforward::data::{Layout, Schema};
/// use pushforward::run::{Recipe, check, image_schema};
///
/// let text = "name = 'c'\ndata = { set = 'glyphs' }\nmodel = { family = 'classifier' }";
/// let recipe: Recipe = Recipe::parse(text, "here", &[])?;
/// assert!(check(&recipe.model, &image_schema([1, 16, 16])).is_ok());
/// let blank = Schema { classes: 1, ..image_schema([1, 16, 16]) };
/// assert!(check(&recipe.model, &blank).unwrap_err().to_string().contains("at least 2 classes"));
/// let table = Schema { sites: 4, classes: 3, layout: Layout::Table };
/// assert_eq!(check(&recipe.model, &table).unwrap_err().key, "model.family");
/// # Ok::<(), pushforward::run::RecipeError>(())
/// ```
pub fn check<C: BackboneConfig>(model: &ModelConfig<C>, schema: &Schema) -> Result<(), SettingError> {
    schema.check().map_err(|problem| SettingError::new("data", format!("cannot be: {problem}")))?;
    let sites = site_shape(schema);
    if let (
        Some([height, width]),
        ModelConfig::FlowMap(_) | ModelConfig::CategoricalAef(_) | ModelConfig::Classifier(_),
    ) = (sites.grid(), model)
    {
        let problem = || format!("needs one site per pixel, found {} for {height} x {width}", sites.count);
        require(height * width == sites.count, "model.family", problem())?;
    }
    match model {
        ModelConfig::FlowMap(config) => config.check(sites).map_err(|e| e.within("model")),
        ModelConfig::Aef(config) => config.check(image_shape(schema)?),
        ModelConfig::CategoricalAef(config) => config.check(&sites).map_err(|e| e.within("model")),
        ModelConfig::Classifier(_) if sites.grid().is_some() && sites.classes < 2 => Err(SettingError::new(
            "model.family",
            format!("= classifier: grey levels need at least 2 classes, and the data have {}", sites.classes),
        )),
        ModelConfig::Classifier(config) if config.parameters(&sites, 1).is_some() => Ok(()),
        ModelConfig::Classifier(_) => Err(SettingError::new(
            "model.family",
            "= classifier: a classifier needs a set of labelled images, or of labelled sequences of several letters",
        )),
    }
}
