//! Structural zeros and rare pairs: classes of two sites that never, or hardly ever, occur together.
//!
//! Two columns of a table often exclude each other's values: an occupation is missing wherever the kind of work is, and each
//! degree has one number of years. A one-step map decides all sites at once, each by its own law, and a few samples in a
//! hundred then have a pair that no row of the data has. Which pairs these are is known from the counts of pairs:
//!
//! ```text
//! zero   n[i, a, j, b] = 0   and   e >= least                    e = n[i, a] n[j, b] / N
//!        n[i, a, j, b] = 0   and   n[i, a, j, c] is 0 or at least 2 for all c, and  n[i, a] ln(1 / s) >= least K  (or i and j exchanged)
//! rare   0 < n[i, a, j, b] < e / 5   and   e - n - n ln(e / n) >= least
//! n: rows of N with these classes at sites i and j;  s: share of the rows with a class at j that occurs with a;  K: classes at j
//! ```
//!
//! In the analysis of contingency tables (Bishop, Fienberg and Holland 1975, chapter 5) such cells are structural zeros, where
//! those that are empty by chance are sampling zeros; with `least` rows expected of independent columns, an empty cell has
//! probability `exp(-least)` by chance, and one of as few rows as a rare pair at most that (the bound of Chernoff for a Poisson law). The second
//! line is for classes that are seldom themselves: 51 rows with the degree `Preschool` have one number of years. By chance that has a probability below `(exp(-least) 2)^K`, whichever of the `2^K` sets of
//! classes it might have been, and if no class is seen just once, the share of those still to be seen is small (Good 1953).
//!
//! [`StructuralZeros::mend`] moves a sample to classes without zeros by its own law. A rare pair, of two columns whose law is `n / e` times that of
//! independent ones, is moved away from where the sample's own law leaves the choice open:
//!
//! ```text
//! law[site, new] w(new) > law[site, old] w(old)       w(class): the least n / e of the rare pairs that it is in, 1 if there are none
//! ```
//!
//! # Examples
//! ```
//! use pushforward::structural_zeros::StructuralZeros;
//!
//! // Two sites that are always equal.
//! let column: Vec<u32> = (0..60).map(|row| row % 3).collect();
//! let zeros = StructuralZeros::find(&[3, 3], column.len(), 5.0, &mut |row, out| out.fill(column[row]));
//! assert_eq!((zeros.len(), zeros.allows(&[1, 1]), zeros.allows(&[1, 2])), (6, true, false));
//! // The second site might as well be 1.
//! let law = [0.1, 0.8, 0.1, 0.0, 0.4, 0.6];
//! let mut ids = [1, 2];
//! assert!(zeros.mend(&mut ids, &law, |_, _| true));
//! assert_eq!(ids, [1, 1]);
//! ```

mod find;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Least probability of a class, so that no ratio of two is infinite.
const LEAST: f64 = 1e-12;

/// The pairs, with what finds those of a sample fast.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<ZeroPairs>", into = "Vec<ZeroPairs>")]
pub struct StructuralZeros(Arc<Tables>);

/// Pairs of classes of two sites, as they are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ZeroPairs {
    sites: [usize; 2],
    pairs: Vec<[u32; 2]>,
    /// Pairs that are rare, and their counts as shares of those of independent columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rare: Vec<([u32; 2], f64)>,
}

#[derive(Debug, Default, PartialEq)]
struct Tables {
    tables: Vec<Table>,
    /// The tables of each site, and whether it is the second site of one.
    around: Vec<Vec<(usize, bool)>>,
}

/// The table of two sites: a bit for each pair of their classes that is a zero or rare.
#[derive(Debug, PartialEq)]
struct Table {
    sites: [usize; 2],
    classes: [usize; 2],
    bits: Vec<u64>,
    /// The rare ones among them, in order, with the logarithms of their weights.
    rare: Vec<([u32; 2], f64)>,
}

/// What speaks against classes: zeros, and the logarithm of the weight of the rarest pair.
#[derive(Clone, Copy, Default, PartialEq)]
struct Against {
    zeros: usize,
    rare: f64,
}

fn is_set(bits: &[u64], cell: usize) -> bool {
    bits[cell / 64] >> (cell % 64) & 1 == 1
}

fn set(bits: &mut [u64], cell: usize) {
    bits[cell / 64] |= 1 << (cell % 64);
}

