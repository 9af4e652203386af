//! Circular fingerprints (ECFP4): the substructures of radius up to 2 of a molecule, hashed to 2,048 bits. The bits are
//! those of RDKit's Morgan fingerprint. Rogers and Hahn, Extended-connectivity fingerprints, 2010.
//!
//! # Examples
//! ```
//! use pushforward::chem::Perceived;
//! use pushforward::metrics::similarity::tanimoto;
//! let [ethanol, same, propane] =
//!     ["CCO", "OCC", "CCC"].map(|smiles| Perceived::of(smiles).expect("a SMILES").fingerprint());
//! assert_eq!(tanimoto(&ethanol, &same), 1.0);
//! assert!(tanimoto(&ethanol, &propane) < 1.0);
//! ```

use chematic::fp;

use super::properties::Perceived;

/// Number of 64-bit words of a fingerprint.
pub const WORDS: usize = 32;

/// A fingerprint of 2,048 bits; bit `b` is bit `b % 64` of word `b / 64`.
pub type Fingerprint = [u64; WORDS];

impl Perceived {
    /// The ECFP4 fingerprint; all zeros if the rings cannot be perceived.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut words = [0; WORDS];
        if let Ok(bits) = fp::rdkit_morgan_ecfp4_bitvec(self.foreign()) {
            let bytes = bits.to_le_bytes();
            for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
                *word = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(smiles: &str) -> Vec<usize> {
        let words = Perceived::of(smiles).unwrap().fingerprint();
        (0..64 * WORDS).filter(|&bit| words[bit / 64] >> (bit % 64) & 1 == 1).collect()
    }

    #[test]
    fn bits_are_those_of_rdkit() {
        // GetMorganGenerator(radius=2, fpSize=2048) of RDKit 2026.09.1.
        assert_eq!(bits("CCO"), [80, 222, 294, 807, 1057, 1410]);
        assert_eq!(bits("C1=CC=CC=C1"), bits("c1ccccc1"));
    }
}
