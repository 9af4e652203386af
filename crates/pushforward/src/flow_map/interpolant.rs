//! The linear interpolant between source and data.
//!
//! ```text
//! x_t = (1 - t) x_0 + t x_1
//! ```
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::flow_map::interpolant::{interpolate, source_tensor};
//! use pushforward::tensor::to_host;
//!
//! let noise = source_tensor(vec![3.0, -1.0, 3.0, -1.0], [2, 1, 2], &Device::flex());
//! let data = Tensor::<3>::from_data([[[0.0f32, 1.0]], [[0.0, 1.0]]], &Device::flex());
//! // The first item at time 0, the second at time 0.5.
//! assert_eq!(to_host(&interpolate(noise, data, &[0.0, 0.5])), [3.0, -1.0, 1.5, 0.0]);
//! ```

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::flow_map::conditioning::Conditioning;
use crate::nn::{Arrangement, SiteShape};
use crate::rng::Stream;
use crate::setting::{SettingError, positive};
use crate::tensor::from_host;
use crate::transport::time::column;

/// The distribution of `x_0`, independent over sites.
///
/// There is no atomic source (random vertices of the simplex): a deterministic map cannot push a finite set of points
/// forward to an arbitrary distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// Standard normal in `R^K`, as in all published configurations.
    #[default]
    Gaussian,
    /// Symmetric Dirichlet: points lie on the simplex at all times.
    Dirichlet {
        /// Concentration, positive; 1 is uniform on the simplex.
        concentration: f64,
    },
}

impl Source {
    /// Checks the concentration.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::Gaussian => Ok(()),
            Self::Dirichlet { concentration } => positive("concentration", concentration),
        }
    }

    /// Draws `sites` points of `classes` entries each, in row-major order.
    pub fn draw(self, sites: usize, classes: usize, stream: &mut Stream) -> Vec<f32> {
        match self {
            Self::Gaussian => stream.normals(sites * classes),
            Self::Dirichlet { concentration } => (0..sites)
                .flat_map(|_| {
                    // With tiny concentrations all draws can underflow to zero; the floor avoids 0/0.
                    let g: Vec<f64> = (0..classes).map(|_| stream.gamma(concentration).max(1e-300)).collect();
                    let sum: f64 = g.iter().sum();
                    g.into_iter().map(move |v| (v / sum) as f32)
                })
                .collect(),
        }
    }
}

impl Source {
    /// Draws the points of `items` items, `sites * classes` numbers each. Of the columns of a table, only the classes that
    /// there are are drawn, and the other entries are zero: most of them, if one column has many classes.
    ///
    /// # Examples
    /// The noise of item 3 of a sample with seed 7, as another program would need it to draw the same item.
    /// ```
    /// use pushforward::flow_map::interpolant::Source;
    /// use pushforward::nn::SiteShape;
    /// use pushforward::rng::{Purpose, stream};
    ///
    /// let sites = SiteShape::line(4, 27);
    /// let noise = Source::Gaussian.draw_items(&sites, 1, &mut stream(7, Purpose::Sample, 3));
    /// assert_eq!(noise.len(), 4 * 27);
    /// ```
    pub fn draw_items(self, sites: &SiteShape, items: usize, stream: &mut Stream) -> Vec<f32> {
        let Arrangement::Columns(has) = &sites.arrangement else {
            return self.draw(items * sites.count, sites.classes, stream);
        };
        let mut points = vec![0.0; items * sites.count * sites.classes];
        for (place, point) in points.chunks_mut(sites.classes).enumerate() {
            let has = has[place % sites.count];
            point[..has].copy_from_slice(&self.draw(1, has, stream));
        }
        points
    }
}

/// The noise of a model: its distribution, and for graphs its scale on pairs of nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// The distribution of `x_0`.
    pub source: Source,
    /// Scale of the noise of pairs of nodes.
    pub edge_scale: f64,
}

impl Default for Noise {
    /// Standard normal noise everywhere.
    fn default() -> Self {
        Self { source: Source::Gaussian, edge_scale: 1.0 }
    }
}

impl Noise {
    /// Scales points of the source, and sets sites and classes that an item does not have to zero.
    ///
    /// Points of a Dirichlet source stay on the simplex: they are normalised over the classes that a site has, which
    /// gives the Dirichlet distribution of those classes with the same concentration.
    ///
    /// # Shapes
    /// - `x0`, output: `[batch, sites, classes]`
    pub fn shape(&self, x0: Tensor<3>, sites: SiteShape, conditioning: &Conditioning) -> Tensor<3> {
        let x0 = conditioning.mask(x0);
        if matches!(self.source, Source::Dirichlet { .. }) && conditioning.class_mask.is_some() {
            return normalised(x0, conditioning);
        }
        match sites.as_graph() {
            Some(graph) if self.edge_scale != 1.0 => {
                let scale = |i: usize| if i < graph.nodes { 1.0 } else { self.edge_scale };
                let scales: Vec<f64> = (0..sites.count).map(scale).collect();
                let scales: Tensor<3> = from_host(&scales, [1, sites.count, 1], &x0);
                x0 * scales
            }
            _ => x0,
        }
    }
}

