//! Rewards by name: built in for every kind of data, and weighted sums, products and windows of them, written as
//! `2*qed - 0.5*window(logp, 1..3)`.
//!
//! | name | value | soft |
//! |---|---|---|
//! | `site(I, K)`, `site(I, A..B)` | 1 where site `I` has class `K`, or one from `A` to `B`; else 0 | yes |
//! | `window(x, a..b)` | 1 inside, `exp(-distance / w)` outside, `w = (b-a)/2`, or 1 where that is 0 | as `x` |
//! | images: `ink` | mean grey level, 0 dark to 1 light | yes |
//! | `class(K)` | log-probability of label `K` under a classifier; for glyphs without one: 1 where the nearest template is `K` | with a classifier |
//! | `similar("FILE")` | 1 less the mean distance of grey levels | yes |
//! | `symmetric` | 1 less the mean distance to the mirror image | yes |
//! | text: `contains("..")` | 1 where it occurs | for characters |
//! | `matches("..")` | 1 where the regular expression matches | no |
//! | `charset("..")` | share of the characters that are in the set | for characters |
//! | `word_length` | mean length of the words between white space | no |
//! | `ngram` | mean log-probability of a token under a Kneser-Ney model of the training text, nats | no |
//! | `result(N)`, `correct` | sums: 1 where the result reads `N`; where the line is true | no |
//! | molecules: `qed`, `logp`, `tpsa`, `weight`, `rings` | see [`crate::chem::properties`] | no |
//! | `substructure("SMARTS")` | 1 where it occurs | no |
//! | `tanimoto("SMILES")` | similarity of fingerprints, 0 to 1 | no |
//!
//! A graph that is no single valid molecule has the reward [`INVALID`], whatever the rest of the specification says. A
//! specification has a gradient where every name in it has one.

mod image;
mod molecule;
mod parse;
mod text;

use burn::tensor::Tensor;

use self::molecule::Facts;
use self::parse::{Argument, Expr, constant, parse};
use crate::data::{DataConfig, Layout, Schema};
use crate::flow_map::steer::{Reward, RewardError};
use crate::metrics::kneser_ney::KneserNey;
use crate::run::load::Loaded;
use crate::tensor::from_host;

/// The reward of a graph that is no single valid molecule, in nats.
pub const INVALID: f64 = -20.0;

/// What a specification may need besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What the items are.
    pub schema: &'a Schema,
    /// The set that they are of.
    pub data: &'a DataConfig,
    /// A classifier of the images.
    pub classifier: Option<&'a Loaded>,
    /// An n-gram model of the text.
    pub scorer: Option<&'a KneserNey>,
}

/// Why a specification cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// Not the language.
    #[error("the reward, at character {position}: {wanted} is expected, found {found}")]
    Syntax {
        /// Place in the text, from 1.
        position: usize,
        /// What may stand there.
        wanted: &'static str,
        /// What does.
        found: String,
    },
    /// No such reward for these data.
    #[error("there is no reward {name:?} for {kind}: the choices are {choices}")]
    Unknown {
        /// The name.
        name: String,
        /// What the data are.
        kind: &'static str,
        /// The names that fit.
        choices: String,
    },
    /// Arguments that do not fit.
    #[error("{name}: {problem}")]
    Argument {
        /// The reward.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// A specification, ready to score.
pub struct Spec<'a> {
    context: Context<'a>,
    root: Node<'a>,
    factor: f64,
}

/// A reward by name that scores single items of its kind.
trait Leaf {
    /// Values of whole items.
    fn score(&self, items: &Items<'_>) -> Vec<f64>;

    /// The same at points of the simplex, `[batch, sites, classes]` to `[batch]`.
    fn soft(&self, _pi: &Tensor<3>) -> Option<Tensor<1>> {
        None
    }
}

/// Items, and what has been found out about them.
struct Items<'a> {
    ids: &'a [u32],
    sites: usize,
    facts: &'a [Option<Facts>],
}

impl<'a> Items<'a> {
    fn rows(&self) -> impl Iterator<Item = &'a [u32]> {
        self.ids.chunks(self.sites)
    }
}

