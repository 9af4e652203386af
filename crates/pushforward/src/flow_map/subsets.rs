//! Random subsets of the sites of an item: what a model that is told any subset sees in training.
//!
//! ```text
//! independent   every site with a probability that is uniform on [0, 1]
//! prefix        the first sites; their number is uniform on 0 to sites - 1
//! block         all sites but a run, or the run alone; of images, all pixels but a rectangle, or the rectangle alone
//! half          of an image, what lies on one side of a straight line along a row or column
//! part          of a graph, nodes that hang together and the pairs among them
//! ```
//!
//! # Examples
//! ```
//! use pushforward::flow_map::subsets::Subsets;
//! use pushforward::nn::SiteShape;
//! use pushforward::rng::{Purpose, stream};
//!
//! let (sites, item) = (SiteShape::line(6, 3), [0, 1, 2, 0, 1, 2]);
//! let shown = Subsets::Prefix.draw(&sites, &item, &mut stream(0, Purpose::Condition, 0));
//! let length = shown.iter().take_while(|&&shown| shown).count();
//! assert!(length < 6 && shown[length..].iter().all(|&shown| !shown));
//! ```

use serde::{Deserialize, Serialize};

use crate::nn::graph::GraphShape;
use crate::nn::{Arrangement, SiteShape};
use crate::node_pairs::{ABSENT, in_order, pair_index};
use crate::rng::Stream;
use crate::setting::{SettingError, require};

/// A law of random subsets of sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subsets {
    /// Each of the laws that the arrangement of the sites has, equally often.
    #[default]
    Mixed,
    /// Sites independently of each other; of graphs, nodes independently of each other, with the pairs among them.
    Independent,
    /// The first sites of a sequence.
    Prefix,
    /// All but a run or rectangle, or it alone.
    Block,
    /// One side of an image.
    Half,
    /// Nodes of a graph that hang together, with the pairs among them.
    Part,
}

impl Subsets {
    /// The laws that an arrangement has.
    fn of(sites: &SiteShape) -> &'static [Self] {
        match sites.arrangement {
            Arrangement::Line | Arrangement::Record => &[Self::Independent, Self::Prefix, Self::Block],
            Arrangement::Grid(_) => &[Self::Independent, Self::Block, Self::Half],
            Arrangement::Graph(_) => &[Self::Independent, Self::Part],
            Arrangement::Columns(_) => &[Self::Independent],
        }
    }

    /// Checks that sites of this arrangement have the law.
    ///
    /// # Errors
    /// Names the laws that they have.
    pub fn check(self, sites: &SiteShape) -> Result<(), SettingError> {
        let laws = Self::of(sites);
        let names: Vec<String> = laws.iter().map(|law| format!("{law:?}").to_lowercase()).collect();
        let problem = format!("must be mixed, or for these data one of: {}", names.join(", "));
        require(self == Self::Mixed || laws.contains(&self), "subsets", problem)
    }

    /// Draws a subset of the sites of an item, which is never all of them: true for sites that are shown.
    ///
    /// # Panics
    /// If the arrangement does not have the law; see [`Subsets::check`].
    pub fn draw(self, sites: &SiteShape, item: &[u32], stream: &mut Stream) -> Vec<bool> {
        let laws = Self::of(sites);
        let law = if self == Self::Mixed { laws[stream.below(laws.len())] } else { self };
        // Of a record, the sites after its last letter are not shown.
        let n = if sites.arrangement == Arrangement::Record {
            item.iter().filter(|&&id| id != ABSENT).count()
        } else {
            sites.count
        };
        let mut shown = match (law, &sites.arrangement) {
            (Self::Independent | Self::Part, Arrangement::Graph(graph)) => part(*graph, item, law, stream),
            (Self::Independent, _) => {
                let rate = stream.uniform();
                (0..n).map(|_| stream.uniform() < rate).collect()
            }
            (Self::Prefix, _) => {
                let length = stream.below(n.max(1));
                (0..n).map(|site| site < length).collect()
            }
            (Self::Block | Self::Half, Arrangement::Grid([height, width])) => {
                let [rows, columns] = if law == Self::Half {
                    half([*height, *width], stream)
                } else {
                    [*height, *width].map(|size| run(size, stream))
                };
                let inside = stream.uniform() < 0.5;
                let within = |site: usize| rows.contains(&(site / width)) && columns.contains(&(site % width));
                (0..n).map(|site| within(site) == inside).collect()
            }
            (Self::Block, _) => {
                let (block, inside) = (run(n.max(1), stream), stream.uniform() < 0.5);
                (0..n).map(|site| block.contains(&site) == inside).collect()
            }
            (Self::Half | Self::Part | Self::Mixed, _) => panic!("sites arranged as {sites:?} have no subsets {law:?}"),
        };
        shown.resize(sites.count, false);
        if shown.iter().zip(item).all(|(&shown, &id)| shown || id == ABSENT) {
            // Nothing would be left to generate.
            shown.fill(false);
        }
        shown
    }
}

/// A run of 1 to `n` places.
fn run(n: usize, stream: &mut Stream) -> std::ops::Range<usize> {
    let length = 1 + stream.below(n);
    let start = stream.below(n - length + 1);
    start..start + length
}

