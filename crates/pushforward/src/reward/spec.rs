//! Reward specifications: compilation and scoring.

use burn::tensor::Tensor;

use super::error::SpecError;
use super::facts::Facts;
use super::leaf::{Context, Items, Leaf, argument_error};
use super::parse::{Argument, Expr, parse};
use super::site::site;
use super::{image, molecule, sequence, text};
use crate::data::Layout;
use crate::flow_map::steer::{Reward, RewardError};
use crate::tensor::from_host;

/// The reward of a graph that is not a single valid molecule, in nats.
pub const INVALID: f64 = -20.0;

/// A compiled reward specification.
///
/// # Examples
/// ```
/// use pushforward::data::{DataConfig, Layout, Schema};
/// use pushforward::flow_map::steer::Reward;
/// use pushforward::reward::{Context, Spec, SpecError};
/// let data = DataConfig::Checker(Default::default());
/// let schema = Schema { sites: 2, classes: 16, layout: Layout::Table };
/// let context = Context { schema: &schema, data: &data, classifier: None, scorer: None };
/// let spec = Spec::new("site(0, 0..3) + site(1, 5)", context)?.times(0.5);
/// assert_eq!(spec.score(&[2, 5, 9, 5])?, [1.0, 0.5]);
/// assert!(matches!(Spec::new("qed", context), Err(SpecError::Unknown { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Spec<'a> {
    context: Context<'a>,
    root: Node<'a>,
    factor: f64,
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
    /// Parses and compiles a specification for the data of `context`.
    ///
    /// # Errors
    /// If the text does not follow the grammar, a name does not exist for this kind of data, or arguments do not fit.
    pub fn new(text: &str, context: Context<'a>) -> Result<Self, SpecError> {
        Ok(Self { context, root: compile(&parse(text)?, context)?, factor: 1.0 })
    }

    /// The reward multiplied by `factor`, the inverse temperature of the tilt.
    pub fn times(self, factor: f64) -> Self {
        Self { factor: self.factor * factor, ..self }
    }

    /// Whether a specification uses a name, such as `ngram`, so that the caller can prepare what it needs.
    ///
    /// # Errors
    /// If the text does not follow the grammar.
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

/// The distance outside a window over which its value falls by a factor `e`.
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
            _ => return Err(argument_error(name, "write window(REWARD, A..B) with A not above B".into())),
        },
        Expr::Call { name, arguments } if name == "site" => Node::Leaf(Box::new(site(arguments, context.schema)?)),
        Expr::Call { name, arguments } => {
            let (leaf, kind, choices) = match &context.schema.layout {
                Layout::Image { .. } => (image::leaf(name, arguments, context)?, "images", image::NAMES),
                Layout::Text { .. } => (text::leaf(name, arguments, context)?, "text", text::NAMES),
                Layout::Graph(_) => (molecule::leaf(name, arguments, context)?, "molecules", molecule::NAMES),
                Layout::Sequence(_) => (sequence::leaf(name, arguments, context)?, "sequences", sequence::NAMES),
                Layout::Table | Layout::Columns(_) => (None, "tables", &[] as &[&str]),
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
