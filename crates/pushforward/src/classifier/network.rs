//! The network: four convolutions, three of which halve the resolution, then features and logits.
//!
//! ```text
//! h = SiLU(GroupNorm(conv(h)))  four times      f = LayerNorm(W_1 flatten(h) + b_1)      logits = W_2 f + b_2
//! ```
//!
//! An image is one channel of grey levels. A sequence is an image of one row with a channel for every letter, which are
//! all zero where it has ended.
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
//! let grey = classifier.planes_of(&[0, 255, 0, 255], 256);
//! assert_eq!(to_host(&grey), to_host(&classifier.planes_of(&[0, 1, 0, 1], 2)));
//! assert_eq!(classifier.logits(classifier.features(grey), &mut Pass::eval()).dims(), [1, 10]);
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::config::{ClassifierConfig, GROUPS, planes_of};
use crate::dual::Dual;
use crate::nn::conv::{Conv2d, Conv2dConfig};
use crate::nn::dropout::Dropout;
use crate::nn::linear::{Linear, LinearConfig};
use crate::nn::norm::{GroupNorm, LayerNorm};
use crate::nn::{Pass, SiteShape};
use crate::node_pairs::ABSENT;
use crate::rng::Stream;
use crate::tensor::from_host;

impl ClassifierConfig {
    /// A classifier of images or sequences of the given shape with `labels` labels and random initial weights.
    ///
    /// # Panics
    /// If the sites are neither those of an image nor of a sequence that is one record, or a setting is out of range (see
    /// [`ClassifierConfig::validate`]).
    pub fn init(&self, sites: SiteShape, labels: usize, device: &Device, stream: &mut Stream) -> Classifier {
        if let Err(problem) = self.validate() {
            panic!("{problem}");
        }
        let (planes, grid) =
            planes_of(&sites).unwrap_or_else(|| panic!("a classifier needs images or sequences: {sites:?}"));
        let c = self.channels;
        let halve = |inputs, outputs, kernel| Conv2dConfig { inputs, outputs, kernel, stride: 2, padding: kernel / 2 };
        let convolutions =
            [halve(planes, c, 5), halve(c, 2 * c, 3), Conv2dConfig::same(2 * c, 2 * c, 3), halve(2 * c, 4 * c, 3)];
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
    /// Logits of the labels, for one-hot items or points on the simplex; differentiable with respect to them.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - output: `[batch, labels]`
    pub fn forward(&self, x: Tensor<3>, pass: &mut Pass<'_>) -> Tensor<2> {
        self.logits(self.features(self.planes(x)), pass)
    }

    /// Features of grey images, or of sequences.
    ///
    /// # Shapes
    /// - `planes`: `[batch, 1, sites]`, from 0 (dark) to 1 (light), or `[batch, letters, sites]`
    /// - output: `[batch, width]`
    ///
    /// # Panics
    /// If the number of sites or letters is not that of the items the classifier was made for.
    pub fn features(&self, planes: Tensor<3>) -> Tensor<2> {
        let ([batch, count, sites], [height, width]) = (planes.dims(), self.grid);
        assert_eq!(sites, height * width, "sites of an image: this classifier is for {height} x {width} pixels");
        assert_eq!(count, self.plane_count(), "axis 1 of `planes`");
        // Centred, so that light and dark pixels have inputs of the same size; of letters, most are zero.
        let centred = if count == 1 { planes * 2.0 - 1.0 } else { planes };
        let image = centred.reshape([batch, count, height, width]);
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

    /// Points on the simplex as what the first convolution reads: mean grey levels, or the weights of letters.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - output: `[batch, 1 or classes, sites]`
    pub fn planes(&self, x: Tensor<3>) -> Tensor<3> {
        if self.plane_count() == 1 { grey(x).unsqueeze_dim(1) } else { x.swap_dims(1, 2) }
    }

    /// Items of class indices as what the first convolution reads, with the dtype and device of the weights.
    ///
    /// # Shapes
    /// - `ids`: `batch * sites` indices below `classes`, or [`ABSENT`] after a sequence's end
    /// - output: `[batch, 1 or classes, sites]`
    ///
    /// # Panics
    /// If `ids` is not a whole number of items, an index is not below `classes`, there are fewer than 2 grey levels, or
    /// not as many letters as the classifier was made for.
    pub fn planes_of(&self, ids: &[u32], classes: usize) -> Tensor<3> {
        let (sites, planes) = (self.grid[0] * self.grid[1], self.plane_count());
        assert!(ids.len().is_multiple_of(sites), "{} classes are not a whole number of items of {sites}", ids.len());
        let inside = |id: u32| assert!((id as usize) < classes, "class index {id} is not below {classes}");
        let mut values = vec![0.0; ids.len() * planes];
        if planes == 1 {
            assert!(classes > 1, "grey levels need at least 2 classes, found {classes}");
            for (value, &id) in values.iter_mut().zip(ids) {
                inside(id);
                *value = f64::from(id) / (classes - 1) as f64;
            }
        } else {
            assert_eq!(classes, planes, "letters of the sequences, and of the classifier");
            for (item, values) in ids.chunks(sites).zip(values.chunks_mut(planes * sites)) {
                for (site, &id) in item.iter().enumerate().filter(|(_, id)| **id != ABSENT) {
                    inside(id);
                    values[id as usize * sites + site] = 1.0;
                }
            }
        }
        from_host(&values, [ids.len() / sites, planes, sites], &self.output.weight.val())
    }

    /// Whether it was made for items of this shape: images of its size at any number of grey levels, or sequences of its
    /// length and number of letters.
    pub fn fits(&self, sites: &SiteShape) -> bool {
        planes_of(sites) == Some((self.plane_count(), self.grid))
    }

    /// Channels that the first convolution reads.
    fn plane_count(&self) -> usize {
        self.stages[0].conv.weight.dims()[1]
    }

    /// Height and width of the images; one row for sequences.
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
            let direct = net.planes_of(&ids, classes);
            let hot = one_hot(indices(&ids, [2, 6], &Device::flex()), classes, &direct);
            for (a, b) in to_host(&direct).iter().zip(to_host(&net.planes(hot))) {
                assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }
        // Black and white are the ends of every scale.
        let ends = |classes: u32| to_host(&net.planes_of(&[0, classes - 1, 0, 0, 0, classes - 1], classes as usize));
        assert_eq!(ends(2), ends(256));
        assert_eq!(ends(2), [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn any_side_fits() {
        for grid in [[1, 1], [7, 9], [16, 16], [28, 28]] {
            let net = classifier(grid);
            let image = Tensor::zeros([3, 1, grid[0] * grid[1]], &Device::flex());
            assert_eq!(net.features(image.clone()).dims(), [3, net.width()]);
            assert_eq!(net.logits(net.features(image), &mut Pass::eval()).dims(), [3, net.labels()]);
        }
    }

    #[test]
    fn letters_are_channels_and_what_follows_the_end_is_nothing() {
        let sites = SiteShape::record(5, 3);
        let net = ClassifierConfig::default().init(sites.clone(), 2, &Device::flex(), &mut stream(0, Purpose::Init, 0));
        assert!(net.fits(&sites) && !net.fits(&SiteShape::record(6, 3)) && !net.fits(&SiteShape::image([1, 5], 3)));
        let ids = [2, 0, 1, ABSENT, ABSENT, 0, 0, 0, 0, 1];
        let planes = net.planes_of(&ids, 3);
        let mut expected = [0.0; 30];
        [5 * 2, 1, 5 + 2, 15, 16, 17, 18, 20 + 4].iter().for_each(|&at| expected[at] = 1.0);
        assert_eq!((planes.dims(), to_host(&planes)), ([2, 3, 5], expected.to_vec()));
        let hot = one_hot(indices(&ids[5..], [1, 5], &Device::flex()), 3, &planes);
        assert_eq!(to_host(&net.planes(hot)), expected[15..]);
        assert_eq!(net.features(planes).dims(), [2, net.width()]);
        assert!(!classifier([4, 4]).fits(&sites) && classifier([4, 4]).fits(&SiteShape::image([4, 4], 9)));
    }

    #[test]
    #[should_panic(expected = "this classifier is for 4 x 4 pixels")]
    fn another_size_is_refused() {
        classifier([4, 4]).features(Tensor::zeros([1, 1, 15], &Device::flex()));
    }

    #[test]
    #[should_panic(expected = "axis 2 of `x`: grey levels need at least 2 classes, found 1")]
    fn images_of_one_class_have_no_grey_levels() {
        grey(Tensor::ones([2, 4, 1], &Device::flex()));
    }

    #[test]
    #[should_panic(expected = "class index 2 is not below 2")]
    fn an_index_outside_is_refused() {
        classifier([1, 2]).planes_of(&[0, 2], 2);
    }
}
