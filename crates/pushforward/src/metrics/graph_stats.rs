//! Statistics of graphs, and the maximum mean discrepancy of two sets of graphs as the graph generation literature
//! reports it.
//!
//! ```text
//! degree       histogram of node degrees
//! clustering   histogram of local clustering coefficients, 100 bins of [0, 1]
//! spectrum     histogram of the eigenvalues of I - D^-1/2 A D^-1/2, 200 bins of [0, 2]
//! orbits       mean over nodes of the counts of the 15 orbits of connected induced subgraphs of 2 to 4 nodes
//! mmd          mean k(x, x') + mean k(y, y') - 2 mean k(x, y)             over all pairs, so that equal sets give 0
//! k(x, y)      exp(-tv(x, y)^2 / 2 sigma^2),   tv = 1/2 sum |x_i - y_i|    sigma: 1; clustering 0.1; orbits 30
//! ```
//!
//! You et al. 2018 (arXiv 1802.08773) introduced degrees, clustering and orbits; Liao et al. 2019 (arXiv 1910.00760)
//! added the spectrum and replaced the earth mover's distance by total variation, which is computed here. Orbits are
//! numbered as by Przulj (2007): 0 edge; 1, 2 path of three (end, middle); 3 triangle; 4, 5 path of four; 6, 7 star
//! (leaf, centre); 8 square; 9, 10, 11 triangle with a tail (tail, far corners, corner with the tail); 12, 13 square
//! with a diagonal (corner off it, on it); 14 complete. All are counted by enumerating connected induced subgraphs.
//!
//! # Examples
//! ```
//! use pushforward::metrics::graph_stats::{Graph, Statistic};
//! let (edge, triangle) = (Graph::new(2, [(0, 1)]), Graph::new(3, [(0, 1), (1, 2), (2, 0)]));
//! let describe = |graph: &Graph| vec![Statistic::Degree.describe(graph)];
//! // All degrees are 1 in one graph and 2 in the other: total variation 1.
//! let mmd = Statistic::Degree.mmd(&describe(&edge), &describe(&triangle));
//! assert!((mmd - (2.0 - 2.0 * (-0.5f64).exp())).abs() < 1e-12);
//! // Every statistic tells the two apart.
//! let apart = |statistic: Statistic| statistic.mmd(&[statistic.describe(&edge)], &[statistic.describe(&triangle)]);
//! assert!(Statistic::ALL.into_iter().all(|statistic| apart(statistic) > 1e-3));
//! ```

use faer::{Mat, Side};

/// Number of orbits of connected subgraphs of 2 to 4 nodes.
pub const ORBITS: usize = 15;
/// Bins of clustering coefficients.
const CLUSTERING_BINS: usize = 100;
/// Bins of eigenvalues.
const SPECTRUM_BINS: usize = 200;

/// An undirected graph without self-loops.
///
/// # Examples
/// ```
/// use pushforward::metrics::graph_stats::Graph;
/// let path = Graph::new(3, [(0, 1), (1, 2)]);
/// assert_eq!(path.degrees(), [0.0, 2.0, 1.0]);
/// assert_eq!(path.clustering(), [0.0; 3]);
/// assert!(path.spectrum().iter().zip([0.0, 1.0, 2.0]).all(|(found, exact)| (found - exact).abs() < 1e-12));
/// // Orbit 2 is the middle of a path of three.
/// assert_eq!(path.orbits()[1][2], 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// Neighbours of each node, in increasing order.
    neighbours: Vec<Vec<usize>>,
}

impl Graph {
    /// A graph of `nodes` nodes; an edge listed twice counts once.
    ///
    /// # Panics
    /// If an edge has an end that is not below `nodes`, or joins a node to itself.
    pub fn new(nodes: usize, edges: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut neighbours = vec![Vec::new(); nodes];
        for (a, b) in edges {
            assert!(a != b && a < nodes && b < nodes, "edge {a}-{b} is not between two different nodes of {nodes}");
            neighbours[a].push(b);
            neighbours[b].push(a);
        }
        for list in &mut neighbours {
            list.sort_unstable();
            list.dedup();
        }
        Self { neighbours }
    }

    fn nodes(&self) -> usize {
        self.neighbours.len()
    }

