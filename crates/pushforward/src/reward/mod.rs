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

mod error;
mod facts;
mod image;
mod leaf;
mod molecule;
mod parse;
mod site;
mod spec;
#[cfg(test)]
mod tests;
mod text;

pub use self::error::SpecError;
pub use self::leaf::Context;
pub use self::spec::{INVALID, Spec};
