//! Routes, and what surrounds them: limits, tokens, request ids, logs.

mod answer;
mod check;
mod guard;
mod routes;
mod send;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;

use pushforward::aef::ImageShape;
use pushforward::data::{DataConfig, Schema};
use tokio::sync::Semaphore;

pub(crate) use self::routes::*;
use crate::body::ModelInfo;
use crate::engine::Job;
use crate::items::Items;
use crate::metrics::Metrics;
use crate::settings::Settings;

/// What is known of a model without computing.
pub(crate) struct About {
    pub(crate) info: ModelInfo,
    pub(crate) schema: Schema,
    pub(crate) data: DataConfig,
    /// Shape of the images of an autoencoder.
    pub(crate) shape: Option<ImageShape>,
    /// Whether the model is an autoencoder whose prior is a flow map.
    pub(crate) mapped: bool,
    /// Whether the model is conditioned on labels.
    pub(crate) labels: usize,
    /// How often each label occurs in the training data, if that is known.
    pub(crate) label_counts: Vec<u64>,
}

/// What all requests share.
pub(crate) struct App {
    pub(crate) models: Vec<About>,
    pub(crate) items: Arc<dyn Items>,
    pub(crate) settings: Settings,
    pub(crate) metrics: Arc<Metrics>,
    /// Places of the queue that are free.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) jobs: SyncSender<Job>,
    /// Set when the server is to end.
    pub(crate) ending: AtomicBool,
}
