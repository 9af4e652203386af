//! Samples and estimates computed by several ranks.
//!
//! Items belong to their seed and index, so that every rank can compute a range of them; ranges begin where batches do, and what
//! all ranks get is what one process computes.
//!
//! # Examples
//! ```
//! use std::time::Duration;
//! use pushforward::burn::tensor::Device;
//! use pushforward::data::{Layout, Schema};
//! use pushforward::flow_map::{config::FlowMapConfig, network::NetworkConfig, sample::SampleRequest};
//! use pushforward::ranks::Ranks;
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::run::evaluate::Generates as _;
//! use pushforward::run::{Spread, TrainedFlowMap, site_shape};
//!
//! let (schema, device) = (Schema { sites: 3, classes: 5, layout: Layout::Table }, Device::flex());
//! let config: FlowMapConfig<NetworkConfig> = toml::from_str("network = { kind = 'mlp', width = 8 }")?;
//! let net = config.model(None).init(site_shape(&schema), &device, &mut stream(0, Purpose::Init, 0));
//! let model = TrainedFlowMap::new(config, net, schema, &device);
//! let request = SampleRequest { batch: 2, ..SampleRequest::map(7, 2, 0) };
//! let draw = |ranks: Ranks| Spread { model: &model, ranks: &ranks }.generate(&request, &mut |_| true).expect("both live");
//! let samples = std::thread::scope(|scope| {
//!     let running: Vec<_> =
//!         Ranks::threads(2, Duration::from_secs(60)).into_iter().map(|ranks| scope.spawn(|| draw(ranks))).collect();
//!     running.into_iter().map(|rank| rank.join().expect("no rank panics").ids).collect::<Vec<_>>()
//! });
//! let alone = model.sample(&request, &mut |_| true)?.ids;
//! assert_eq!(samples, [alone.clone(), alone]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::ops::Range;

use burn::tensor::Device;

use crate::flow_map::sample::{SampleRequest, Samples};
use crate::metrics::report::Row;
use crate::ranks::codec::{Reader, Writer};
use crate::ranks::{RankError, Ranks};
use crate::run::evaluate::generates::TOGETHER;
use crate::run::evaluate::{EvalRequest, Generates};
use crate::run::trained::RequestError;

/// A model whose items are computed by several ranks, each a range of them. All ranks ask for the same, and all get all items.
pub struct Spread<'a, G> {
    /// The model, the same on all ranks.
    pub model: &'a G,
    /// The ranks.
    pub ranks: &'a Ranks,
}

impl From<RankError> for RequestError {
    fn from(error: RankError) -> Self {
        Self(error.to_string())
    }
}

/// The range of `count` items that a rank computes, in whole batches.
pub fn own_items(ranks: &Ranks, count: usize, batch: usize) -> Range<usize> {
    let batch = batch.max(1);
    let batches = ranks.share(count.div_ceil(batch));
    (batches.start * batch).min(count)..(batches.end * batch).min(count)
}

/// Draws items by all ranks; `draw` gets the request of this rank's own.
///
/// # Errors
/// That of `draw`, or of messages.
pub fn drawn_together<E: From<RankError>>(
    ranks: &Ranks,
    request: &SampleRequest,
    draw: impl FnOnce(&SampleRequest) -> Result<Samples, E>,
) -> Result<Samples, E> {
    if ranks.size() == 1 {
        return draw(request);
    }
    let own = own_items(ranks, request.count, request.batch);
    let request = SampleRequest { count: own.len(), first: request.first + own.start as u64, ..request.clone() };
    let mut drawn = None;
    let all = ranks.each(|| {
        let samples = draw(&request);
        let bytes = samples.as_ref().ok().map(|found| {
            Writer::default().u32s(&found.ids).f32s(&found.endpoints).u64s(found.nfe.iter().copied()).bytes()
        });
        drawn = Some(samples);
        bytes.unwrap_or_default()
    });
    let samples = drawn.expect("the work was done")?;
    let mut whole = Samples { ids: Vec::new(), endpoints: Vec::new(), nfe: Vec::new(), ..samples };
    for bytes in whole_messages(all?)? {
        let mut reader = Reader::new(&bytes);
        whole.ids.extend(reader.u32s()?);
        whole.endpoints.extend(reader.f32s()?);
        whole.nfe.extend(reader.u64s()?);
    }
    Ok(whole)
}

/// Messages of ranks that have all done their work: one that failed sends nothing.
fn whole_messages(all: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, RankError> {
    match all.iter().position(Vec::is_empty) {
        Some(rank) => Err(RankError::Gone { rank }),
        None => Ok(all),
    }
}

impl<G: Generates> Generates for Spread<'_, G> {
    fn generate(
        &self,
        request: &SampleRequest,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Samples, RequestError> {
        drawn_together(self.ranks, request, |own| self.model.generate(own, progress))
    }

    fn labels_of(&self, request: &SampleRequest) -> Result<Vec<u32>, RequestError> {
        self.model.labels_of(request)
    }

    fn estimates(&self, draws: usize) -> Vec<(&'static str, String)> {
        self.model.estimates(draws)
    }

    fn nats(&self, which: usize, ids: &[u32], first: u64, request: &EvalRequest) -> Result<Vec<f64>, RequestError> {
        self.model.nats(which, ids, first, request)
    }

    fn all_nats(
        &self,
        which: usize,
        ids: &[u32],
        sites: usize,
        request: &EvalRequest,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f64>, RequestError> {
        let own = own_items(self.ranks, ids.len() / sites, TOGETHER);
        let mut found = Ok(Vec::new());
        let all = self.ranks.each(|| {
            found = self.model.some_nats(which, ids, sites, own, request, progress);
            found.as_ref().map_or_else(|_| Vec::new(), |nats| Writer::default().f64s(nats).bytes())
        });
        found?;
        let all = whole_messages(all?)?;
        let parts: Result<Vec<Vec<f64>>, RankError> = all.iter().map(|bytes| Reader::new(bytes).f64s()).collect();
        Ok(parts?.concat())
    }

    fn own_rows(&self, seed: u64) -> Vec<Row> {
        self.model.own_rows(seed)
    }

    fn device(&self) -> &Device {
        self.model.device()
    }
}
