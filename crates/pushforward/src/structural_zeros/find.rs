//! The zeros and rare pairs of rows, by counting.

use rayon::prelude::*;

use super::{StructuralZeros, ZeroPairs, is_set, set, short};
use crate::node_pairs::{in_order, pair_count};

/// Most pairs of classes that are kept, those with the largest expectation.
const MOST: usize = 100_000;
/// Most products of rows and pairs of sites that are counted: some seconds.
const WORK: usize = 4_000_000_000;
/// Rows that are counted together.
const BLOCK: usize = 4096;
/// Most pairs of classes of two sites that are counted; of more, it is only known which occur.
const COUNTED: usize = 1 << 16;
/// Pairs that occur less often than this share of what is expected of independent columns are rare.
const RARE: f64 = 0.2;

/// How often classes of two sites occur together.
struct Together {
    sites: [usize; 2],
    cells: Cells,
}

enum Cells {
    Counts(Vec<u32>),
    Seen(Vec<u64>),
}

impl Together {
    fn new((i, j): (usize, usize), classes: &[usize]) -> Self {
        let cells = match classes[i] * classes[j] {
            n @ ..=COUNTED => Cells::Counts(vec![0; n]),
            n => Cells::Seen(vec![0; n.div_ceil(64)]),
        };
        Self { sites: [i, j], cells }
    }

    fn add(&mut self, cell: usize) {
        match &mut self.cells {
            Cells::Counts(counts) => counts[cell] = counts[cell].saturating_add(1),
            Cells::Seen(bits) => set(bits, cell),
        }
    }

    fn occurs(&self, cell: usize) -> bool {
        match &self.cells {
            Cells::Counts(counts) => counts[cell] > 0,
            Cells::Seen(bits) => is_set(bits, cell),
        }
    }

    /// The number of rows of a pair, if it is known.
    fn count(&self, cell: usize) -> Option<u32> {
        match &self.cells {
            Cells::Counts(counts) => Some(counts[cell]),
            Cells::Seen(_) => None,
        }
    }
}

/// Numbers of rows by class of two sites.
struct Marginals<'a> {
    counts: [&'a [u64]; 2],
    rows: f64,
    least: f64,
}

impl Marginals<'_> {
    fn expected(&self, a: usize, b: usize) -> f64 {
        self.counts[0][a] as f64 * self.counts[1][b] as f64 / self.rows
    }

    /// Whether a class of site `of` (0 or 1) occurs with some classes of the other one only: `count` has the rows that it shares with each.
    fn closed(&self, of: usize, count: impl Fn(usize) -> u32) -> bool {
        let others = self.counts[1 - of].iter().enumerate().filter(|(_, n)| **n > 0);
        // Rows of the class may have none at the other site.
        let (mut present, mut seen, mut with) = (0.0, 0, 0.0);
        for (other, &n) in others {
            present += 1.0;
            match count(other) {
                0 => {}
                1 => return false,
                both => (seen, with) = (seen + n, with + f64::from(both)),
            }
        }
        let share = (seen as f64 / self.rows).min(1.0);
        seen > 0 && -share.ln() * with >= self.least * present
    }
}

impl StructuralZeros {
    /// The pairs that never, or hardly ever, occur though `least` rows or more would have them if sites were independent, and the classes that
    /// occur with few others: see the [module](crate::structural_zeros). `classes` are the numbers of classes of the sites, and `write` writes those of
    /// a row. None are found if `least` is 0, or rows and sites are too many to count pairs within seconds; for two sites of more than
    /// 65,536 pairs, only those of the first line.
    pub fn find(classes: &[usize], rows: usize, least: f64, write: &mut dyn FnMut(usize, &mut [u32])) -> Self {
        let sites = classes.len();
        if least <= 0.0 || !Self::can_be_found(sites, rows) {
            return Self::default();
        }
        let mut counts: Vec<Vec<u64>> = classes.iter().map(|&n| vec![0; n]).collect();
        let mut tables: Vec<Together> = in_order(sites).map(|pair| Together::new(pair, classes)).collect();
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
            tables.par_iter_mut().for_each(|table| {
                let [i, j] = table.sites;
                for (&a, &b) in columns[i].iter().zip(&columns[j]) {
                    // A cell may have no class.
                    if a < classes[i] && b < classes[j] {
                        table.add(a * classes[j] + b);
                    }
                }
            });
        }
        let mut found: Vec<Found> = tables
            .par_iter()
            .flat_map_iter(|table| {
                let counts = table.sites.map(|site| &counts[site][..]);
                marked(table, &Marginals { counts, rows: rows as f64, least })
            })
            .collect();
        found.sort_by(|x, y| y.expected.total_cmp(&x.expected));
        found.truncate(MOST);
        found.sort_by_key(|one| (one.sites, one.pair));
        let grouped = found.chunk_by(|x, y| x.sites == y.sites).map(|of| ZeroPairs {
            sites: of[0].sites,
            pairs: of.iter().filter(|one| one.weight.is_none()).map(|one| one.pair).collect(),
            rare: of.iter().filter_map(|one| one.weight.map(|weight| (one.pair, weight))).collect(),
        });
        grouped.collect::<Vec<_>>().try_into().expect("sites are in order, and their classes were counted")
    }

    /// Whether so many pairs of sites and rows are counted within seconds.
    pub(crate) fn can_be_found(sites: usize, rows: usize) -> bool {
        pair_count(sites).saturating_mul(rows) <= WORK
    }
}

/// A zero, or with a weight a rare pair.
struct Found {
    expected: f64,
    sites: [usize; 2],
    pair: [u32; 2],
    weight: Option<f64>,
}

fn marked(table: &Together, of: &Marginals) -> Vec<Found> {
    let [rows, columns] = of.counts.map(<[u64]>::len);
    let count = |a: usize, b: usize| table.count(a * columns + b);
    let present = |site: usize| (0..of.counts[site].len()).filter(move |&class| of.counts[site][class] > 0);
    let closed = |site: usize, class: usize| {
        let with = |other: usize| if site == 0 { count(class, other) } else { count(other, class) };
        with(0).is_some() && of.closed(site, |other| with(other).unwrap_or(0))
    };
    let mut closed_at = [vec![false; rows], vec![false; columns]];
    for (site, closed_at) in closed_at.iter_mut().enumerate() {
        present(site).for_each(|class| closed_at[class] = closed(site, class));
    }
    let mut found = Vec::new();
    for a in present(0) {
        for b in present(1) {
            let (expected, occurs) = (of.expected(a, b), table.occurs(a * columns + b));
            // As many rows as that, or fewer, have a probability below `exp(-evidence)` by chance.
            let evidence = |n: f64| expected - n - if n > 0.0 { n * (expected / n).ln() } else { 0.0 };
            let zero = !occurs && (evidence(0.0) >= of.least || closed_at[0][a] || closed_at[1][b]);
            let rare = |&n: &f64| n < RARE * expected && evidence(n) >= of.least;
            let weight = count(a, b).filter(|_| occurs).map(f64::from).filter(rare).map(|n| short(n / expected));
            if zero || weight.is_some() {
                found.push(Found { expected, sites: table.sites, pair: [a as u32, b as u32], weight });
            }
        }
    }
    found
}
