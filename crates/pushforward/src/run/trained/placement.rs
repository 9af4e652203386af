//! Where the nodes of a part are that every graph of a sample keeps.
//!
//! A model of graphs whose nodes come in an order, such as that of canonical SMILES, has seen a part at some nodes and never at
//! others. What it is told must be where the data have it:
//!
//! ```text
//! p(n, a_1 ... a_k | part)  ~  p(n) prod_i p(node a_i | n, before) prod_e p(pair e of a_i | n, before)
//! ```
//!
//! for a part of k nodes, the i-th of which is node `a_i` of a graph of n nodes. Each factor is read off the endpoint at time 0 of what has
//! been told before; pairs without an edge come together, with the last edge of their node. Particles place one node after the other, and
//! are drawn anew by these factors (sequential Monte Carlo; Doucet, de Freitas and Gordon 2001). A graph that has the part several times
//! counts as often. Labels are not told meanwhile.

use crate::data::Layout;
use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::constraint::Constraint;
use crate::flow_map::sample::{ObservedRow, PLACE_NOISES, PLACES, SampleRequest, draw_class, draw_size};
use crate::flow_map::steer::weights::systematic;
use crate::node_pairs::pair_index;
use crate::rng::{Purpose, Stream, stream};
use crate::run::trained::RequestError;
use crate::run::trained::flow_map::TrainedFlowMap;

/// Least probability of a class, so that every particle goes on.
const LEAST: f64 = 1e-12;

/// A part of a graph under way.
#[derive(Clone)]
struct Particle {
    size: usize,
    nodes: Vec<usize>,
    told: ObservedRow,
}

