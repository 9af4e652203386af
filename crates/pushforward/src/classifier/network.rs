//! The network: four convolutions, three of which halve the resolution, then features and logits.
//!
//! ```text
//! h = SiLU(GroupNorm(conv(h)))  four times      f = LayerNorm(W_1 flatten(h) + b_1)      logits = W_2 f + b_2
//! ```
//!
//! Features have mean square 1 up to the learned weight of their normalisation, so that distances between features are
//! of the same order for every training run. There are no batch statistics: the features of an image do not depend on
//! its batch.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::Device;
//! use pushforward::classifier::ClassifierConfig;
//! use pushforward::nn::{Pass, SiteShape};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let sites = SiteShape::image([2, 2], 2);
//! let classifier = ClassifierConfig::default().init(sites, 10, &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! // The same grey levels in images of 2 and of 256 levels.
//! let grey = classifier.grey_of(&[0, 255, 0, 255], 256);
//! assert_eq!(to_host(&grey), to_host(&classifier.grey_of(&[0, 1, 0, 1], 2)));
//! assert_eq!(classifier.logits(classifier.features(grey), &mut Pass::eval()).dims(), [1, 10]);
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::config::{ClassifierConfig, GROUPS};
use crate::dual::Dual;
use crate::nn::conv::{Conv2d, Conv2dConfig};
use crate::nn::dropout::Dropout;
use crate::nn::linear::{Linear, LinearConfig};
use crate::nn::norm::{GroupNorm, LayerNorm};
use crate::nn::{Pass, SiteShape};
use crate::rng::Stream;
use crate::tensor::from_host;

impl ClassifierConfig {
    /// A classifier of images of the given shape with `labels` labels and random initial weights.
    ///
    /// # Panics
    /// If the sites are not those of an image, or a setting is out of range (see [`ClassifierConfig::validate`]).
    pub fn init(&self, sites: SiteShape, labels: usize, device: &Device, stream: &mut Stream) -> Classifier {
        if let Err(problem) = self.validate() {
            panic!("{problem}");
        }
        let grid = sites.grid().unwrap_or_else(|| panic!("a classifier needs an image: {sites:?}"));
        let c = self.channels;
        let halve = |inputs, outputs, kernel| Conv2dConfig { inputs, outputs, kernel, stride: 2, padding: kernel / 2 };
        let convolutions =
            [halve(1, c, 5), halve(c, 2 * c, 3), Conv2dConfig::same(2 * c, 2 * c, 3), halve(2 * c, 4 * c, 3)];
        // Each of the three halvings rounds up.
        let [height, width] = grid.map(|side| side.div_ceil(8));
        Classifier {
            stages: convolutions
                .iter()
                .map(|conv| Stage {
                    conv: conv.init(device, stream),
                    norm: GroupNorm::init(GROUPS, conv.outputs, device, stream),
                })
                .collect(),
            features: LinearConfig::new(4 * c * height * width, self.width).init(device, stream),
            norm: LayerNorm::init(self.width, device, stream),
            dropout: Dropout::new(self.dropout),
            output: LinearConfig::new(self.width, labels).init(device, stream),
            grid,
        }
    }
}

/// The classifier, made by [`ClassifierConfig::init`].
#[derive(Module, Debug)]
pub struct Classifier {
    /// The convolutions.
    pub stages: Vec<Stage>,
    /// `[last channels * pixels, width]`
    pub features: Linear,
    /// Normalisation of the features.
    pub norm: LayerNorm,
    dropout: Dropout,
    /// `[width, labels]`
    pub output: Linear,
    #[module(skip)]
    grid: [usize; 2],
}

/// A convolution with its normalisation.
#[derive(Module, Debug)]
pub struct Stage {
    /// The convolution.
    pub conv: Conv2d,
    /// The normalisation after it.
    pub norm: GroupNorm,
}

impl Classifier {
    /// Logits of the labels, for one-hot images or points on the simplex; differentiable with respect to the image.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - output: `[batch, labels]`
    pub fn forward(&self, x: Tensor<3>, pass: &mut Pass<'_>) -> Tensor<2> {
        self.logits(self.features(grey(x)), pass)
    }

    /// Features of grey images.
    ///
    /// # Shapes
    /// - `grey`: `[batch, sites]`, from 0 (dark) to 1 (light)
    /// - output: `[batch, width]`
    ///
    /// # Panics
    /// If the number of sites is not that of the images the classifier was made for.
    pub fn features(&self, grey: Tensor<2>) -> Tensor<2> {
        let ([batch, sites], [height, width]) = (grey.dims(), self.grid);
        assert_eq!(sites, height * width, "sites of an image: this classifier is for {height} x {width} pixels");
        // Centred, so that light and dark pixels have inputs of the same size.
        let image = (grey * 2.0 - 1.0).reshape([batch, 1, height, width]);
        let stages = self.stages.iter();
        let h = stages.fold(Dual::from(image), |h, stage| stage.norm.forward(stage.conv.forward(h)).silu());
        self.norm.forward(self.features.forward(h.linear(|v| v.flatten::<2>(1, 3)))).value
    }