    fn joined(&self, a: usize, b: usize) -> bool {
        self.neighbours[a].binary_search(&b).is_ok()
    }

    /// Number of nodes of each degree, from degree 0.
    pub fn degrees(&self) -> Vec<f64> {
        let mut counts = vec![0.0; self.neighbours.iter().map(Vec::len).max().map_or(0, |d| d + 1)];
        self.neighbours.iter().for_each(|list| counts[list.len()] += 1.0);
        counts
    }

    /// The local clustering coefficient of each node: the share of its pairs of neighbours that are joined; 0 for fewer
    /// than two neighbours.
    pub fn clustering(&self) -> Vec<f64> {
        let coefficient = |list: &Vec<usize>| {
            let pairs = list.len() * list.len().saturating_sub(1) / 2;
            let joined = list.iter().enumerate().flat_map(|(i, &a)| list[..i].iter().map(move |&b| (a, b)));
            let joined = joined.filter(|&(a, b)| self.joined(a, b)).count();
            if pairs == 0 { 0.0 } else { joined as f64 / pairs as f64 }
        };
        self.neighbours.iter().map(coefficient).collect()
    }

    /// Eigenvalues of the normalised Laplacian, in increasing order; a node without neighbours contributes a zero.
    pub fn spectrum(&self) -> Vec<f64> {
        let n = self.nodes();
        if n == 0 {
            return Vec::new();
        }
        let degree = |i: usize| self.neighbours[i].len() as f64;
        let laplacian = Mat::from_fn(n, n, |i, j| {
            if i == j {
                if self.neighbours[i].is_empty() { 0.0 } else { 1.0 }
            } else if self.joined(i, j) {
                -1.0 / (degree(i) * degree(j)).sqrt()
            } else {
                0.0
            }
        });
        laplacian.self_adjoint_eigenvalues(Side::Lower).unwrap_or_else(|_| vec![f64::NAN; n])
    }

    /// Orbit counts of each node: how often it occupies each orbit of a connected induced subgraph of 2 to 4 nodes.
    pub fn orbits(&self) -> Vec<[u64; ORBITS]> {
        let mut counts = vec![[0; ORBITS]; self.nodes()];
        for first in 0..self.nodes() {
            let later: Vec<usize> = self.neighbours[first].iter().copied().filter(|&n| n > first).collect();
            self.extend(&mut vec![first], later, first, &mut counts);
        }
        counts
    }

    /// Enumerates every connected subgraph that extends `subgraph` by nodes after `first`, each once (Wernicke 2006,
    /// ESU): `candidates` are the nodes that may be added; adding one makes its new neighbours candidates.
    fn extend(
        &self,
        subgraph: &mut Vec<usize>,
        mut candidates: Vec<usize>,
        first: usize,
        counts: &mut [[u64; ORBITS]],
    ) {
        if subgraph.len() > 1 {
            self.place(subgraph, counts);
        }
        if subgraph.len() == 4 {
            return;
        }
        while let Some(next) = candidates.pop() {
            let fresh = |n: &usize| {
                *n > first && !subgraph.contains(n) && !subgraph.iter().any(|&member| self.joined(member, *n))
            };
            let mut further = candidates.clone();
            further.extend(self.neighbours[next].iter().copied().filter(fresh));
            subgraph.push(next);
            self.extend(subgraph, further, first, counts);
            subgraph.pop();
        }
    }

    /// Adds one subgraph to the counts of its nodes. Its kind follows from its numbers of nodes and edges, the orbit of
    /// a node from its degree in it.
    fn place(&self, subgraph: &[usize], counts: &mut [[u64; ORBITS]]) {
        let inside = |&a: &usize| subgraph.iter().filter(|&&b| a != b && self.joined(a, b)).count();
        let degrees: Vec<usize> = subgraph.iter().map(inside).collect();
        let edges = degrees.iter().sum::<usize>() / 2;
        let highest = degrees.iter().copied().max().unwrap_or(0);
        for (&node, &degree) in subgraph.iter().zip(&degrees) {
            let orbit = match (subgraph.len(), edges, highest, degree) {
                (2, ..) => 0,
                (3, 2, _, 1) => 1,
                (3, 2, ..) => 2,
                (3, ..) => 3,
                (4, 3, 2, 1) => 4,
                (4, 3, 2, _) => 5,
                (4, 3, _, 1) => 6,
                (4, 3, ..) => 7,
                (4, 4, 2, _) => 8,
                (4, 4, _, 1) => 9,
                (4, 4, _, 2) => 10,
                (4, 4, ..) => 11,
                (4, 5, _, 2) => 12,
                (4, 5, ..) => 13,
                _ => 14,
            };
            counts[node][orbit] += 1;
        }
    }
}