impl Table {
    /// What a pair of classes adds; `None` if it is as any other. Classes beyond, and sites that an item does not have, exclude
    /// nothing.
    fn against(&self, a: u32, b: u32) -> Option<Against> {
        let ([rows, columns], [i, j]) = (self.classes, [a, b].map(|class| class as usize));
        (i < rows && j < columns && is_set(&self.bits, i * columns + j)).then(|| {
            match self.rare.binary_search_by_key(&[a, b], |&(pair, _)| pair) {
                Ok(at) => Against { zeros: 0, rare: self.rare[at].1 },
                Err(_) => Against { zeros: 1, rare: 0.0 },
            }
        })
    }

    fn zeros(&self) -> impl Iterator<Item = [u32; 2]> + '_ {
        let [rows, columns] = self.classes.map(|n| n as u32);
        let all = (0..rows).flat_map(move |a| (0..columns).map(move |b| [a, b]));
        all.filter(|&[a, b]| self.against(a, b).is_some_and(|against| against.zeros > 0))
    }
}

impl From<StructuralZeros> for Vec<ZeroPairs> {
    fn from(zeros: StructuralZeros) -> Self {
        let written = |table: &Table| ZeroPairs {
            sites: table.sites,
            pairs: table.zeros().collect(),
            rare: table.rare.iter().map(|&(pair, weight)| (pair, short(weight.exp()))).collect(),
        };
        zeros.0.tables.iter().map(written).collect()
    }
}

impl TryFrom<Vec<ZeroPairs>> for StructuralZeros {
    type Error = String;

    fn try_from(all: Vec<ZeroPairs>) -> Result<Self, String> {
        let (mut tables, mut around) = (Vec::new(), Vec::<Vec<(usize, bool)>>::new());
        for (place, ZeroPairs { sites: [i, j], pairs, mut rare }) in all.into_iter().enumerate() {
            let marked = || pairs.iter().chain(rare.iter().map(|(pair, _)| pair));
            let largest = |at: usize| marked().map(|pair| pair[at] as usize + 1).max().unwrap_or(0);
            let classes = [largest(0), largest(1)];
            // A damaged file may ask for any size.
            let cells = classes[0].checked_mul(classes[1]).filter(|&cells| cells <= 1 << 26 && j < 1 << 24);
            let Some(cells) = cells.filter(|_| i < j) else {
                return Err(format!("structural zeros of sites {i} and {j} with classes up to {classes:?}"));
            };
            let mut bits = vec![0u64; cells.div_ceil(64)];
            for &[a, b] in marked() {
                set(&mut bits, a as usize * classes[1] + b as usize);
            }
            if let Some(&(pair, weight)) = rare.iter().find(|&&(_, weight)| !(weight > 0.0 && weight <= 1.0)) {
                return Err(format!("the weight {weight} of classes {pair:?} of sites {i} and {j}"));
            }
            rare.sort_unstable_by_key(|&(pair, _)| pair);
            rare.iter_mut().for_each(|(_, weight)| *weight = weight.ln());
            tables.push(Table { sites: [i, j], classes, bits, rare });
            around.resize_with(around.len().max(j + 1), Vec::new);
            around[i].push((place, false));
            around[j].push((place, true));
        }
        Ok(Self(Arc::new(Tables { tables, around })))
    }
}

impl StructuralZeros {
    /// Number of pairs that never occur.
    pub fn len(&self) -> usize {
        self.0.tables.iter().map(|table| table.zeros().count()).sum()
    }

    /// Number of pairs that are rare.
    pub fn rare(&self) -> usize {
        self.0.tables.iter().map(|table| table.rare.len()).sum()
    }

    /// Number of sites up to the last one that is in a pair.
    pub fn sites(&self) -> usize {
        self.0.around.len()
    }

    /// Whether there are neither zeros nor rare pairs.
    pub fn is_empty(&self) -> bool {
        self.0.tables.is_empty()
    }

    /// Whether an item has none of the zeros. Sites that it lacks have none.
    pub fn allows(&self, ids: &[u32]) -> bool {
        self.marked(ids).all(|against| against.zeros == 0)
    }

    /// Whether an item has neither zeros nor rare pairs, so that there is nothing to mend.
    pub(crate) fn is_usual(&self, ids: &[u32]) -> bool {
        self.marked(ids).next().is_none()
    }

    fn marked(&self, ids: &[u32]) -> impl Iterator<Item = Against> {
        self.0.tables.iter().filter_map(|table| table.against(ids[table.sites[0]], ids[table.sites[1]]))
    }

