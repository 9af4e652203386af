//! wNMIS: similarity of the mutual informations of pairs of columns, weighted by how much there is to get right.
//!
//! ```text
//! NMI(i, j) = 2 I(i, j) / (H(i) + H(j))
//! wNMIS     = 1 - sum w |NMI_real - NMI_synthetic| / sum w         w = NMI_real + NMI_synthetic, over pairs i > j
//! ```
//!
//! Trend weighs all pairs equally, so that the many pairs without dependence hide the few with it; here those count.
//! TabPC (2603.23016), by its code: numbers are in ten bins of equal width between the ends of the real column; those
//! outside are a class of their own, together with the missing ones, and a column of at most eleven different numbers
//! is not binned.

use rayon::prelude::*;

use super::columns::{Column, Columns};
use super::counting::Codes;
use super::marginals::{BINS, bin_edges};

/// The weighted similarity of the normalised mutual informations; 1 if they are equal, or if no columns depend on each
/// other in either table.
///
/// # Panics
/// If the tables differ in names, kinds or classes of columns.
///
/// ```
/// use pushforward::metrics::tables::{Column, Columns, wnmis};
/// let table = |b: [u32; 4]| {
///     let classes = |name: &str, ids: [u32; 4]| {
///         (name.to_owned(), Column::Categories { ids: ids.to_vec(), classes: 2, missing: None })
///     };
///     Columns::new(vec![classes("a", [0, 0, 1, 1]), classes("b", b)])
/// };
/// let (dependent, independent) = (table([0, 0, 1, 1]), table([0, 1, 0, 1]));
/// assert_eq!(wnmis(&dependent, &dependent), 1.0);
/// assert!(wnmis(&dependent, &independent).abs() < 1e-15);
/// ```
pub fn wnmis(real: &Columns, synthetic: &Columns) -> f64 {
    real.assert_like(synthetic);
    let [a, b] = [real, synthetic].map(|table| {
        let columns = table.columns().par_iter().zip(real.columns());
        let codes: Vec<Codes> = columns.map(|((_, column), (_, real))| codes(column, real)).collect();
        normalised(&codes)
    });
    let (error, weight) =
        a.iter().zip(&b).fold((0.0, 0.0), |(error, weight), (a, b)| (error + (a + b) * (a - b).abs(), weight + a + b));
    if weight == 0.0 { 1.0 } else { 1.0 - error / weight }
}

fn codes(column: &Column, real: &Column) -> Codes {
    let values = match column {
        Column::Categories { ids, classes, .. } => return Codes { ids: ids.clone(), classes: *classes },
        Column::Numbers(values) => values,
    };
    let mut distinct = values.clone();
    distinct.sort_unstable_by(f64::total_cmp);
    distinct.dedup_by(|a, b| a == b || a.is_nan() && b.is_nan());
    let Column::Numbers(real) = real else { unreachable!("the tables have the same kinds") };
    let edges = bin_edges(real).filter(|edges| distinct.len() > edges.len());
    let code = |v: f64| match &edges {
        None => distinct.partition_point(|&d| d < v),
        // Bins contain their upper ends, and the first one both.
        Some(edges) if (edges[0]..=edges[BINS]).contains(&v) => edges.partition_point(|&edge| edge < v).max(1),
        Some(_) => 0,
    };
    let classes = distinct.len().max(BINS + 1) + 1;
    let ids = values.iter().map(|&v| if v.is_nan() && edges.is_none() { classes - 1 } else { code(v) } as u32);
    Codes { ids: ids.collect(), classes }
}

/// The normalised mutual informations of all pairs of columns.
fn normalised(columns: &[Codes]) -> Vec<f64> {
    let counts: Vec<Vec<(u64, u64)>> = columns.iter().map(Codes::counts).collect();
    let entropies: Vec<f64> = counts.iter().map(|counts| entropy(counts)).collect();
    let pairs: Vec<(usize, usize)> = (0..columns.len()).flat_map(|i| (0..i).map(move |j| (i, j))).collect();
    pairs
        .into_par_iter()
        .map(|(i, j)| {
            let joint = entropy(&columns[i].pair_counts(&columns[j]));
            let (a, b) = (entropies[i], entropies[j]);
            // A constant column has no entropy, and no information about others.
            if a == 0.0 || b == 0.0 { 0.0 } else { 2.0 * (a + b - joint).max(0.0) / (a + b) }
        })
        .collect()
}

/// The entropy of the empirical law in nats.
fn entropy(counts: &[(u64, u64)]) -> f64 {
    let total = counts.iter().map(|&(_, n)| n).sum::<u64>() as f64;
    counts.iter().map(|&(_, n)| n as f64 / total).map(|p| -p * p.ln()).sum::<f64>() + 0.0
}

#[cfg(test)]
mod tests {
    use super::super::samples::{classes, mixed, numbers};
    use super::*;
    use crate::metrics::tables::independent;
    use crate::rng::{Purpose, stream};

    #[test]
    fn mutual_information_by_hand() {
        // A fair bit, and the same bit flipped in a quarter of the rows: I = ln 2 - H(1/4).
        let table =
            Columns::new(vec![classes("a", &[0, 0, 0, 0, 1, 1, 1, 1]), classes("b", &[0, 0, 0, 1, 1, 1, 1, 0])]);
        let both: Vec<Codes> = table.columns().iter().map(|(_, c)| codes(c, c)).collect();
        let h = -(0.25f64 * 0.25f64.ln() + 0.75 * 0.75f64.ln());
        let nmi = normalised(&both);
        assert!((nmi[0] - (2f64.ln() - h) / 2f64.ln()).abs() < 1e-12);
        // With equality in the other table, the error is 1 - NMI and the weight cancels.
        let equal = Columns::new(vec![table.columns()[0].clone(), classes("b", &[0, 0, 0, 0, 1, 1, 1, 1])]);
        assert!((wnmis(&table, &equal) - nmi[0]).abs() < 1e-12);
    }

    #[test]
    fn pairs_without_dependence_do_not_hide_the_others() {
        let real = mixed(4000, 0.0, 0);
        let drawn = independent(&real, 4000, &mut stream(0, Purpose::Metric, 0));
        assert_eq!(wnmis(&real, &real), 1.0);
        assert!(wnmis(&real, &drawn) < 0.7);
        assert!(wnmis(&real, &mixed(4000, 0.0, 1)) > 0.95);
    }

    #[test]
    fn few_numbers_are_classes_and_many_are_bins() {
        let column = |values: &[f64]| numbers("x", values).1;
        let few = column(&[3.0, 1.0, f64::NAN, 3.0]);
        assert_eq!(codes(&few, &few).ids[..2], [1, 0]);
        assert_eq!(codes(&few, &few).ids[0], codes(&few, &few).ids[3]);
        assert!(codes(&few, &few).ids[2] > 1);
        let real = column(&[0.0, 10.0]);
        let many: Vec<f64> = (-1..=12).map(f64::from).chain([f64::NAN, 0.5]).collect();
        assert_eq!(codes(&column(&many), &real).ids, [0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 0, 0, 1]);
    }
}
