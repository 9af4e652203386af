//! Circular fingerprints: which substructures of radius up to 2 a molecule has, hashed to 2,048 bits (ECFP4; Rogers and
//! Hahn, Extended-connectivity fingerprints, 2010), with the bits of RDKit's Morgan fingerprint.

use chematic::fp;

use super::properties::Perceived;

/// Words of a fingerprint.
pub const WORDS: usize = 32;

/// 2,048 bits.
pub type Fingerprint = [u64; WORDS];

impl Perceived {
    /// The fingerprint; empty where the rings cannot be perceived.
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
