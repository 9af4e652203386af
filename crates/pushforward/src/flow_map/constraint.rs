//! Constraints on samples: which classes every site may take.
//!
//! A constraint masks logits only: the noise of a constrained sample is that of an unconstrained one. Where
//! one class is left, the endpoint is its one-hot vector for any network, so every sampler reproduces that class
//! exactly and moves the site along its interpolant, as in training. Infilling, inpainting, forbidden and required
//! classes all have this form.
//!
//! # Examples
//! ```
//! use pushforward::flow_map::constraint::{Constraint, ConstraintError};
//! use pushforward::nn::SiteShape;
//!
//! // Three sites of four classes: the second is fixed, the first may not be 0.
//! let constraint = Constraint::all(SiteShape::line(3, 4)).fix(1, 2)?.forbid(0, 0)?;
//! assert!(constraint.permits(1, 2) && !constraint.permits(1, 3) && !constraint.permits(0, 0));
//! assert_eq!(constraint.fixed().collect::<Vec<_>>(), [(1, 2)]);
//! assert_eq!(constraint.fix(0, 0), Err(ConstraintError::Contradiction { site: 0 }));
//! # Ok::<(), ConstraintError>(())
//! ```

use burn::tensor::Tensor;

use crate::nn::SiteShape;
use crate::tensor::from_host;

/// The set of allowed classes of every site; none is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    shape: SiteShape,
    /// Site by site.
    mask: Vec<bool>,
}

/// Why a constraint is not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// No class is left at a site.
    #[error(
        "the constraint contradicts itself: no class is left for site {site}; relax what is fixed or forbidden there"
    )]
    Contradiction {
        /// The site.
        site: usize,
    },
    /// There is no such site.
    #[error("site {site} is constrained, and items have sites 0 to {last}")]
    Site {
        /// The site.
        site: usize,
        /// The last one.
        last: usize,
    },
    /// There is no such class.
    #[error("class {class} is named in a constraint, and the classes of site {site} are 0 to {last}")]
    Class {
        /// The site.
        site: usize,
        /// The class.
        class: u32,
        /// The last one.
        last: usize,
    },
}

impl Constraint {
    /// Allows every class that a site has.
    pub fn all(sites: SiteShape) -> Self {
        let row = |site| (0..sites.classes).map(move |class| (site, class));
        let mask = (0..sites.count).flat_map(row).map(|(site, class)| class < sites.classes_of(site)).collect();
        Self { shape: sites, mask }
    }

    /// Restricts a site to the given classes, on top of earlier constraints.
    ///
    /// # Errors
    /// If there is no such site or class, or no class is left.
    pub fn only(mut self, site: usize, classes: &[u32]) -> Result<Self, ConstraintError> {
        self.close(site, classes, |named| !named)?;
        Ok(self)
    }

    /// Fixes the class of a site.
    ///
    /// # Errors
    /// As [`Constraint::only`].
    pub fn fix(self, site: usize, class: u32) -> Result<Self, ConstraintError> {
        self.only(site, &[class])
    }

    /// Forbids a class at a site.
    ///
    /// # Errors
    /// As [`Constraint::only`].
    pub fn forbid(mut self, site: usize, class: u32) -> Result<Self, ConstraintError> {
        self.close(site, &[class], |named| named)?;
        Ok(self)
    }

    /// Forbids the classes that have weight zero: for each site `None`, or a weight for every class.
    ///
    /// # Errors
    /// As [`Constraint::only`].
    pub fn weighted(self, weights: &[Option<Vec<f64>>]) -> Result<Self, ConstraintError> {
        weights.iter().enumerate().try_fold(self, |constraint, (site, row)| {
            let Some(row) = row else { return Ok(constraint) };
            let left: Vec<u32> = (0..).zip(row).filter(|(_, weight)| **weight > 0.0).map(|(class, _)| class).collect();
            constraint.only(site, &left)
        })
    }