    /// Logits of the labels from the features.
    ///
    /// # Shapes
    /// - `features`: `[batch, width]`
    /// - output: `[batch, labels]`
    pub fn logits(&self, features: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        self.output.forward(self.dropout.forward(features.into(), pass)).value
    }

    /// Images of class indices as grey levels, with the dtype and device of the weights.
    ///
    /// # Shapes
    /// - `ids`: `batch * sites` indices below `classes`
    /// - output: `[batch, sites]`
    ///
    /// # Panics
    /// If `ids` is not a whole number of images, an index is not below `classes`, or there are fewer than 2 classes.
    pub fn grey_of(&self, ids: &[u32], classes: usize) -> Tensor<2> {
        let sites = self.grid[0] * self.grid[1];
        assert!(ids.len().is_multiple_of(sites), "{} pixels are not a whole number of images of {sites}", ids.len());
        assert!(classes > 1, "grey levels need at least 2 classes, found {classes}");
        let level = |&id: &u32| {
            assert!((id as usize) < classes, "class index {id} is not below {classes}");
            f64::from(id) / (classes - 1) as f64
        };
        let levels: Vec<f64> = ids.iter().map(level).collect();
        from_host(&levels, [ids.len() / sites, sites], &self.output.weight.val())
    }

    /// Height and width of the images.
    pub fn grid(&self) -> [usize; 2] {
        self.grid
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.output.weight.dims()[0]
    }

    /// Number of labels.
    pub fn labels(&self) -> usize {
        self.output.weight.dims()[1]
    }
}

/// The mean grey level of every pixel, `sum_k x_k k / (K-1)`.
///
/// # Shapes
/// - `x`: `[batch, sites, classes]`
/// - output: `[batch, sites]`
///
/// # Panics
/// If there are fewer than 2 classes.
pub fn grey(x: Tensor<3>) -> Tensor<2> {
    let classes = x.dims()[2];
    assert!(classes > 1, "axis 2 of `x`: grey levels need at least 2 classes, found {classes}");
    let levels: Vec<f64> = (0..classes).map(|k| k as f64 / (classes - 1) as f64).collect();
    let levels = from_host(&levels, [1, 1, classes], &x);
    (x * levels).sum_dim(2).squeeze_dim(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};
    use crate::tensor::{indices, one_hot, to_host};

    fn classifier(grid: [usize; 2]) -> Classifier {
        let sites = SiteShape::image(grid, 2);
        ClassifierConfig::default().init(sites, 10, &Device::flex(), &mut stream(0, Purpose::Init, 0))
    }

    #[test]
    fn one_hot_images_and_indices_are_the_same_grey_at_any_quantisation() {
        let net = classifier([2, 3]);
        for classes in [2, 5, 256] {
            let ids: Vec<u32> = (0..12).map(|i| i * 7 % classes as u32).collect();
            let direct = net.grey_of(&ids, classes);
            let hot = one_hot(indices(&ids, [2, 6], &Device::flex()), classes, &direct);
            for (a, b) in to_host(&direct).iter().zip(to_host(&grey(hot))) {
                assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }
        // Black and white are the ends of every scale.
        let ends = |classes: u32| to_host(&net.grey_of(&[0, classes - 1, 0, 0, 0, classes - 1], classes as usize));
        assert_eq!(ends(2), ends(256));
        assert_eq!(ends(2), [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn any_side_fits() {
        for grid in [[1, 1], [7, 9], [16, 16], [28, 28]] {
            let net = classifier(grid);
            let image = Tensor::zeros([3, grid[0] * grid[1]], &Device::flex());
            assert_eq!(net.features(image.clone()).dims(), [3, net.width()]);
            assert_eq!(net.logits(net.features(image), &mut Pass::eval()).dims(), [3, net.labels()]);
        }
    }

    #[test]
    #[should_panic(expected = "this classifier is for 4 x 4 pixels")]
    fn another_size_is_refused() {
        classifier([4, 4]).features(Tensor::zeros([1, 15], &Device::flex()));
    }

    #[test]
    #[should_panic(expected = "axis 2 of `x`: grey levels need at least 2 classes, found 1")]
    fn images_of_one_class_have_no_grey_levels() {
        grey(Tensor::ones([2, 4, 1], &Device::flex()));
    }

    #[test]
    #[should_panic(expected = "class index 2 is not below 2")]
    fn an_index_outside_is_refused() {
        classifier([1, 2]).grey_of(&[0, 2], 2);
    }
}
