//! The Frechet ChemNet distance between two files of SMILES, one a line.
//!
//! ```text
//! cargo run --release --example chemnet_distance -- CHEMNET.safetensors A.smi B.smi
//! ```

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::path::Path;

use pushforward::chem::smiles::canonical_text;
use pushforward::metrics::frechet::{Moments, frechet};
use pushforward::run::evaluate::chemnet::ChemNet;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, files @ ..] = arguments.as_slice() else { return Err("which weights?".into()) };
    let [a, b] = files else { return Err("two files of SMILES are compared".into()) };
    let net = ChemNet::open(Path::new(weights))?;
    let moments = |file: &str| -> Result<Moments, Box<dyn std::error::Error>> {
        let text = std::fs::read_to_string(file)?;
        let molecules = text.lines().filter_map(|line| line.split_whitespace().next());
        let smiles: Vec<String> = molecules.map(canonical_text).collect::<Result<_, _>>()?;
        let smiles: Vec<&str> = smiles.iter().map(String::as_str).collect();
        Ok(Moments::of(&net.features(&smiles), ChemNet::WIDTH))
    };
    println!("{:.6}", frechet(&moments(a)?, &moments(b)?));
    Ok(())
}
