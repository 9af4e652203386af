//! Structural zeros: pairs of classes of two sites that never occur together.
//!
//! Two columns of a table often exclude each other's values: an occupation is missing wherever the kind of work is, and each
//! degree has one number of years. A one-step map decides all sites at once, each by its own law, and a few samples in a
//! hundred then have a pair that no row of the data has. Which pairs these are is known from the counts of pairs:
//!
//! ```text
//! n[i, a, j, b] = 0   and   n[i, a] n[j, b] / N >= least          n: rows of N with these classes at sites i and j
//! ```
//!
//! In the analysis of contingency tables (Bishop, Fienberg and Holland 1975, chapter 5) such cells are structural zeros, where
//! those that are empty by chance are sampling zeros; with `least` rows expected of independent columns, an empty cell has
//! probability `exp(-least)` by chance. [`StructuralZeros::mend`] moves a sample to classes without such pairs by its own law.
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

use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::node_pairs::{in_order, pair_count};

/// Most pairs of classes that are kept, those with the largest expectation.
const MOST: usize = 100_000;
/// Most products of rows and pairs of sites that are counted: some seconds.
const WORK: usize = 4_000_000_000;
/// Rows that are counted together.
const BLOCK: usize = 4096;
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
}

#[derive(Debug, Default, PartialEq)]
struct Tables {
    tables: Vec<Table>,
    /// The tables of each site, and whether it is the second site of one.
    around: Vec<Vec<(usize, bool)>>,
}

/// The table of two sites: a bit for each pair of their classes.
#[derive(Debug, PartialEq)]
struct Table {
    sites: [usize; 2],
    classes: [usize; 2],
    bits: Vec<u64>,
}

fn is_set(bits: &[u64], cell: usize) -> bool {
    bits[cell / 64] >> (cell % 64) & 1 == 1
}

fn set(bits: &mut [u64], cell: usize) {
    bits[cell / 64] |= 1 << (cell % 64);
}

impl Table {
    fn is_zero(&self, a: u32, b: u32) -> bool {
        let ([rows, columns], a, b) = (self.classes, a as usize, b as usize);
        // Classes beyond, and sites that an item does not have, exclude nothing.
        a < rows && b < columns && is_set(&self.bits, a * columns + b)
    }

    fn pairs(&self) -> impl Iterator<Item = [u32; 2]> + '_ {
        let [rows, columns] = self.classes.map(|n| n as u32);
        let all = (0..rows).flat_map(move |a| (0..columns).map(move |b| [a, b]));
        all.filter(|&[a, b]| self.is_zero(a, b))
    }
}

impl From<StructuralZeros> for Vec<ZeroPairs> {
    fn from(zeros: StructuralZeros) -> Self {
        zeros.0.tables.iter().map(|table| ZeroPairs { sites: table.sites, pairs: table.pairs().collect() }).collect()
    }
}

impl TryFrom<Vec<ZeroPairs>> for StructuralZeros {
    type Error = String;

    fn try_from(all: Vec<ZeroPairs>) -> Result<Self, String> {
        let (mut tables, mut around) = (Vec::new(), Vec::<Vec<(usize, bool)>>::new());
        for (place, ZeroPairs { sites: [i, j], pairs }) in all.into_iter().enumerate() {
            let largest = |at: usize| pairs.iter().map(|pair| pair[at] as usize + 1).max().unwrap_or(0);
            let classes = [largest(0), largest(1)];
            // A damaged file may ask for any size.
            let cells = classes[0].checked_mul(classes[1]).filter(|&cells| cells <= 1 << 26 && j < 1 << 24);
            let Some(cells) = cells.filter(|_| i < j) else {
                return Err(format!("structural zeros of sites {i} and {j} with classes up to {classes:?}"));
            };
            let mut bits = vec![0u64; cells.div_ceil(64)];
            for [a, b] in pairs {
                set(&mut bits, a as usize * classes[1] + b as usize);
            }
            tables.push(Table { sites: [i, j], classes, bits });
            around.resize_with(around.len().max(j + 1), Vec::new);
            around[i].push((place, false));
            around[j].push((place, true));
        }
        Ok(Self(Arc::new(Tables { tables, around })))
    }
}

