//! Chemistry: molecules as graphs, and what a chemist asks of them.
//!
//! ```text
//! SMILES -> read -> Molecule -> check -> Verdict (canonical SMILES, or why not)
//!                            -> draw -> Drawing
//! canonical SMILES -> Perceived -> properties, descriptors, fingerprint, scaffold
//! ```
//!
//! A [`Molecule`] is what a graph model makes: atoms with an element and a formal charge, bonds of order 1 to 3,
//! hydrogens implied by valence. Whatever needs a verdict on chemistry goes through one door, the port of RDKit's
//! sanitisation and canonical SMILES in `chematic`; this module alone names that library, and it knows no tensors, no
//! models and no data sets.
//!
//! | file | what |
//! |---|---|
//! | [`molecule`] | the graph, its components, its elements |
//! | [`smiles`] | SMILES to molecule and back, with typed refusals |
//! | [`validity`] | strict and largest-fragment validity, and the valence table |
//! | [`properties`] | weight, logP, TPSA, QED, rings; a fixed set of descriptors |
//! | [`fingerprint`] | ECFP4 bits |
//! | [`scaffold`] | Murcko scaffolds |
//! | [`substructure`] | whether a pattern occurs |
//! | [`drawing`] | lines and letters of a 2-D drawing |

pub mod drawing;
pub mod fingerprint;
pub mod molecule;
pub mod properties;
pub mod scaffold;
pub mod smiles;
pub mod substructure;
pub mod validity;

pub use molecule::{Atom, Bond, Element, Molecule};
pub use properties::{Perceived, Properties};
pub use smiles::{Refusal, canonical, read};
pub use validity::{Verdict, check};
