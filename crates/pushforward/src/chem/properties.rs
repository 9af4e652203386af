//! Descriptors of a molecule, as RDKit computes them.
//!
//! | property | unit | reference |
//! |---|---|---|
//! | weight | g/mol | average atomic masses |
//! | logP | log10 | Wildman and Crippen 1999, atomic contributions |
//! | TPSA | square angstrom | Ertl, Rohde, Selzer 2000, nitrogen and oxygen only |
//! | QED | 0 to 1 | Bickerton et al. 2012, weighted mean |
//! | rings | count | symmetrised smallest set of smallest rings |
//!
//! # Examples
//! ```
//! use pushforward::chem::{Perceived, Properties};
//! let ethanol = Perceived::of("CCO")?;
//! // RDKit: MolWt 46.069, TPSA 20.23.
//! let properties = ethanol.properties();
//! assert!((properties.weight - 46.069).abs() < 1e-3 && (properties.tpsa - 20.23).abs() < 1e-9);
//! assert_eq!(properties.rings, 0.0);
//! let mut rows = Properties::NAMES.into_iter().zip(properties.values()).zip(Properties::UNITS);
//! assert_eq!(rows.nth(2), Some((("tpsa", properties.tpsa), "square angstrom")));
//! # Ok::<(), pushforward::chem::Refusal>(())
//! ```

use chematic::chem as kit;

use super::smiles::{Refusal, parse};

/// A molecule with its aromatic rings perceived, from which descriptors, fingerprints and scaffolds are computed.
///
/// # Examples
/// ```
/// use pushforward::chem::properties::{DESCRIPTORS, Perceived};
/// let benzene = Perceived::of("c1ccccc1")?.descriptors();
/// let at = |name| benzene[DESCRIPTORS.iter().position(|&descriptor| descriptor == name).unwrap()];
/// assert_eq!((at("heavy atoms"), at("aromatic rings"), at("sp3 carbons, share")), (6.0, 1.0, 0.0));
/// # Ok::<(), pushforward::chem::Refusal>(())
/// ```
pub struct Perceived(chematic::core::Molecule);

/// The properties that reports compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Properties {
    /// Molecular weight, g/mol.
    pub weight: f64,
    /// Octanol-water partition coefficient, decimal logarithm.
    pub logp: f64,
    /// Topological polar surface area, square angstrom.
    pub tpsa: f64,
    /// Quantitative estimate of drug-likeness.
    pub qed: f64,
    /// Number of rings.
    pub rings: f64,
}

impl Properties {
    /// Names, as in `wasserstein_<name>` and the columns of tables.
    pub const NAMES: [&str; 5] = ["weight", "logp", "tpsa", "qed", "rings"];

    /// Units, in the same order.
    pub const UNITS: [&str; 5] = ["g/mol", "log10", "square angstrom", "score", "rings"];

    /// Values, in the same order.
    pub fn values(&self) -> [f64; 5] {
        [self.weight, self.logp, self.tpsa, self.qed, self.rings]
    }
}

/// Names of the descriptors of [`Perceived::descriptors`]. The list is part of the definition of `frechet` on
/// molecules; a change of it requires a new name of that metric.
pub const DESCRIPTORS: [&str; 24] = [
    "weight",
    "logp",
    "molar refractivity",
    "tpsa",
    "qed",
    "heavy atoms",
    "heteroatoms",
    "nitrogens",
    "oxygens",
    "halogens",
    "rings",
    "aromatic rings",
    "aliphatic rings",
    "donors",
    "acceptors",
    "rotatable bonds",
    "sp3 carbons, share",
    "stereocentres",
    "bridgeheads",
    "spiro atoms",
    "chi0",
    "chi1",
    "kappa2",
    "Labute surface area",
];

impl Perceived {
    /// A molecule from its canonical SMILES.
    ///
    /// # Errors
    /// If the text is not a SMILES.
    pub fn of(canonical: &str) -> Result<Self, Refusal> {
        parse(canonical).map(Self)
    }

    /// The properties that reports compare.
    pub fn properties(&self) -> Properties {
        Properties {
            weight: kit::rdkit_molecular_weight(&self.0),
            logp: kit::logp_crippen(&self.0),
            tpsa: kit::rdkit_tpsa(&self.0),
            qed: kit::qed(&self.0),
            rings: kit::rdkit_num_rings(&self.0) as f64,
        }
    }

    /// The values of [`DESCRIPTORS`].
    pub fn descriptors(&self) -> [f64; DESCRIPTORS.len()] {
        let m = &self.0;
        let p = self.properties();
        let count = |n: usize| n as f64;
        [
            p.weight,
            p.logp,
            kit::molar_refractivity(m),
            p.tpsa,
            p.qed,
            count(kit::heavy_atom_count(m)),
            count(kit::num_heteroatoms(m)),
            count(kit::num_nitrogens(m)),
            count(kit::num_oxygens(m)),
            count(kit::num_fluorines(m) + kit::num_chlorines(m) + kit::num_bromines(m) + kit::num_iodines(m)),
            p.rings,
            count(kit::rdkit_aromatic_ring_count(m)),
            count(kit::num_aliphatic_rings(m)),
            count(kit::hbd_count(m)),
            count(kit::rdkit_hba_count(m)),
            count(kit::rotatable_bond_count(m)),
            kit::fsp3(m),
            count(kit::num_stereocenters(m)),
            count(kit::num_bridgehead_atoms(m)),
            count(kit::num_spiro_atoms(m)),
            kit::chi0(m),
            kit::chi1(m),
            kit::kappa2(m),
            kit::labute_asa(m),
        ]
    }

    pub(super) fn foreign(&self) -> &chematic::core::Molecule {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_those_of_rdkit() {
        // RDKit 2026.09.1: MolWt, MolLogP, CalcTPSA, qed, CalcNumRings.
        for (smiles, expected) in [
            ("CCO", [46.069, -0.0014, 20.23, 0.40680796565539457, 0.0]),
            ("CC(=O)Oc1ccccc1C(=O)O", [180.159, 1.3101, 63.6, 0.5501217966938848, 1.0]),
            ("Cn1c(=O)c2c(ncn2C)n(C)c1=O", [194.194, -1.0293, 61.82, 0.5384628362247206, 2.0]),
            ("C[N+](=O)[O-]", [61.04, -0.1071, 43.14, 0.28953844149198227, 0.0]),
        ] {
            let found = Perceived::of(smiles).unwrap().properties().values();
            for ((name, found), expected) in Properties::NAMES.iter().zip(found).zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{smiles} {name}: {found} {expected}");
            }
        }
    }

    #[test]
    fn descriptors_are_finite_numbers_in_the_order_of_their_names() {
        let values = Perceived::of("CC(=O)Oc1ccccc1C(=O)O").unwrap().descriptors();
        assert!(values.iter().all(|v| v.is_finite()), "{values:?}");
        let at = |name| values[DESCRIPTORS.iter().position(|&d| d == name).unwrap()];
        assert_eq!(at("heavy atoms"), 13.0);
        assert_eq!(at("aromatic rings"), 1.0);
        assert_eq!(at("donors"), 1.0);
        assert_eq!(at("acceptors"), 3.0);
        assert_eq!(at("rotatable bonds"), 2.0);
        assert!((at("sp3 carbons, share") - 1.0 / 9.0).abs() < 1e-12);
    }
}