impl StructuralZeros {
    /// The pairs that no row has although at least so many rows would have them if sites were independent. `classes` are the numbers of classes of the
    /// sites, and `write` writes those of a row. None are found if `least` is 0, or rows and sites are too many to count pairs
    /// within seconds.
    pub fn find(classes: &[usize], rows: usize, least: f64, write: &mut dyn FnMut(usize, &mut [u32])) -> Self {
        let sites = classes.len();
        if least <= 0.0 || !Self::can_be_found(sites, rows) {
            return Self::default();
        }
        let mut counts: Vec<Vec<u64>> = classes.iter().map(|&n| vec![0; n]).collect();
        let mut seen: Vec<([usize; 2], Vec<u64>)> =
            in_order(sites).map(|(i, j)| ([i, j], vec![0; (classes[i] * classes[j]).div_ceil(64)])).collect();
        let mut row = vec![0; sites];
        for start in (0..rows).step_by(BLOCK) {
            let mut columns = vec![Vec::with_capacity(BLOCK); sites];
            for at in start..rows.min(start + BLOCK) {
                write(at, &mut row);
                columns.iter_mut().zip(&row).for_each(|(column, &class)| column.push(class as usize));
            }
            for (count, column) in counts.iter_mut().zip(&columns) {
                column.iter().for_each(|&class| count.get_mut(class).into_iter().for_each(|n| *n += 1));
            }
            seen.par_iter_mut().for_each(|([i, j], bits)| {
                for (&a, &b) in columns[*i].iter().zip(&columns[*j]) {
                    // A cell may have no class.
                    if a < classes[*i] && b < classes[*j] {
                        set(bits, a * classes[*j] + b);
                    }
                }
            });
        }
        let mut found: Vec<(f64, [usize; 2], [u32; 2])> = Vec::new();
        for ([i, j], bits) in &seen {
            let present = |site: usize| counts[site].iter().zip(0u32..).filter(|(n, _)| **n > 0);
            for (&n, a) in present(*i) {
                for (&m, b) in present(*j) {
                    let (cell, expected) = (a as usize * classes[*j] + b as usize, n as f64 * m as f64 / rows as f64);
                    if expected >= least && !is_set(bits, cell) {
                        found.push((expected, [*i, *j], [a, b]));
                    }
                }
            }
        }
        found.sort_by(|x, y| y.0.total_cmp(&x.0));
        found.truncate(MOST);
        found.sort_by_key(|&(_, sites, pair)| (sites, pair));
        let grouped = found.chunk_by(|x, y| x.1 == y.1);
        let grouped = grouped.map(|of| ZeroPairs { sites: of[0].1, pairs: of.iter().map(|one| one.2).collect() });
        grouped.collect::<Vec<_>>().try_into().expect("sites are in order, and their classes were counted")
    }

    /// Whether so many pairs of sites and rows are counted within seconds.
    pub(crate) fn can_be_found(sites: usize, rows: usize) -> bool {
        pair_count(sites).saturating_mul(rows) <= WORK
    }

    /// Number of pairs of classes.
    pub fn len(&self) -> usize {
        self.0.tables.iter().map(|table| table.pairs().count()).sum()
    }

    /// Number of sites up to the last one that is in a pair.
    pub fn sites(&self) -> usize {
        self.0.around.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.tables.is_empty()
    }

    /// Whether an item has none of the pairs. Sites that it lacks have none.
    pub fn allows(&self, ids: &[u32]) -> bool {
        !self.0.tables.iter().any(|table| table.is_zero(ids[table.sites[0]], ids[table.sites[1]]))
    }

    /// Number of pairs that a class of a site would be in, given the other sites.
    fn conflicts(&self, ids: &[u32], site: usize, class: u32) -> usize {
        let in_one = |&&(place, second): &&(usize, bool)| {
            let table = &self.0.tables[place];
            let other = ids[table.sites[usize::from(!second)]];
            if second { table.is_zero(other, class) } else { table.is_zero(class, other) }
        };
        self.0.around[site].iter().filter(in_one).count()
    }

    /// Changes classes one by one until an item has none of the pairs: each time the change that leaves fewest of them and, among those,
    /// the one with the largest `law[new] / law[old]`, where `law` has the probabilities of all classes, site by site. Only classes that are
    /// `open` are taken. Returns whether no pair is left.
    ///
    /// # Panics
    /// If the item has fewer sites than the pairs name.
    pub fn mend(&self, ids: &mut [u32], law: &[f64], open: impl Fn(usize, usize) -> bool) -> bool {
        let classes = law.len() / ids.len().max(1);
        let of = |site: usize, class: u32| law[site * classes + class as usize].max(LEAST);
        while !self.allows(ids) {
            let mut best: Option<(isize, f64, usize, u32)> = None;
            for site in 0..self.0.around.len() {
                let (own, before) = (ids[site], self.conflicts(ids, site, ids[site]));
                if before == 0 {
                    continue;
                }
                for class in (0..classes as u32).filter(|&class| class != own && open(site, class as usize)) {
                    let change = self.conflicts(ids, site, class) as isize - before as isize;
                    let cost = of(site, own) / of(site, class);
                    if change < 0 && best.is_none_or(|(most, least, ..)| (change, cost) < (most, least)) {
                        best = Some((change, cost, site, class));
                    }
                }
            }
            let Some((_, _, site, class)) = best else { return false };
            ids[site] = class;
        }
        true
    }
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

    #[test]
    fn they_are_written_and_read_and_damage_is_refused() {
        let text = serde_json::to_string(&zeros()).unwrap();
        assert_eq!(serde_json::from_str::<StructuralZeros>(&text).unwrap(), zeros());
        for bad in [
            r#"[{"sites":[1,1],"pairs":[[0,0]]}]"#,
            r#"[{"sites":[2,1],"pairs":[[0,0]]}]"#,
            r#"[{"sites":[0,1],"pairs":[[4000000000,4000000000]]}]"#,
            r#"[{"sites":[0,4000000000],"pairs":[[0,0]]}]"#,
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