/// The rows and columns of one side of an image: half of it every second time, else any part.
fn half([height, width]: [usize; 2], stream: &mut Stream) -> [std::ops::Range<usize>; 2] {
    let along_rows = stream.uniform() < 0.5;
    let size = if along_rows { height } else { width };
    let cut = if stream.uniform() < 0.5 { size / 2 } else { stream.below(size) };
    if along_rows { [0..cut, 0..width] } else { [0..height, 0..cut] }
}

/// Nodes of a graph and the pairs among them: nodes independently of each other, or nodes that hang together.
fn part(graph: GraphShape, item: &[u32], law: Subsets, stream: &mut Stream) -> Vec<bool> {
    let nodes: Vec<usize> = (0..graph.nodes).filter(|&node| item[node] != ABSENT).collect();
    let mut chosen = vec![false; graph.nodes];
    if law == Subsets::Independent {
        let rate = stream.uniform();
        nodes.iter().for_each(|&node| chosen[node] = stream.uniform() < rate);
    } else if !nodes.is_empty() {
        // Class 0 of a pair is the absence of an edge.
        let edge =
            |i: usize, j: usize| !matches!(item[graph.nodes + pair_index(i.min(j), i.max(j), graph.nodes)], 0 | ABSENT);
        let size = stream.below(nodes.len());
        for _ in 0..size {
            let near = |node: &&usize| chosen.iter().enumerate().any(|(other, &there)| there && edge(**node, other));
            let left: Vec<usize> = nodes.iter().filter(|&&node| !chosen[node]).copied().collect();
            let next: Vec<usize> = left.iter().filter(near).copied().collect();
            // The first node, or one of another component.
            let next = if next.is_empty() { left } else { next };
            chosen[next[stream.below(next.len())]] = true;
        }
    }
    let pairs: Vec<bool> = in_order(graph.nodes).map(|(i, j)| chosen[i] && chosen[j]).collect();
    [chosen, pairs].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    fn many(law: Subsets, sites: &SiteShape, item: &[u32]) -> Vec<Vec<bool>> {
        (0..2000).map(|i| law.draw(sites, item, &mut stream(0, Purpose::Condition, i))).collect()
    }

    #[test]
    fn something_is_always_left_and_every_site_is_shown_and_hidden_often() {
        let graph = GraphShape { nodes: 4, node_classes: 2, edge_classes: 2 };
        let shapes = [
            (SiteShape::line(5, 3), vec![0; 5]),
            (SiteShape::record(7, 3), vec![0, 1, 2, 0, 1, ABSENT, ABSENT]),
            (SiteShape::image([3, 4], 2), vec![0; 12]),
            (SiteShape::graph(graph), vec![0, 1, 0, ABSENT, 1, 0, ABSENT, 1, ABSENT, ABSENT]),
            (SiteShape::columns(&[2, 5, 3]), vec![0, 4, 2]),
        ];
        for (sites, item) in &shapes {
            for &law in Subsets::of(sites).iter().chain([&Subsets::Mixed]) {
                let drawn = many(law, sites, item);
                for site in (0..sites.count).filter(|&site| item[site] != ABSENT) {
                    let share = drawn.iter().filter(|shown| shown[site]).count() as f64 / 2000.0;
                    // The last site of a line is no part of a prefix. Nodes 0 and 2 of the graph do not hang together, and with
                    // node 1 between them nothing would be left.
                    let never = matches!((law, site), (Subsets::Prefix, 4) | (Subsets::Part, 5));
                    let expected = if never { 0.0..=0.0 } else { 0.02..=0.95 };
                    assert!(expected.contains(&share), "{sites:?} {law:?} {site}: {share}");
                }
                let hidden = |shown: &Vec<bool>| shown.iter().zip(item).any(|(&s, &id)| !s && id != ABSENT);
                assert!(drawn.iter().all(hidden), "{sites:?} {law:?}");
            }
        }
    }

    #[test]
    fn parts_of_a_graph_hang_together_and_show_the_pairs_among_their_nodes() {
        // A path 0 - 1 - 2 - 3.
        let graph = GraphShape { nodes: 4, node_classes: 1, edge_classes: 2 };
        let item = [0, 0, 0, 0, 1, 0, 0, 1, 0, 1];
        for shown in many(Subsets::Part, &SiteShape::graph(graph), &item) {
            let nodes: Vec<usize> = (0..4).filter(|&node| shown[node]).collect();
            assert!(nodes.windows(2).all(|pair| pair[1] == pair[0] + 1), "{shown:?}");
            for (place, (i, j)) in in_order(4).enumerate() {
                assert_eq!(shown[4 + place], shown[i] && shown[j]);
            }
        }
    }

    #[test]
    fn laws_of_another_arrangement_are_refused() {
        assert!(Subsets::Half.check(&SiteShape::image([2, 2], 2)).is_ok());
        let error = Subsets::Half.check(&SiteShape::line(4, 2)).unwrap_err().to_string();
        assert!(error.contains("independent, prefix, block"), "{error}");
    }
}