enum Node<'a> {
    Number(f64),
    Leaf(Box<dyn Leaf + 'a>),
    Window { inner: Box<Node<'a>>, low: f64, high: f64 },
    Negative(Box<Node<'a>>),
    Sum(Box<Node<'a>>, Box<Node<'a>>),
    Difference(Box<Node<'a>>, Box<Node<'a>>),
    Product(Box<Node<'a>>, Box<Node<'a>>),
}

impl<'a> Spec<'a> {
    /// Reads a specification for items of a kind.
    ///
    /// # Errors
    /// See [`SpecError`].
    pub fn new(text: &str, context: Context<'a>) -> Result<Self, SpecError> {
        Ok(Self { context, root: compile(&parse(text)?, context)?, factor: 1.0 })
    }

    /// The same reward times a factor: the inverse temperature of the tilt.
    pub fn times(self, factor: f64) -> Self {
        Self { factor: self.factor * factor, ..self }
    }

    /// Whether a specification asks for a name, such as `ngram`, so that what it needs can be made.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn asks_for(text: &str, name: &str) -> Result<bool, SpecError> {
        fn find(expr: &Expr, wanted: &str) -> bool {
            match expr {
                Expr::Number(_) => false,
                Expr::Call { name, arguments } => {
                    let inside = |a: &Argument| matches!(a, Argument::Value(e) if find(e, wanted));
                    name == wanted || arguments.iter().any(inside)
                }
                Expr::Negative(a) => find(a, wanted),
                Expr::Sum(a, b) | Expr::Difference(a, b) | Expr::Product(a, b) => find(a, wanted) || find(b, wanted),
            }
        }
        Ok(find(&parse(text)?, name))
    }
}

impl Reward for Spec<'_> {
    fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
        let schema = self.context.schema;
        let facts = Facts::of(ids, schema);
        let items = Items { ids, sites: schema.sites, facts: facts.as_deref().unwrap_or_default() };
        let mut values = self.root.score(&items);
        for (value, facts) in values.iter_mut().zip(items.facts) {
            if facts.is_none() {
                *value = INVALID;
            }
        }
        values.iter_mut().for_each(|v| *v *= self.factor);
        Ok(values)
    }

    fn soft(&self, pi: Tensor<3>) -> Option<Tensor<1>> {
        Some(self.root.soft(&pi)? * self.factor)
    }
}

impl Node<'_> {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        let both = |a: &Self, b: &Self, f: fn(f64, f64) -> f64| -> Vec<f64> {
            a.score(items).into_iter().zip(b.score(items)).map(|(a, b)| f(a, b)).collect()
        };
        match self {
            Self::Number(value) => vec![*value; items.ids.len() / items.sites],
            Self::Leaf(leaf) => leaf.score(items),
            Self::Window { inner, low, high } => {
                let width = width(*low, *high);
                let outside = |v: f64| (low - v).max(v - high).max(0.0);
                inner.score(items).into_iter().map(|v| (-outside(v) / width).exp()).collect()
            }
            Self::Negative(a) => a.score(items).into_iter().map(|v| -v).collect(),
            Self::Sum(a, b) => both(a, b, |a, b| a + b),
            Self::Difference(a, b) => both(a, b, |a, b| a - b),
            Self::Product(a, b) => both(a, b, |a, b| a * b),
        }
    }

    fn soft(&self, pi: &Tensor<3>) -> Option<Tensor<1>> {
        Some(match self {
            Self::Number(value) => {
                let n = pi.dims()[0];
                from_host(&vec![*value; n], [n], pi)
            }
            Self::Leaf(leaf) => leaf.soft(pi)?,
            Self::Window { inner, low, high } => {
                let v = inner.soft(pi)?;
                let outside = (v.clone().neg() + *low).clamp_min(0.0) + (v - *high).clamp_min(0.0);
                (outside / -width(*low, *high)).exp()
            }
            Self::Negative(a) => a.soft(pi)?.neg(),
            Self::Sum(a, b) => a.soft(pi)? + b.soft(pi)?,
            Self::Difference(a, b) => a.soft(pi)? - b.soft(pi)?,
            Self::Product(a, b) => a.soft(pi)? * b.soft(pi)?,
        })
    }
}

/// The distance over which a window falls off by a factor e.
fn width(low: f64, high: f64) -> f64 {
    if high > low { 0.5 * (high - low) } else { 1.0 }
}