    /// What speaks against a class of a site, given the other sites.
    fn against(&self, ids: &[u32], site: usize, class: u32) -> Against {
        let of = |&(place, second): &(usize, bool)| {
            let table = &self.0.tables[place];
            let other = ids[table.sites[usize::from(!second)]];
            if second { table.against(other, class) } else { table.against(class, other) }
        };
        let both = |all: Against, one: Against| Against { zeros: all.zeros + one.zeros, rare: all.rare.min(one.rare) };
        self.0.around[site].iter().filter_map(of).fold(Against::default(), both)
    }

    /// Changes classes of sites that are in a zero or a rare pair one by one: each time the change that leaves fewest zeros and, among those,
    /// the one with the largest `law[new] w[new] / (law[old] w[old])`, where `law` has the probabilities of all classes, site by site, and `w`
    /// is the weight of the rarest pair of a class. It ends where no change leaves fewer zeros, or makes a class likelier by leaving a
    /// rare pair; for that a site is changed once. Only classes that are `open` are taken. Returns whether no zero is left.
    ///
    /// # Panics
    /// If the item has fewer sites than the pairs name.
    pub fn mend(&self, ids: &mut [u32], law: &[f64], open: impl Fn(usize, usize) -> bool) -> bool {
        let classes = law.len() / ids.len().max(1);
        let log = |site: usize, class: u32| law[site * classes + class as usize].max(LEAST).ln();
        let mut changed = vec![false; self.sites()];
        loop {
            let mut best: Option<(isize, f64, usize, u32)> = None;
            for (site, &changed) in changed.iter().enumerate() {
                let own = ids[site];
                let before = self.against(ids, site, own);
                if before == Against::default() {
                    continue;
                }
                for class in (0..classes as u32).filter(|&class| class != own && open(site, class as usize)) {
                    let after = self.against(ids, site, class);
                    let change = after.zeros as isize - before.zeros as isize;
                    let loss = log(site, own) + before.rare - log(site, class) - after.rare;
                    let likelier = change == 0 && !changed && after.rare > before.rare && loss < 0.0;
                    let better = best.is_none_or(|(most, least, ..)| (change, loss) < (most, least));
                    if (change < 0 || likelier) && better {
                        best = Some((change, loss, site, class));
                    }
                }
            }
            let Some((change, _, site, class)) = best else { return self.allows(ids) };
            ids[site] = class;
            changed[site] |= change == 0;
        }
    }
}

