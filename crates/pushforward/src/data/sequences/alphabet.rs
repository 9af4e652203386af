//! Alphabets of sequences, and the letters that stand for several others.
//!
//! Reference: IUPAC-IUB nomenclature of incompletely specified bases (Cornish-Bowden 1985), and of amino acids (1984).

use serde::{Deserialize, Serialize};

/// Which letters a sequence has.
///
/// # Examples
/// ```
/// use pushforward::data::sequences::Alphabet;
/// assert_eq!(Alphabet::Dna.letters(), "ACGT");
/// // Small letters are read as capitals, and U as T.
/// assert_eq!((Alphabet::Dna.normal('u'), Alphabet::Found.normal('u')), ('T', 'u'));
/// assert_eq!((Alphabet::Dna.meaning('R'), Alphabet::Dna.meaning('E')), (Some("AG"), None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alphabet {
    /// `A C G T`.
    Dna,
    /// `A C G U`.
    Rna,
    /// The twenty amino acids.
    Protein,
    /// The characters that the file has, as they are.
    Found,
}

/// What is done with letters that stand for several others, such as N in DNA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ambiguity {
    /// Records that have one are refused.
    #[default]
    Refuse,
    /// Each of them that occurs is a class of its own.
    Keep,
    /// All of them are one class, written N, or X in proteins.
    Merge,
}

const DNA: [(char, &str); 11] = [
    ('R', "AG"),
    ('Y', "CT"),
    ('S', "CG"),
    ('W', "AT"),
    ('K', "GT"),
    ('M', "AC"),
    ('B', "CGT"),
    ('D', "AGT"),
    ('H', "ACT"),
    ('V', "ACG"),
    ('N', "ACGT"),
];
const RNA: [(char, &str); 11] = [
    ('R', "AG"),
    ('Y', "CU"),
    ('S', "CG"),
    ('W', "AU"),
    ('K', "GU"),
    ('M', "AC"),
    ('B', "CGU"),
    ('D', "AGU"),
    ('H', "ACU"),
    ('V', "ACG"),
    ('N', "ACGU"),
];
/// U and O, selenocysteine and pyrrolysine, are rare amino acids: they stand for what a usual protein has in their place.
const PROTEIN: [(char, &str); 6] =
    [('B', "DN"), ('Z', "EQ"), ('J', "IL"), ('U', "C"), ('O', "K"), ('X', "ACDEFGHIKLMNPQRSTVWY")];

impl Alphabet {
    /// The name as a recipe has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dna => "dna",
            Self::Rna => "rna",
            Self::Protein => "protein",
            Self::Found => "found",
        }
    }

    /// The letters that stand for themselves; none if they are found in the file.
    pub fn letters(self) -> &'static str {
        match self {
            Self::Dna => "ACGT",
            Self::Rna => "ACGU",
            Self::Protein => "ACDEFGHIKLMNPQRSTVWY",
            Self::Found => "",
        }
    }

    /// The letters that stand for others, with what they stand for.
    fn ambiguous(self) -> &'static [(char, &'static str)] {
        match self {
            Self::Dna => &DNA,
            Self::Rna => &RNA,
            Self::Protein => &PROTEIN,
            Self::Found => &[],
        }
    }

    /// What a letter that stands for others stands for; `None` if it is no such letter.
    pub fn meaning(self, letter: char) -> Option<&'static str> {
        self.ambiguous().iter().find(|(code, _)| *code == letter).map(|(_, meaning)| *meaning)
    }

    /// The letter that all those are merged into which stand for others.
    pub(super) fn any(self) -> char {
        if self == Self::Protein { 'X' } else { 'N' }
    }

    /// A letter as the alphabet writes it.
    pub fn normal(self, letter: char) -> char {
        match (self, letter.to_ascii_uppercase()) {
            (Self::Found, _) => letter,
            (Self::Dna, 'U') => 'T',
            (Self::Rna, 'T') => 'U',
            (_, capital) => capital,
        }
    }

    /// The alphabet of a file, from how often each character occurs in its sequences.
    ///
    /// Of DNA and RNA, almost all letters stand for themselves. Proteins are written in capitals, with few of the letters that
    /// stand for others.
    pub(super) fn of(counts: &[(char, u64)]) -> Self {
        let total: u64 = counts.iter().map(|(_, count)| count).sum();
        let share = |alphabet: Self| {
            let known = |letter: char| alphabet.letters().contains(letter);
            let sum: u64 = counts.iter().filter(|(c, _)| known(c.to_ascii_uppercase())).map(|(_, n)| n).sum();
            sum as f64 / total.max(1) as f64
        };
        // A few strange letters are mistakes of single records.
        let only = |alphabet: Self| {
            let known = |c: char| alphabet.letters().contains(c) || alphabet.meaning(c).is_some();
            let strange: u64 = counts.iter().filter(|(c, _)| !known(c.to_ascii_uppercase())).map(|(_, n)| n).sum();
            200 * strange <= total
        };
        let capitals = counts.iter().all(|(c, _)| !c.is_lowercase());
        // A protein has most of the amino acids; words of few letters are no proteins.
        let varied = counts.iter().filter(|(c, _)| Self::Protein.letters().contains(*c)).count() >= 15;
        [Self::Dna, Self::Rna]
            .into_iter()
            .find(|&a| only(a) && share(a) > 0.9)
            .or_else(|| {
                (capitals && varied && only(Self::Protein) && share(Self::Protein) > 0.98).then_some(Self::Protein)
            })
            .unwrap_or(Self::Found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Alphabet {
        let mut counts: Vec<(char, u64)> = Vec::new();
        text.chars().for_each(|c| match counts.iter_mut().find(|(known, _)| *known == c) {
            Some((_, n)) => *n += 1,
            None => counts.push((c, 1)),
        });
        Alphabet::of(&counts)
    }

    #[test]
    fn alphabets_are_found_by_their_letters() {
        assert_eq!(of("ACGTTGCANacgt"), Alphabet::Dna);
        assert_eq!(of("ACGUUGCA"), Alphabet::Rna);
        assert_eq!(of("MKWVTFISLLFLFSSAYSRGVFRRDAHKSEVAHRFKDLGEENFKALVLIAFAQYLQQCPFEDHVK"), Alphabet::Protein);
        assert_eq!(of("emmaoliviaavaisabellasophia"), Alphabet::Found);
        assert_eq!(of("EMMAOLIVIAAVAISABELLASOPHIABOBJOUNEZUZUOTTOUBO"), Alphabet::Found);
        assert_eq!(of("NNNNNNACGT"), Alphabet::Found);
        assert_eq!(of(&("ACGT".repeat(100) + "XX")), Alphabet::Dna);
        assert_eq!(of(&("ACGT".repeat(100) + "XXX")), Alphabet::Found);
    }

    #[test]
    fn every_code_stands_for_letters_of_its_alphabet() {
        for alphabet in [Alphabet::Dna, Alphabet::Rna, Alphabet::Protein] {
            for (code, meaning) in alphabet.ambiguous() {
                assert!(!alphabet.letters().contains(*code), "{code}");
                assert!(meaning.chars().all(|letter| alphabet.letters().contains(letter)), "{code}");
            }
            assert_eq!(alphabet.meaning(alphabet.any()), Some(alphabet.letters()));
        }
    }
}
