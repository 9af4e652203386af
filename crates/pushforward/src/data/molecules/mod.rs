//! Molecules: read from files or enumerated, and laid out as rows of nodes and pairs.

pub mod files;
pub mod labels;
mod prepared;
mod rows;
mod set;
pub mod small;
mod smiles_file;
