//! The items of a batch during sampling: their random streams, their conditioning, and their final classes.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor};

use crate::flow_map::conditioning::Conditioning;
use crate::flow_map::interpolant::{Noise, source_tensor};
use crate::flow_map::sample::counts::draw_size;
use crate::flow_map::sample::request::{Generator, Item, LastStep, SampleRequest};
use crate::flow_map::sample::rules::Rules;
use crate::nn::SiteShape;
use crate::node_pairs::ABSENT;
use crate::rng::{Purpose, Stream, stream};
use crate::tensor::{argmax, from_f32, indices, to_host};

/// The items of a batch, each with two streams: one for the source, one for everything else that is random.
pub(in crate::flow_map) struct SampleBatch {
    noise: Noise,
    pub(in crate::flow_map) sites: SiteShape,
    pub(in crate::flow_map) streams: Vec<(Stream, Stream)>,
    pub(in crate::flow_map) conditioning: Conditioning,
    rules: Option<Arc<dyn Rules>>,
    /// Factors of final points, `[1, sites, classes]`.
    factors: Option<Tensor<3>>,
}

impl SampleBatch {
    pub(in crate::flow_map) fn new<N>(
        generator: &Generator<'_, N>,
        request: &SampleRequest,
        first: u64,
        count: usize,
    ) -> Self {
        let items: Vec<Item<'_>> = request.items(first..first + count as u64).collect();
        Self::of(generator, request, &items)
    }

    /// Some items, with the settings of a request whose own items do not matter.
    pub(in crate::flow_map) fn of<N>(
        generator: &Generator<'_, N>,
        request: &SampleRequest,
        addresses: &[Item<'_>],
    ) -> Self {
        let Generator { noise, sites, device, rules, .. } = generator.clone();
        let count = addresses.len();
        let open = |purpose, item: &Item<'_>| stream(item.seed, purpose, item.index);
        let streams: Vec<_> =
            addresses.iter().map(|item| (open(Purpose::Sample, item), open(Purpose::Renoise, item))).collect();
        let like = Tensor::<1>::zeros([1], &device.clone().without_autodiff());
        let size = |largest: usize, item: &Item<'_>| match item.size {
            Some(size) => size.min(largest),
            None => draw_size(&request.sizes, largest, &mut open(Purpose::Size, item)),
        };
        let graph = sites.as_graph();
        let sizes: Vec<usize> = sites
            .largest_size()
            .into_iter()
            .flat_map(|largest| addresses.iter().map(move |item| size(largest, item)))
            .collect();
        let conditioning =
            Conditioning::of_sizes(&sites, &sizes, &like).with_constraint(request.constraint.as_ref(), &like);
        let mut rows: Vec<&[Option<u32>]> = addresses.iter().filter_map(|item| Some(&item.observed?[..])).collect();
        // One row serves all items.
        if rows.iter().all(|row| std::ptr::eq(*row, rows[0])) {
            rows.truncate(1);
        }
        let conditioning = conditioning.with_observed(&sites, rows, &like);
        let conditioning = Conditioning { labels: labels(addresses, device), ..conditioning };
        let shape = [1, sites.count, sites.classes];
        let factors = generator.factors().map(|factors| from_f32(factors, shape, &like));
        let mut items = Self { noise, sites, streams, conditioning, rules, factors };
        if let Some(graph) = graph.filter(|_| request.diagonal_noise) {
            let shape = [count, graph.nodes, graph.edge_classes];
            let values = items.streams.iter_mut().flat_map(|(_, fresh)| fresh.normals(shape[1] * shape[2]));
            items.conditioning.diagonal_noise = Some(source_tensor(values.collect(), shape, device));
        }
        items
    }

    pub(in crate::flow_map) fn noise(&mut self, device: &Device, fresh: bool) -> Tensor<3> {
        self.noise_of(0..self.streams.len(), device, fresh)
    }

    /// The noise of a range of items: that of the source, or `fresh` noise.
    pub(in crate::flow_map) fn noise_of(&mut self, items: Range<usize>, device: &Device, fresh: bool) -> Tensor<3> {
        let (sites, source) = (self.sites.clone(), self.noise.source);
        let values = self.streams[items.clone()]
            .iter_mut()
            .flat_map(|(start, renoise)| source.draw_items(&sites, 1, if fresh { renoise } else { start }));
        let values: Vec<f32> = values.collect();
        let x0 = source_tensor(values, [items.len(), sites.count, sites.classes], device);
        self.noise.shape(x0, sites, &self.conditioning.slice(items))
    }

    /// Scales points of the source, and sets sites and classes that an item does not have to zero.
    pub(in crate::flow_map) fn scaled(&self, x0: Tensor<3>) -> Tensor<3> {
        self.noise.shape(x0, self.sites.clone(), &self.conditioning)
    }

