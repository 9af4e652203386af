//! Sequences of letters, as class indices without absent sites: k-mers by position, motifs, nearest neighbours, and the
//! baselines that a model of sequences should beat.
//!
//! k-mers of whole sequences are the n-grams of [`ngram_kl`](super::ngram_kl).

mod markov;
mod motif;
mod nearest;
mod positional;

pub use self::markov::{Markov, position_weights};
pub use self::motif::{Motif, Place};
pub use self::nearest::{identity, nearest_identity};
pub use self::positional::positional_kmer_kl;