    /// Forbids the classes of a site for which `closes(whether the class is named)` is true.
    fn close(&mut self, site: usize, named: &[u32], closes: impl Fn(bool) -> bool) -> Result<(), ConstraintError> {
        let count = self.sites();
        if site >= count {
            return Err(ConstraintError::Site { site, last: count - 1 });
        }
        let has = self.shape.classes_of(site);
        if let Some(&class) = named.iter().find(|&&c| c as usize >= has) {
            return Err(ConstraintError::Class { site, class, last: has - 1 });
        }
        let width = self.classes();
        let row = &mut self.mask[site * width..(site + 1) * width];
        row.iter_mut().zip(0..).for_each(|(open, class)| *open &= !closes(named.contains(&class)));
        if row.contains(&true) { Ok(()) } else { Err(ConstraintError::Contradiction { site }) }
    }

    /// Number of sites.
    pub fn sites(&self) -> usize {
        self.shape.count
    }

    /// Largest number of classes of a site.
    pub fn classes(&self) -> usize {
        self.shape.classes
    }

    /// The sites that have one class left, with that class.
    pub fn fixed(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        self.mask.chunks(self.classes()).enumerate().filter_map(|(site, row)| {
            let mut left = (0..).zip(row).filter(|(_, open)| **open);
            match (left.next(), left.next()) {
                (Some((class, _)), None) => Some((site, class)),
                _ => None,
            }
        })
    }

    /// Whether a site may take a class.
    pub fn permits(&self, site: usize, class: u32) -> bool {
        self.mask[site * self.classes() + class as usize]
    }

    /// The constraint as a tensor: one for allowed classes, zero for the others.
    ///
    /// # Shapes
    /// - output: `[1, sites, classes]`
    pub fn tensor<const D: usize>(&self, like: &Tensor<D>) -> Tensor<3> {
        let values: Vec<f64> = self.mask.iter().map(|&open| f64::from(u8::from(open))).collect();
        from_host(&values, [1, self.sites(), self.classes()], like)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::graph::GraphShape;

    #[test]
    fn constraints_add_up_until_they_contradict() {
        let free = Constraint::all(SiteShape::line(3, 4));
        assert_eq!(free.fixed().count(), 0);
        let one = free.clone().fix(1, 2).unwrap().only(0, &[0, 3]).unwrap().forbid(0, 3).unwrap();
        assert_eq!(one.fixed().collect::<Vec<_>>(), [(0, 0), (1, 2)]);
        assert!(!one.permits(1, 0) && one.permits(2, 3));
        assert_eq!(one.clone().forbid(1, 2), Err(ConstraintError::Contradiction { site: 1 }));
        assert!(one.clone().fix(1, 3).unwrap_err().to_string().contains("no class is left for site 1"));
        let weights = [None, None, Some(vec![0.0, 0.5, 0.0, 1.0])];
        let weighted = one.clone().weighted(&weights).unwrap();
        assert!(weighted.permits(2, 1) && weighted.permits(2, 3) && !weighted.permits(2, 0));
        assert_eq!(one.clone().weighted(&[Some(vec![0.0; 4])]), Err(ConstraintError::Contradiction { site: 0 }));
        assert_eq!(one.clone().fix(3, 0), Err(ConstraintError::Site { site: 3, last: 2 }));
        assert_eq!(one.fix(2, 4), Err(ConstraintError::Class { site: 2, class: 4, last: 3 }));
    }

    #[test]
    fn sites_of_graphs_have_classes_of_their_own() {
        let graph = GraphShape { nodes: 2, node_classes: 2, edge_classes: 3 };
        let free = Constraint::all(SiteShape::graph(graph));
        assert!(!free.permits(0, 2) && free.permits(2, 2));
        assert_eq!(free.clone().fix(0, 2), Err(ConstraintError::Class { site: 0, class: 2, last: 1 }));
        assert_eq!(free.forbid(0, 0).unwrap().fixed().collect::<Vec<_>>(), [(0, 1)]);
    }
}
