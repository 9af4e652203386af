//! Built-in rewards for steering, selected by name, and sums, products and windows of them, written as
//! `2*qed - 0.5*window(logp, 1..3)`.
//!
//! A [`Spec`] is such an expression compiled for one kind of data. A reward is *soft* if it extends differentiably to
//! points `pi` of the product of simplices, `[batch, sites, classes]`; an expression is soft if every name in it is.
//!
//! | name | value | soft |
//! |---|---|---|
//! | `site(I, K)`, `site(I, A..B)` | 1 if site `I` has class `K`, or one from `A` to `B`; else 0 | yes |
//! | `window(x, a..b)` | 1 inside, `exp(-distance / w)` outside, `w = (b-a)/2`, or 1 if that is 0 | as `x` |
//! | images: `ink` | mean grey level, 0 dark to 1 light | yes |
//! | `class(K)` | log-probability of label `K` by a classifier; glyphs without one: 1 for a valid `K` | with one |
//! | `similar("FILE")` | 1 minus the mean absolute difference of grey levels | yes |
//! | `symmetric` | 1 minus the mean absolute difference to the mirror image | yes |
//! | text: `contains("..")` | 1 if the text occurs | for characters |
//! | `matches("..")` | 1 if the regular expression matches | no |
//! | `charset("..")` | share of characters that are in the set | for characters |
//! | `word_length` | mean length of the words separated by white space | no |
//! | `ngram` | mean log-probability of a token under a Kneser-Ney model of the training text, nats | no |
//! | `result(N)`, `correct` | sums: 1 if the result reads `N`; 1 if the equation is true (echo: an echo) | no |
//! | sequences: `motifs("..")`, `has("..")` | number of places of a pattern such as `TATAWA`; 1 if there is one | of one length |
//! | `gc`, `share("..")` | share of G and C, of the letters given | of one length |
//! | `class(K)` | as for images, by a classifier | of one length |
//! | `length`, `identity("..")` | number of letters; identity with a target (1 minus edits over the longer) | no |
//! | `ngram` | as for text | no |
//! | `charge`, `hydropathy`, `mass` | proteins: K, R against D, E; mean by Kyte and Doolittle 1982; dalton | of one length |
//! | molecules: `qed`, `logp`, `tpsa`, `weight`, `rings` | see [`crate::chem::properties`] | no |
//! | `substructure("SMARTS")` | 1 if it occurs | no |
//! | `tanimoto("SMILES")` | similarity of fingerprints, 0 to 1 | no |
//!
//! A graph that is not a single valid molecule has the reward [`INVALID`], whatever the expression.
//!
//! # Examples
//! ```
//! use pushforward::data::{DataConfig, Layout, Schema};
//! use pushforward::flow_map::steer::Reward;
//! use pushforward::reward::{Context, Spec};
//! let data = DataConfig::Glyphs(Default::default());
//! let schema = Schema { sites: 4, classes: 2, layout: Layout::Image { height: 2, width: 2 } };
//! let context = Context { schema: &schema, data: &data, classifier: None, scorer: None };
//! let spec = Spec::new("2*ink - symmetric", context)?;
//! // Half of the pixels are light in both; the first image is its own mirror image.
//! assert_eq!(spec.score(&[1, 1, 0, 0, 1, 0, 1, 0])?, [0.0, 1.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod class;
mod error;
#[cfg_attr(not(feature = "chem"), path = "no_facts.rs")]
mod facts;
mod image;
mod leaf;
#[cfg_attr(not(feature = "chem"), path = "no_molecule.rs")]
mod molecule;
mod parse;
mod sequence;
mod site;
mod spec;
#[cfg(test)]
mod tests;
mod text;

pub use self::error::SpecError;
pub use self::leaf::Context;
pub use self::spec::{INVALID, Spec};