/// A statistic by which two sets of graphs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// Node degrees.
    Degree,
    /// Clustering coefficients.
    Clustering,
    /// Orbits in subgraphs of up to 4 nodes.
    Orbits,
    /// Eigenvalues of the normalised Laplacian.
    Spectrum,
}

impl Statistic {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Degree, Self::Clustering, Self::Orbits, Self::Spectrum];

    /// Its name, as in `mmd_<name>`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Degree => "degree",
            Self::Clustering => "clustering",
            Self::Orbits => "orbits",
            Self::Spectrum => "spectrum",
        }
    }

    /// Width of its kernel.
    fn sigma(self) -> f64 {
        match self {
            Self::Degree | Self::Spectrum => 1.0,
            Self::Clustering => 0.1,
            Self::Orbits => 30.0,
        }
    }

    /// Descriptor of one graph: a histogram of mass 1 or, for orbits, the mean counts.
    pub fn describe(self, graph: &Graph) -> Vec<f64> {
        match self {
            Self::Degree => normalised(graph.degrees()),
            Self::Clustering => histogram(&graph.clustering(), 1.0, CLUSTERING_BINS),
            Self::Spectrum => histogram(&graph.spectrum(), 2.0, SPECTRUM_BINS),
            Self::Orbits => {
                let counts = graph.orbits();
                let mean = |orbit: usize| counts.iter().map(|c| c[orbit] as f64).sum::<f64>() / counts.len() as f64;
                if counts.is_empty() { vec![0.0; ORBITS] } else { (0..ORBITS).map(mean).collect() }
            }
        }
    }

    /// Squared maximum mean discrepancy of two sets of descriptors; NaN if one is empty.
    pub fn mmd(self, x: &[Vec<f64>], y: &[Vec<f64>]) -> f64 {
        let kernel = |a: &[f64], b: &[f64]| (-tv(a, b).powi(2) / (2.0 * self.sigma().powi(2))).exp();
        let mean = |a: &[Vec<f64>], b: &[Vec<f64>]| {
            let sum: f64 = a.iter().map(|a| b.iter().map(|b| kernel(a, b)).sum::<f64>()).sum();
            sum / (a.len() * b.len()) as f64
        };
        mean(x, x) + mean(y, y) - 2.0 * mean(x, y)
    }
}

/// Half the sum of absolute differences; missing entries are zero.
fn tv(a: &[f64], b: &[f64]) -> f64 {
    let at = |v: &[f64], i: usize| v.get(i).copied().unwrap_or(0.0);
    0.5 * (0..a.len().max(b.len())).map(|i| (at(a, i) - at(b, i)).abs()).sum::<f64>()
}

/// Shares of values in equal bins of `[0, top]`; values outside count in the outermost bins.
fn histogram(values: &[f64], top: f64, bins: usize) -> Vec<f64> {
    let mut counts = vec![0.0; bins];
    for &value in values {
        // A value on a bound, up to rounding, belongs to the bin above it.
        let bin = (value / top * bins as f64 + 1e-9).floor().max(0.0) as usize;
        counts[bin.min(bins - 1)] += 1.0;
    }
    normalised(counts)
}