impl<C: BackboneConfig> TrainedFlowMap<C> {
    /// The request with the part of its graphs told to the model at nodes where it belongs, and not fixed at the first ones.
    pub(super) fn placed(&self, mut request: SampleRequest) -> Result<SampleRequest, RequestError> {
        let (Some(part), Some(constraint), Layout::Graph(graph)) =
            (request.part.take(), request.constraint.clone(), &self.schema.layout)
        else {
            return Ok(request);
        };
        let missing =
            || RequestError("the part of a graph is fixed at its first nodes, with the pairs among them".into());
        let fixed = |site: usize| constraint.fixed().find(|(other, _)| *other == site).map(|(_, class)| class);
        let pair = |i: usize, j: usize| graph.nodes + pair_index(i.min(j), i.max(j), graph.nodes);
        let sizes: Vec<u64> =
            request.sizes.iter().zip(0..).map(|(&n, size)| if size < part.nodes { 0 } else { n }).collect();
        if part.nodes == 0 || part.nodes > graph.nodes {
            return Err(missing());
        }
        if sizes.iter().all(|&count| count == 0) {
            return Err(RequestError(format!("the part has {} nodes, more than the graphs asked for", part.nodes)));
        }
        let open = |index: usize| stream(request.seed, Purpose::Place, index as u64);
        let mut streams: Vec<Stream> = (0..PLACES).map(open).collect();
        let mut told = vec![None; self.schema.sites];
        part.otherwise.iter().flat_map(Constraint::fixed).for_each(|(site, class)| told[site] = Some(class));
        let permits = |node, class| part.otherwise.as_ref().is_none_or(|other| other.permits(node, class));
        let start = |stream: &mut Stream| Particle {
            size: draw_size(&sizes, graph.nodes, stream),
            nodes: Vec::new(),
            told: told.clone(),
        };
        let mut particles: Vec<Particle> = streams.iter_mut().map(start).collect();
        let (row, classes, mut rounds) = (self.schema.sites * self.schema.classes, self.schema.classes, PLACES..);
        let mut redrawn = |particles: Vec<Particle>, log_weights: &[f64]| {
            if log_weights.iter().all(|weight| *weight == f64::NEG_INFINITY) {
                return Err(RequestError("no node is left for the part beside the other constraints".into()));
            }
            let uniform = open(rounds.next().expect("rounds do not end")).uniform();
            let chosen = systematic(log_weights, PLACES, uniform);
            Ok(chosen.into_iter().map(|chosen| particles[chosen].clone()).collect::<Vec<Particle>>())
        };
        for i in 0..part.nodes {
            let class = fixed(i).ok_or_else(missing)?;
            let bonds = (0..i).map(|a| fixed(pair(a, i))).collect::<Option<Vec<u32>>>().ok_or_else(missing)?;
            let laws = self.laws_of(&particles, request.seed);
            let mut weights = Vec::with_capacity(PLACES);
            for ((particle, law), stream) in particles.iter_mut().zip(laws.chunks(row)).zip(&mut streams) {
                let p = |site: usize, class: u32| law[site * classes + class as usize].max(LEAST);
                let own = |node: usize| -> f64 {
                    let law = |site, bond| if permits(site, bond) { p(site, bond) } else { 0.0 };
                    particle.nodes.iter().zip(&bonds).map(|(&other, &bond)| law(pair(other, node), bond)).product()
                };
                let free =
                    |node: usize| node < particle.size && !particle.nodes.contains(&node) && permits(node, class);
                // The proposal knows the pairs only as if they did not depend on the node.
                let factor = |node: usize| if free(node) { p(node, class) * own(node) } else { 0.0 };
                let factors: Vec<f64> = (0..graph.nodes).map(factor).collect();
                let total: f64 = factors.iter().sum();
                if total == 0.0 {
                    weights.push(f64::NEG_INFINITY);
                    continue;
                }
                let node = draw_class(&factors, stream) as usize;
                weights.push((total / own(node)).ln());
                particle.told[node] = Some(class);
                particle.nodes.push(node);
            }
            particles = redrawn(particles, &weights)?;
            // Edges one after the other, and with the last of them all pairs that have none.
            let edges: Vec<usize> = (0..i).filter(|&a| bonds[a] != 0).collect();
            let last = edges.len().max(usize::from(i > 0));
            for round in 0..last {
                let now = |a: usize| edges.get(round) == Some(&a) || (round + 1 == last && bonds[a] == 0);
                let laws = self.laws_of(&particles, request.seed);
                let mut weights = Vec::with_capacity(PLACES);
                for (particle, law) in particles.iter_mut().zip(laws.chunks(row)) {
                    let sites =
                        (0..i).filter(|&a| now(a)).map(|a| (pair(particle.nodes[a], particle.nodes[i]), bonds[a]));
                    let sites: Vec<(usize, u32)> = sites.collect();
                    weights.push(
                        sites.iter().map(|&(site, bond)| law[site * classes + bond as usize].max(LEAST).ln()).sum(),
                    );
                    sites.into_iter().for_each(|(site, bond)| particle.told[site] = Some(bond));
                }
                particles = redrawn(particles, &weights)?;
            }
        }
        // Copies of a particle do not stand next to each other.
        let mut order = open(usize::MAX);
        let mut keyed: Vec<(f64, Particle)> =
            particles.into_iter().map(|particle| (order.uniform(), particle)).collect();
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        let particles: Vec<Particle> = keyed.into_iter().map(|(_, particle)| particle).collect();
        request.told_sizes = particles.iter().map(|particle| particle.size).collect();
        request.observed = particles.into_iter().map(|particle| particle.told).collect();
        request.constraint = part.otherwise;
        Ok(request)
    }

    /// The laws of the sites that each particle leaves open.
    fn laws_of(&self, particles: &[Particle], seed: u64) -> Vec<f64> {
        let (rows, sizes): (Vec<ObservedRow>, Vec<usize>) =
            particles.iter().map(|particle| (particle.told.clone(), particle.size)).unzip();
        self.laws(&rows, &sizes, PLACE_NOISES, seed, 0.0)
    }
}