/// Three digits of a weight, as it is written.
fn short(weight: f64) -> f64 {
    format!("{weight:.2e}").parse().expect("a number that was written")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::node_pairs::ABSENT;

    /// Rows of three sites: the second is a function of the first, the third is anything.
    fn rows(count: usize) -> Vec<[u32; 3]> {
        (0..count as u32).map(|row| [row % 4, (row % 4) / 2, (row / 4) % 5]).collect()
    }

    fn zeros() -> StructuralZeros {
        let rows = rows(400);
        StructuralZeros::find(&[4, 2, 5], rows.len(), 5.0, &mut |row, out| out.copy_from_slice(&rows[row]))
    }

    #[test]
    fn pairs_that_are_empty_by_chance_are_not_found() {
        let zeros = zeros();
        assert_eq!(zeros.len(), 4);
        for a in 0..4u32 {
            for b in 0..2 {
                assert_eq!(zeros.allows(&[a, b, 3]), b == a / 2, "{a} {b}");
            }
        }
        // Fewer rows than five are expected of a pair.
        let few = rows(16);
        let write = &mut |row: usize, out: &mut [u32]| out.copy_from_slice(&few[row]);
        assert!(StructuralZeros::find(&[4, 2, 5], few.len(), 5.0, write).is_empty());
        assert!(!StructuralZeros::find(&[4, 2, 5], few.len(), 2.0, write).is_empty());
        assert!(StructuralZeros::find(&[4, 2, 5], few.len(), 0.0, write).is_empty());
        // Cells without a class exclude nothing.
        let holes = StructuralZeros::find(&[2, 2], 100, 5.0, &mut |row, out| {
            out.copy_from_slice(&[if row % 2 == 0 { ABSENT } else { 1 }, 1]);
        });
        assert!(holes.is_empty() && zeros.allows(&[ABSENT, 1, 2]));
    }

    /// A word that says nearly all about a second one, in 4,000 rows: `n[0, 1] = 4`, where 1,000 are expected.
    fn with_rare() -> StructuralZeros {
        StructuralZeros::find(&[2, 2], 4000, 5.0, &mut |row, out| {
            let word = row as u32 % 2;
            out.copy_from_slice(&[word, if row < 8 { 1 } else { word }]);
        })
    }

    #[test]
    fn classes_that_are_seldom_have_zeros_where_they_keep_to_few() {
        // Class 9 of the first site has 60 rows of 6,060, and keeps to class 7 of ten; six rows are expected of it with each other one. Class 8
        // has as many rows with two classes, of one of them a single row.
        let found = |least| {
            StructuralZeros::find(&[10, 10], 6060, least, &mut |row, out| {
                out.copy_from_slice(&match row as u32 {
                    6000.. => [9, 7],
                    at @ ..60 => [8, if at == 0 { 3 } else { 4 }],
                    at => [at / 10 % 8, at % 10],
                });
            })
        };
        let text = serde_json::to_string(&found(8.0)).unwrap();
        assert_eq!(text, r#"[{"sites":[0,1],"pairs":[[9,0],[9,1],[9,2],[9,3],[9,4],[9,5],[9,6],[9,8],[9,9]]}]"#);
        // By chance they have one class with a probability of exp(-133).
        assert!(found(14.0).is_empty());
    }

    #[test]
    fn rare_pairs_go_where_the_law_leaves_it_open() {
        let zeros = with_rare();
        assert_eq!((zeros.len(), zeros.rare(), zeros.is_empty()), (1, 1, false));
        let mended = |ids: [u32; 2], law: [f64; 4]| {
            let mut ids = ids;
            assert!(zeros.mend(&mut ids, &law, |_, _| true));
            ids
        };
        // Four rows of 1,002: the other class of the first site is likelier by a factor of 250.
        assert_eq!(mended([0, 1], [0.85, 0.15, 0.1, 0.9]), [1, 1]);
        assert_eq!(mended([0, 1], [0.9, 0.1, 0.45, 0.55]), [0, 0]);
        assert_eq!(mended([0, 1], [0.999, 0.001, 0.001, 0.999]), [0, 1]);
        // What is not rare stays, however unlikely, and zeros go in any case.
        assert_eq!(mended([1, 1], [0.999, 0.001, 0.5, 0.5]), [1, 1]);
        assert!(zeros.allows(&mended([1, 0], [1e-9, 1.0, 1.0, 1e-9])));
        assert!(zeros.allows(&[0, 1]) && !zeros.is_usual(&[0, 1]) && zeros.is_usual(&[0, 0]));
    }

    #[test]
    fn they_are_written_and_read_and_damage_is_refused() {
        for zeros in [zeros(), with_rare()] {
            let text = serde_json::to_string(&zeros).unwrap();
            assert_eq!(serde_json::from_str::<StructuralZeros>(&text).unwrap(), zeros);
        }
        for bad in [
            r#"[{"sites":[1,1],"pairs":[[0,0]]}]"#,
            r#"[{"sites":[2,1],"pairs":[[0,0]]}]"#,
            r#"[{"sites":[0,1],"pairs":[[4000000000,4000000000]]}]"#,
            r#"[{"sites":[0,4000000000],"pairs":[[0,0]]}]"#,
            r#"[{"sites":[0,1],"pairs":[],"rare":[[[0,0],0.0]]}]"#,
            r#"[{"sites":[0,1],"pairs":[],"rare":[[[0,0],1.5]]}]"#,
            r#"[{"sites":[0,1],"pairs":[],"rare":[[[4000000000,4000000000],0.5]]}]"#,
        ] {
            assert!(serde_json::from_str::<StructuralZeros>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_mended_item_has_none_and_keeps_what_is_told(
            first in 0u32..4, second in 0u32..2, third in 0u32..5, told in 0usize..3, law in prop::collection::vec(0.0f64..1.0, 15),
        ) {
            let (zeros, before, classes) = (zeros(), [first, second, third], [4, 2, 5]);
            let mut ids = before;
            prop_assert!(zeros.mend(&mut ids, &law, |site, class| class < classes[site] && site != told) && zeros.allows(&ids));
            prop_assert_eq!(ids[told], before[told]);
            prop_assert_eq!(ids[2], third);
            prop_assert_eq!(ids != before, second != first / 2);
            // Of three ways to mend it, the likeliest.
            if told == 2 && second != first / 2 {
                let gain = |site: usize, from: u32, to: u32| {
                    law[5 * site + to as usize].max(LEAST) / law[5 * site + from as usize].max(LEAST)
                };
                let by_first = (0..4).filter(|k| k / 2 == second).map(|k| gain(0, first, k)).fold(0.0, f64::max);
                prop_assert_eq!(ids[0] != first, by_first > gain(1, second, first / 2));
            }
            // Nothing can be done where all sites are told.
            let mut stuck = before;
            prop_assert_eq!(zeros.mend(&mut stuck, &law, |_, _| false), second == first / 2);
            prop_assert_eq!(stuck, before);
        }
    }
}