fn compile<'a>(expr: &Expr, context: Context<'a>) -> Result<Node<'a>, SpecError> {
    let boxed = |e: &Expr| compile(e, context).map(Box::new);
    Ok(match expr {
        Expr::Number(value) => Node::Number(*value),
        Expr::Negative(a) => Node::Negative(boxed(a)?),
        Expr::Sum(a, b) => Node::Sum(boxed(a)?, boxed(b)?),
        Expr::Difference(a, b) => Node::Difference(boxed(a)?, boxed(b)?),
        Expr::Product(a, b) => Node::Product(boxed(a)?, boxed(b)?),
        Expr::Call { name, arguments } if name == "window" => match arguments.as_slice() {
            [Argument::Value(inner), Argument::Range(low, high)] if low <= high => {
                Node::Window { inner: boxed(inner)?, low: *low, high: *high }
            }
            _ => return Err(misfit(name, "write window(REWARD, A..B) with A not above B".into())),
        },
        Expr::Call { name, arguments } if name == "site" => Node::Leaf(Box::new(site(arguments, context.schema)?)),
        Expr::Call { name, arguments } => {
            let (leaf, kind, choices) = match &context.schema.layout {
                Layout::Image { .. } => (image::leaf(name, arguments, context)?, "images", image::NAMES),
                Layout::Text { .. } => (text::leaf(name, arguments, context)?, "text", text::NAMES),
                Layout::Graph(_) => (molecule::leaf(name, arguments, context)?, "molecules", molecule::NAMES),
                Layout::Table => (None, "tables", &[] as &[&str]),
            };
            let choices = choices.iter().copied().chain(["site(I, A..B)", "window(REWARD, A..B)"]);
            Node::Leaf(leaf.ok_or_else(|| SpecError::Unknown {
                name: name.clone(),
                kind,
                choices: choices.collect::<Vec<_>>().join(", "),
            })?)
        }
    })
}

fn misfit(name: &str, problem: String) -> SpecError {
    SpecError::Argument { name: name.to_owned(), problem }
}

/// The one whole number that a reward takes.
fn whole(name: &str, arguments: &[Argument]) -> Result<u64, SpecError> {
    let value = match arguments {
        [Argument::Value(value)] => constant(value),
        _ => None,
    };
    let whole = value.filter(|v| *v >= 0.0 && v.fract() == 0.0 && *v < 1e15);
    whole.map(|v| v as u64).ok_or_else(|| misfit(name, format!("write {name}(N) with a whole number N")))
}

/// The one text that a reward takes.
fn quoted<'t>(name: &str, arguments: &'t [Argument]) -> Result<&'t str, SpecError> {
    match arguments {
        [Argument::Text(text)] if !text.is_empty() => Ok(text),
        _ => Err(misfit(name, format!("write {name}(\"..\") with a text in quotation marks"))),
    }
}

/// A reward that takes nothing.
fn bare(name: &str, arguments: &[Argument]) -> Result<(), SpecError> {
    if arguments.is_empty() { Ok(()) } else { Err(misfit(name, format!("write {name} without brackets"))) }
}

/// One site and the classes that are asked of it.
struct Site {
    site: usize,
    low: u32,
    high: u32,
}

fn site(arguments: &[Argument], schema: &Schema) -> Result<Site, SpecError> {
    let problem = || misfit("site", "write site(I, K) or site(I, A..B) with whole numbers".into());
    let (place, [low, high]) = match arguments {
        [Argument::Value(place), Argument::Value(class)] => {
            (constant(place), constant(class).map(|c| [c; 2]).ok_or_else(problem)?)
        }
        [Argument::Value(place), Argument::Range(low, high)] => (constant(place), [*low, *high]),
        _ => return Err(problem()),
    };
    let place = place.filter(|p| *p >= 0.0 && p.fract() == 0.0).ok_or_else(problem)?;
    if place >= schema.sites as f64 {
        return Err(misfit("site", format!("there is no site {place}: items have sites 0 to {}", schema.sites - 1)));
    }
    if !(0.0 <= low && low <= high && high < schema.classes as f64) {
        return Err(misfit("site", format!("the classes are 0 to {}, found {low}..{high}", schema.classes - 1)));
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

#[cfg(test)]
mod tests;
