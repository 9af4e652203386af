//! Chemistry: molecules as graphs, their validity, descriptors and drawings.
//!
//! ```text
//! SMILES -> read -> Molecule -> check -> Verdict (canonical SMILES, or why not)
//!                            -> draw -> Drawing
//! canonical SMILES -> Perceived -> properties, descriptors, fingerprint, scaffold
//! ```
//!
//! A [`Molecule`] is what a graph model generates: atoms with an element and a formal charge, bonds of order 1 to 3,
//! hydrogens implied by valence. All questions of chemistry are answered by one library, the port of RDKit's
//! sanitisation and canonical SMILES in `chematic`. Only this module uses that library, and it depends on no tensors,
//! models or data sets.
//!
//! | file | contents |
//! |---|---|
//! | [`molecule`] | the graph, its components, its elements |
//! | [`smiles`] | SMILES to molecule and back, with typed reasons of refusal |
//! | [`validity`] | strict and largest-fragment validity, and the valence table |
//! | [`properties`] | weight, logP, TPSA, QED, rings; a fixed set of descriptors |
//! | [`fingerprint`] | ECFP4 bits |
//! | [`scaffold`] | Murcko scaffolds |
//! | [`substructure`] | whether a SMARTS pattern occurs |
//! | [`drawing`] | lines and letters of a structural formula |
//!
//! # Examples
//! ```
//! use pushforward::chem::{Perceived, check, read};
//! let aspirin = read("O=C(O)c1ccccc1OC(C)=O")?;
//! assert_eq!(aspirin.canonical, "CC(=O)Oc1ccccc1C(=O)O");
//! assert_eq!(check(&aspirin.molecule).strict(), Some("CC(=O)Oc1ccccc1C(=O)O"));
//! let properties = Perceived::of(&aspirin.canonical)?.properties();
//! assert!((properties.weight - 180.159).abs() < 1e-3 && properties.rings == 1.0);
//! # Ok::<(), pushforward::chem::Refusal>(())
//! ```

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