fn normalised(mut counts: Vec<f64>) -> Vec<f64> {
    let total: f64 = counts.iter().sum();
    if total > 0.0 {
        counts.iter_mut().for_each(|c| *c /= total);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    fn random(nodes: usize, share: f64, seed: u64) -> Graph {
        let mut r = stream(seed, Purpose::Metric, 0);
        let pairs = (0..nodes).flat_map(|i| (i + 1..nodes).map(move |j| (i, j)));
        Graph::new(nodes, pairs.filter(|_| r.uniform() < share).collect::<Vec<_>>())
    }

    fn complete(nodes: usize) -> Graph {
        random(nodes, 1.1, 0)
    }

    #[test]
    fn orbits_agree_with_all_subsets() {
        for seed in 0..20 {
            let graph = random(8, 0.15 + 0.03 * seed as f64, seed);
            let mut expected = vec![[0; ORBITS]; 8];
            for subset in 0u32..256 {
                let members: Vec<usize> = (0..8).filter(|i| subset >> i & 1 == 1).collect();
                if !(2..=4).contains(&members.len()) {
                    continue;
                }
                // Connected: everything is reached from the first member.
                let mut reached = vec![members[0]];
                let mut at = 0;
                while at < reached.len() {
                    let more = members.iter().filter(|&&m| graph.joined(reached[at], m) && !reached.contains(&m));
                    let more: Vec<usize> = more.copied().collect();
                    reached.extend(more);
                    at += 1;
                }
                if reached.len() == members.len() {
                    graph.place(&members, &mut expected);
                }
            }
            assert_eq!(graph.orbits(), expected, "seed {seed}");
        }
    }

    #[test]
    fn orbits_by_hand() {
        // A triangle 0, 1, 2 with a tail 3 at node 2.
        let counts = Graph::new(4, [(0, 1), (1, 2), (2, 0), (2, 3)]).orbits();
        let mut far = [0; ORBITS];
        (far[0], far[1], far[3], far[10]) = (2, 1, 1, 1);
        let mut corner = [0; ORBITS];
        (corner[0], corner[2], corner[3], corner[11]) = (3, 2, 1, 1);
        let mut tail = [0; ORBITS];
        (tail[0], tail[1], tail[9]) = (1, 2, 1);
        assert_eq!(counts, [far, far, corner, tail]);
        let square = Graph::new(4, [(0, 1), (1, 2), (2, 3), (3, 0)]).orbits();
        assert_eq!((square[0][0], square[0][1], square[0][2], square[0][8]), (2, 2, 1, 1));
        assert!(complete(4).orbits().iter().all(|c| (c[0], c[3], c[14]) == (3, 3, 1)));
    }

    #[test]
    fn spectra_and_clustering_in_closed_form() {
        // K_n: 0 once and n / (n - 1) otherwise; the path of three: 0, 1, 2.
        let spectrum = complete(5).spectrum();
        let expected = [0.0, 1.25, 1.25, 1.25, 1.25];
        assert!(spectrum.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{spectrum:?}");
        let path = Graph::new(3, [(0, 1), (1, 2)]);
        assert!(path.spectrum().iter().zip([0.0, 1.0, 2.0]).all(|(a, b)| (a - b).abs() < 1e-12));
        assert_eq!(path.clustering(), [0.0; 3]);
        assert_eq!(complete(4).clustering(), [1.0; 4]);
        assert_eq!(path.degrees(), [0.0, 2.0, 1.0]);
        assert_eq!(Graph::new(2, []).spectrum(), [0.0; 2]);
    }

    #[test]
    fn discrepancy_in_closed_form() {
        // Degree histograms of an edge (all of degree 1) and of a triangle (all of degree 2) are at total variation 1.
        let (edge, triangle) = (Graph::new(2, [(0, 1)]), complete(3));
        let describe = |g: &Graph| vec![Statistic::Degree.describe(g)];
        let mmd = Statistic::Degree.mmd(&describe(&edge), &describe(&triangle));
        assert!((mmd - (2.0 - 2.0 * (-0.5f64).exp())).abs() < 1e-12, "{mmd}");
        for statistic in Statistic::ALL {
            let set: Vec<Vec<f64>> = (0..10).map(|seed| statistic.describe(&random(9, 0.3, seed))).collect();
            assert!(statistic.mmd(&set, &set).abs() < 1e-12);
            let other: Vec<Vec<f64>> = (0..10).map(|seed| statistic.describe(&random(9, 0.7, 90 + seed))).collect();
            assert!(statistic.mmd(&set, &other) > 1e-3, "{statistic:?}");
            assert!(statistic.mmd(&set, &[]).is_nan());
        }
    }
}