/// Masked points divided by their sums; where a tiny concentration has left nothing, the centre of the simplex.
fn normalised(x0: Tensor<3>, conditioning: &Conditioning) -> Tensor<3> {
    const NOTHING: f64 = 1e-30;
    let dims = x0.dims();
    let open = conditioning.mask(x0.ones_like());
    let centre = open.clone() / open.sum_dim(2).clamp_min(1.0);
    let sum = x0.clone().sum_dim(2);
    let empty = sum.clone().lower_equal_scalar(NOTHING).expand(dims);
    (x0 / sum.clamp_min(NOTHING)).mask_where(empty, centre)
}

/// Host values of source points as a tensor outside any autodiff graph.
///
/// # Shapes
/// - output: `[batch, sites, classes]`
///
/// # Panics
/// If `values` does not fill the shape.
pub fn source_tensor(values: Vec<f32>, shape: [usize; 3], device: &Device) -> Tensor<3> {
    Tensor::from_data(TensorData::new(values, shape), &device.clone().without_autodiff())
}

/// The point `x_t` of the path; every example has its own time.
///
/// # Shapes
/// - `x0`, `x1`, output: `[batch, sites, classes]`
/// - `t`: one time per example
pub fn interpolate(x0: Tensor<3>, x1: Tensor<3>, t: &[f64]) -> Tensor<3> {
    let weight = column(t, &x0);
    x0.clone() + (x1 - x0) * weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::graph::GraphShape;
    use crate::rng::{Purpose, stream};
    use crate::tensor::to_host;

    #[test]
    fn of_columns_only_the_classes_that_there_are_are_drawn() {
        let sites = SiteShape::columns(&[2, 4]);
        let points = Source::Gaussian.draw_items(&sites, 3, &mut stream(0, Purpose::Source, 0));
        for point in points.chunks(8) {
            assert!(point[..2].iter().chain(&point[4..]).all(|v| *v != 0.0) && point[2..4] == [0.0; 2], "{point:?}");
        }
        let line = SiteShape::line(2, 4);
        let [whole, parts] = [0, 1].map(|kind| {
            let mut noise = stream(0, Purpose::Source, 0);
            if kind == 0 {
                Source::Gaussian.draw(6, 4, &mut noise)
            } else {
                Source::Gaussian.draw_items(&line, 3, &mut noise)
            }
        });
        assert_eq!(whole, parts);
    }

    #[test]
    fn dirichlet_lies_on_the_simplex_of_every_site_of_a_graph() {
        let sites = SiteShape::graph(GraphShape { nodes: 3, node_classes: 2, edge_classes: 5 });
        for concentration in [1e-4, 0.3, 1.0] {
            let noise = Noise { source: Source::Dirichlet { concentration }, edge_scale: 1.0 };
            let values = noise.source.draw(400 * sites.count, sites.classes, &mut stream(0, Purpose::Source, 0));
            let x0 = source_tensor(values, [400, sites.count, sites.classes], &Device::flex());
            // Every second graph has two of the three nodes, and one of the three pairs.
            let sizes: Vec<usize> = (0..400).map(|i| 2 + i % 2).collect();
            let conditioning = Conditioning::of_sizes(&sites, &sizes, &x0);
            let found = to_host(&noise.shape(x0, sites.clone(), &conditioning));
            for (i, row) in found.chunks(sites.classes).enumerate() {
                let (item, site) = (i / sites.count, i % sites.count);
                let present = sizes[item] == 3 || matches!(site, 0 | 1 | 3);
                let sum: f64 = row.iter().sum();
                assert!((sum - f64::from(u8::from(present))).abs() < 1e-5, "{concentration}: {site} {row:?}");
                assert!(row.iter().all(|&v| v >= 0.0) && (site >= 3 || row[2..].iter().all(|&v| v == 0.0)));
            }
            // The mean over the classes of a node is one half, as of the Dirichlet distribution of two classes.
            let first: Vec<f64> = found.chunks(sites.count * sites.classes).map(|item| item[0]).collect();
            let mean = first.iter().sum::<f64>() / 400.0;
            assert!((mean - 0.5).abs() < 0.1, "{concentration}: {mean}");
        }
    }

    #[test]
    fn dirichlet_lies_on_the_simplex_with_the_right_moments() {
        for a in [0.3, 1.0, 4.0] {
            let (n, k) = (20_000, 3);
            let x = Source::Dirichlet { concentration: a }.draw(n, k, &mut stream(0, Purpose::Source, 0));
            let sums = x.chunks(k).map(|row| row.iter().sum::<f32>());
            assert!(sums.into_iter().all(|s| (s - 1.0).abs() < 1e-5) && x.iter().all(|&v| v >= 0.0));
            let first: Vec<f64> = x.chunks(k).map(|row| f64::from(row[0])).collect();
            let mean = first.iter().sum::<f64>() / n as f64;
            let var = first.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
            let wanted = (1.0 / 3.0) * (2.0 / 3.0) / (3.0 * a + 1.0);
            assert!((mean - 1.0 / 3.0).abs() < 0.01 && (var / wanted - 1.0).abs() < 0.05, "{a}: {mean} {var} {wanted}");
        }
    }
}
