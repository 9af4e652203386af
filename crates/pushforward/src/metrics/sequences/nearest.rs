//! How near sequences are to the nearest of others: near one is a copy.

use rayon::prelude::*;

/// Identity of two sequences: of equal length, the share of positions with equal letters; else one minus the edit distance
/// over the length of the longer.
///
/// # Examples
/// ```
/// use pushforward::metrics::sequences::identity;
/// assert_eq!((identity(&[0, 1, 2, 3], &[0, 1, 2, 0]), identity(&[0, 1, 2, 3], &[1, 2, 3])), (0.75, 0.75));
/// ```
pub fn identity(a: &[u32], b: &[u32]) -> f64 {
    let longest = a.len().max(b.len());
    if longest == 0 {
        return 1.0;
    }
    if a.len() == b.len() {
        return a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / longest as f64;
    }
    1.0 - edit_distance(a, b) as f64 / longest as f64
}

/// Fewest letters that are replaced, inserted or deleted to make `b` of `a`.
fn edit_distance(a: &[u32], b: &[u32]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

/// Identity of each sequence with the nearest of the others; zero if there are no others.
///
/// # Examples
/// ```
/// use pushforward::metrics::sequences::nearest_identity;
/// let train = [&[0, 0, 0][..], &[1, 1, 1]];
/// assert_eq!(nearest_identity(&[&[0, 0, 0][..], &[1, 1, 0]], &train), [1.0, 2.0 / 3.0]);
/// ```
pub fn nearest_identity<S: AsRef<[u32]> + Sync, R: AsRef<[u32]> + Sync>(sequences: &[S], others: &[R]) -> Vec<f64> {
    let one = |sequence: &S| {
        let a = sequence.as_ref();
        others.iter().fold(0.0f64, |best, other| {
            let b = other.as_ref();
            // As many letters as the lengths differ by are inserted at least.
            let most = a.len().min(b.len()) as f64 / a.len().max(b.len()).max(1) as f64;
            if most <= best { best } else { best.max(identity(a, b)) }
        })
    };
    sequences.par_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        let of = |a: &str, b: &str| {
            let ids = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();
            edit_distance(&ids(a), &ids(b))
        };
        assert_eq!((of("kitten", "sitting"), of("", "abc"), of("abc", "abc"), of("flaw", "lawn")), (3, 3, 0, 2));
    }
}
