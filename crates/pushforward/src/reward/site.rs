//! Rewards of single sites, for every kind of data.

use burn::tensor::Tensor;

use super::error::SpecError;
use super::leaf::{Items, Leaf, argument_error};
use super::parse::{Argument, constant};
use crate::data::Schema;

/// One site and the range of classes that is rewarded.
pub(super) struct Site {
    site: usize,
    low: u32,
    high: u32,
}

/// Reads the arguments of `site`.
pub(super) fn site(arguments: &[Argument], schema: &Schema) -> Result<Site, SpecError> {
    let problem = || argument_error("site", "write site(I, K) or site(I, A..B) with whole numbers".into());
    let (place, [low, high]) = match arguments {
        [Argument::Value(place), Argument::Value(class)] => {
            (constant(place), constant(class).map(|c| [c; 2]).ok_or_else(problem)?)
        }
        [Argument::Value(place), Argument::Range(low, high)] => (constant(place), [*low, *high]),
        _ => return Err(problem()),
    };
    let place = place.filter(|p| *p >= 0.0 && p.fract() == 0.0).ok_or_else(problem)?;
    if place >= schema.sites as f64 {
        return Err(argument_error(
            "site",
            format!("there is no site {place}: items have sites 0 to {}", schema.sites - 1),
        ));
    }
    if !(0.0 <= low && low <= high && high < schema.classes as f64) {
        return Err(argument_error(
            "site",
            format!("the classes are 0 to {}, found {low}..{high}", schema.classes - 1),
        ));
    }
    Ok(Site { site: place as usize, low: low as u32, high: high as u32 })
}

impl Leaf for Site {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        items.rows().map(|row| f64::from(u8::from((self.low..=self.high).contains(&row[self.site])))).collect()
    }

    fn soft(&self, pi: &Tensor<3>) -> Option<Tensor<1>> {
        let part = pi.clone().slice_dim(1, self.site..self.site + 1);
        Some(part.slice_dim(2, self.low as usize..self.high as usize + 1).sum_dim(2).flatten::<1>(0, 2))
    }
}
