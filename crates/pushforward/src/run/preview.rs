//! A few samples of a model in training.

use crate::aef::ImageShape;

/// A few samples for inspection.
#[derive(Clone, Debug)]
pub enum Preview {
    /// Items of categorical variables.
    Items {
        /// Network evaluations per item.
        nfe: usize,
        /// Class indices, item by item.
        ids: Vec<u32>,
    },
    /// Images.
    Images {
        /// Pixels in `[0, 1]`, image by image.
        pixels: Vec<f32>,
        /// Shape of an image.
        shape: ImageShape,
    },
}

impl Preview {
    /// Number of items.
    pub const COUNT: usize = 64;
}