    /// Class indices of the points at time 1.
    pub(in crate::flow_map) fn classes(&mut self, end: Tensor<3>, last: LastStep) -> Vec<u32> {
        let end = match &self.factors {
            Some(factors) => {
                let numbers = end.dtype();
                end * factors.clone().cast(numbers)
            }
            None => end,
        };
        let open = self.draw_mask(last);
        let law = self.rules.is_some().then(|| end.clone());
        let mut ids = self.classes_of(0..self.streams.len(), end, last, open.as_deref());
        self.mark_absent(&mut ids, 1);
        if let Some(law) = law {
            self.mend(&mut ids, law);
        }
        ids
    }

    /// Mends items for which the rules do not hold, by their endpoints.
    fn mend(&self, ids: &mut [u32], end: Tensor<3>) {
        let SiteShape { count: sites, classes, .. } = self.sites;
        let Some(rules) = &self.rules else { return };
        let holds: Vec<bool> = ids.chunks(sites).map(|item| rules.hold(item)).collect();
        if holds.iter().all(|&holds| holds) {
            return;
        }
        let open = to_host(&self.conditioning.mask_logits(end.zeros_like()));
        let (end, numbers) = (to_host(&end), sites * classes);
        let items = ids.chunks_mut(sites).zip(end.chunks(numbers)).zip(open.chunks(numbers)).zip(holds);
        for (((item, law), open), _) in items.filter(|(_, holds)| !holds) {
            rules.mend(item, law, &|site, class| open[site * classes + class] == 0.0);
        }
    }

    /// The constraint on the host, for [`classes_of`](Self::classes_of); `None` if classes are not drawn.
    pub(in crate::flow_map) fn draw_mask(&self, last: LastStep) -> Option<Vec<f64>> {
        self.conditioning.constraint.as_ref().filter(|_| last == LastStep::Draw).map(to_host)
    }

    /// Class indices of a range of items; absent sites are not marked.
    pub(in crate::flow_map) fn classes_of(
        &mut self,
        items: Range<usize>,
        end: Tensor<3>,
        last: LastStep,
        open: Option<&[f64]>,
    ) -> Vec<u32> {
        let sites = self.sites.clone();
        match last {
            LastStep::Argmax => argmax(self.conditioning.slice(items).mask_logits(end)),
            LastStep::Draw => {
                let host = to_host(&end);
                let items = host.chunks(sites.count * sites.classes).zip(&mut self.streams[items]);
                items.flat_map(|(item, (_, fresh))| draw_item(item, open, sites.classes, fresh)).collect()
            }
        }
    }

    /// Marks sites that items do not have as [`ABSENT`], for `copies` rows per item.
    pub(in crate::flow_map) fn mark_absent(&self, ids: &mut [u32], copies: usize) {
        let Some(present) = &self.conditioning.site_mask else { return };
        let sites = self.sites.count;
        for (there, rows) in to_host(present).chunks(sites).zip(ids.chunks_mut(copies * sites)) {
            for row in rows.chunks_mut(sites) {
                there.iter().zip(row).filter(|(there, _)| **there == 0.0).for_each(|(_, id)| *id = ABSENT);
            }
        }
    }
}

/// The labels of items; `None` if they have none.
fn labels(items: &[Item<'_>], device: &Device) -> Option<Tensor<1, Int>> {
    let labels: Vec<u32> = items.iter().filter_map(|item| item.label).collect();
    (!labels.is_empty()).then(|| indices(&labels, [labels.len()], device))
}

/// Draws a class for every site of an item from its endpoint, among the allowed classes.
pub(in crate::flow_map) fn draw_item(
    item: &[f64],
    open: Option<&[f64]>,
    classes: usize,
    stream: &mut Stream,
) -> Vec<u32> {
    let site = |(i, p): (usize, &[f64])| match open {
        None => draw_class(p, stream),
        Some(open) => {
            // After an adaptive sampler, forbidden classes have probabilities of the size of rounding errors.
            let open = &open[i * classes..(i + 1) * classes];
            let p: Vec<f64> = p.iter().zip(open).map(|(p, open)| p.max(0.0) * open).collect();
            // Where rounding has left an allowed class no probability at all, one that is allowed is taken nevertheless.
            if p.iter().any(|p| *p > 0.0) { draw_class(&p, stream) } else { draw_class(open, stream) }
        }
    };
    item.chunks(classes).enumerate().map(site).collect()
}

/// Draws a class with the given unnormalised probabilities.
pub(crate) fn draw_class(p: &[f64], stream: &mut Stream) -> u32 {
    let mut left = stream.uniform() * p.iter().sum::<f64>();
    let mut last = 0;
    for (k, &p) in p.iter().enumerate().filter(|(_, p)| **p > 0.0) {
        left -= p;
        last = k;
        if left < 0.0 {
            break;
        }
    }
    last as u32
}
