//! What is asked of the engine, and what it answers.

use std::time::Instant;

use pushforward::aef::model::DrawRequest;
use pushforward::flow_map::likelihood::BoundRequest;
use pushforward::flow_map::sample::SampleRequest;
use pushforward::flow_map::steer::SteerRequest;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

/// A checked request for a model, given by its place in the list.
pub(crate) struct Job {
    pub(crate) model: usize,
    pub(crate) task: Task,
    /// Where the answer goes; closed when nobody waits for it any more.
    pub(crate) reply: UnboundedSender<Event>,
    /// When the request is given up.
    pub(crate) until: Instant,
    /// Its place in the queue.
    pub(crate) place: OwnedSemaphorePermit,
}

/// What is to be computed.
pub(crate) enum Task {
    /// Samples of a flow map, or of an autoencoder of categorical data.
    Sample(Box<SampleRequest>),
    /// Images of an autoencoder.
    Draw(DrawRequest),
    /// Samples of high reward, with the factor of the reward.
    Steer(Box<SteerRequest>, String, f64),
    /// A bound of the likelihood of items.
    Bound(Vec<u32>, BoundRequest),
    /// Log-densities of images as levels, with the number of draws and the seed.
    Densities(Vec<u8>, usize, u64),
    /// Codes of images as levels.
    Encode(Vec<u8>),
    /// Images of codes, which are base variables or latents.
    Decode(Vec<f32>, bool),
    /// Images from the latents of images as levels.
    Reconstruct(Vec<u8>),
    /// Codes of items.
    EncodeItems(Vec<u32>),
    /// Items of codes, which are base variables or latents, with their sizes.
    DecodeItems(Vec<f32>, bool, Vec<usize>),
    /// Items from the latents of items.
    ReconstructItems(Vec<u32>),
}

/// A part of an answer, or its end.
#[derive(Debug)]
pub(crate) enum Event {
    /// Finished items, in order.
    Items { ids: Vec<u32>, nfe: Vec<u64> },
    /// Images in data space, and their errors if they have originals.
    Pixels { pixels: Vec<f32>, errors: Vec<f64> },
    /// Items with their rewards, before and after steering.
    Steered { before: (Vec<u32>, Vec<f64>), after: (Vec<u32>, Vec<f64>, Vec<u64>) },
    /// Nats with their standard errors, and the estimator.
    Scores { nats: Vec<f64>, errors: Vec<f64>, estimator: String },
    /// Latents and base variables, one row an image.
    Codes { z: Vec<f32>, base: Vec<f32>, width: usize, sizes: Vec<usize> },
    /// Number of finished items.
    Progress(usize),
    /// The answer is complete.
    Done,
    /// There is no answer.
    Failed(Refusal),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request does not fit the model.
    Request(String),
    /// It took too long.
    Late,
    /// The computation failed.
    Failed(String),
}

impl Job {
    /// Whether somebody still waits for the answer.
    pub(crate) fn wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    /// Whether its time is over.
    pub(crate) fn late(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Sends a part of the answer; nobody may be there any more.
    pub(crate) fn send(&self, event: Event) {
        let _ = self.reply.send(event);
    }

    /// Ends the request.
    pub(crate) fn end(self, result: Result<(), Refusal>) {
        let Self { reply, place, .. } = self;
        // The place first: a client that has its answer may ask again at once.
        drop(place);
        let _ = reply.send(result.map_or_else(Event::Failed, |()| Event::Done));
    }
}
