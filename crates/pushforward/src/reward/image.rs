//! Rewards of images.

use burn::tensor::Tensor;

use super::class::classified;
use super::error::SpecError;
use super::leaf::{Context, Items, Leaf, argument_error, bare, quoted, whole};
use super::parse::Argument;
use crate::classifier::network::grey;
use crate::data::synthetic::glyphs;
use crate::data::{DataConfig, Layout};
use crate::tensor::from_host;

/// The names, as error messages list them.
pub(super) const NAMES: &[&str] = &["ink", "class(K)", "similar(\"FILE\")", "symmetric"];

pub(super) fn leaf<'a>(
    name: &str,
    arguments: &[Argument],
    context: Context<'a>,
) -> Result<Option<Box<dyn Leaf + 'a>>, SpecError> {
    let Layout::Image { height, width } = context.schema.layout else { return Ok(None) };
    let classes = context.schema.classes;
    Ok(Some(match name {
        "ink" => {
            bare(name, arguments)?;
            Box::new(Ink { classes })
        }
        "symmetric" => {
            bare(name, arguments)?;
            Box::new(Symmetric { width, classes })
        }
        "similar" => Box::new(Similar { target: read(quoted(name, arguments)?, [height, width])?, classes }),
        "class" => class(whole(name, arguments)?, context)?,
        _ => return Ok(None),
    }))
}

fn class<'a>(label: u64, context: Context<'a>) -> Result<Box<dyn Leaf + 'a>, SpecError> {
    if context.classifier.is_none() && matches!(context.data, DataConfig::Glyphs(_)) {
        return match (label as usize) < glyphs::CLASSES {
            true => Ok(Box::new(Template { label: label as u32 })),
            false => Err(argument_error("class", format!("the labels are 0 to {}", glyphs::CLASSES - 1))),
        };
    }
    classified(label, context)
}

#[cfg(not(feature = "images"))]
fn read(_: &str, _: [usize; 2]) -> Result<Vec<f64>, SpecError> {
    Err(argument_error(
        "similar",
        "this build cannot read picture files; build the library with its feature `images`".into(),
    ))
}

/// Grey levels, 0 to 1, of a picture file that has the size of the images.
#[cfg(feature = "images")]
fn read(path: &str, [height, width]: [usize; 2]) -> Result<Vec<f64>, SpecError> {
    let picture = ::image::open(path).map_err(|e| argument_error("similar", format!("{path}: {e}")))?.to_luma8();
    let found = [picture.height() as usize, picture.width() as usize];
    if found != [height, width] {
        return Err(argument_error(
            "similar",
            format!("{path} is {found:?} pixels, the images are {:?}", [height, width]),
        ));
    }
    Ok(picture.into_raw().into_iter().map(|v| f64::from(v) / 255.0).collect())
}

/// Grey levels of an image, 0 to 1.
fn levels(row: &[u32], classes: usize) -> impl Iterator<Item = f64> + '_ {
    let top = (classes - 1).max(1) as f64;
    row.iter().map(move |&id| f64::from(id) / top)
}

fn mean(values: impl Iterator<Item = f64>, n: usize) -> f64 {
    values.sum::<f64>() / n as f64
}

struct Ink {
    classes: usize,
}

impl Leaf for Ink {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        items.rows().map(|row| mean(levels(row, self.classes), row.len())).collect()
    }

    fn soft(&self, pi: &Tensor<3>) -> Option<Tensor<1>> {
        Some(grey(pi.clone()).mean_dim(1).squeeze_dim(1))
    }
}

struct Symmetric {
    width: usize,
    classes: usize,
}

impl Leaf for Symmetric {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        let score = |row: &[u32]| {
            let x: Vec<f64> = levels(row, self.classes).collect();
            let mirrored = x.chunks(self.width).flat_map(|line| line.iter().rev());
            1.0 - mean(x.iter().zip(mirrored).map(|(a, b)| (a - b).abs()), x.len())
        };
        items.rows().map(score).collect()
    }

    fn soft(&self, pi: &Tensor<3>) -> Option<Tensor<1>> {
        let x = grey(pi.clone());
        let [batch, sites] = x.dims();
        let mirrored = x.clone().reshape([batch, sites / self.width, self.width]).flip([2]).reshape([batch, sites]);
        Some((x - mirrored).abs().mean_dim(1).squeeze_dim(1).neg() + 1.0)
    }
}

struct Similar {
    target: Vec<f64>,
    classes: usize,
}

impl Leaf for Similar {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        let distance = |row: &[u32]| {
            let pairs = levels(row, self.classes).zip(&self.target);
            mean(pairs.map(|(a, b)| (a - b).abs()), row.len())
        };
        items.rows().map(|row| 1.0 - distance(row)).collect()
    }

    fn soft(&self, pi: &Tensor<3>) -> Option<Tensor<1>> {
        let target = from_host(&self.target, [1, self.target.len()], pi);
        Some((grey(pi.clone()) - target).abs().mean_dim(1).squeeze_dim(1).neg() + 1.0)
    }
}

/// `class(K)` by the nearest glyph template.
struct Template {
    label: u32,
}

impl Leaf for Template {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        let hit = |row: &[u32]| glyphs::is_valid(row) && glyphs::classify(row).class == self.label;
        items.rows().map(|row| f64::from(u8::from(hit(row)))).collect()
    }
}
