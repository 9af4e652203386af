//! The way of a request through the queue, and of its parts back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::answer::Failure;
use super::{About, App};
use crate::engine::{Event, Job, Refusal, Task};

/// Time that the engine has to give up a request that is late.
const GRACE: Duration = Duration::from_secs(1);

/// The body of a request.
pub(super) fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Failure> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // Only JSON: pages of other origins can send other types without being asked for permission.
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let message = "bodies are JSON: send the header `Content-Type: application/json`";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Failure::request(error.to_string()),
        _ => Failure::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}")),
    })
}

impl App {
    /// A model by its name, and its place.
    pub(super) fn model(&self, name: &str) -> Result<(usize, &About), Failure> {
        self.models.iter().enumerate().find(|(_, about)| about.info.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.models.iter().map(|about| about.info.name.as_str()).collect();
            let message = format!("there is no such model; the models are {}", names.join(", "));
            Failure::new(StatusCode::NOT_FOUND, message)
        })
    }

    /// Puts a task into the queue, unless it is full; its parts come from the receiver. Where that is dropped, the task
    /// is given up.
    pub(super) fn submit(&self, model: usize, task: Task) -> Result<UnboundedReceiver<Event>, Failure> {
        if self.ending.load(Ordering::Relaxed) {
            return Err(Failure::busy("the server is about to end"));
        }
        let full = || Failure::busy("the server has as many requests as it can hold: try again in a second");
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| full())?;
        let (reply, events) = unbounded_channel();
        let job = Job { model, task, reply, until: Instant::now() + self.settings.time, place };
        self.jobs.try_send(job).map_err(|_| full())?;
        Ok(events)
    }
}

/// All parts of an answer.
#[derive(Default)]
pub(super) struct Whole {
    pub(super) ids: Vec<u32>,
    pub(super) nfe: Vec<u64>,
    pub(super) other: Option<Event>,
}

/// Waits for the whole answer, for as long as the server allows.
pub(super) async fn whole(app: &App, events: UnboundedReceiver<Event>) -> Result<Whole, Failure> {
    // The engine gives up late requests itself, but it may be busy with another one.
    let patience = app.settings.time + GRACE;
    tokio::time::timeout(patience, all(events)).await.unwrap_or_else(|_| Err(Refusal::Late.into()))
}

async fn all(mut events: UnboundedReceiver<Event>) -> Result<Whole, Failure> {
    let mut whole = Whole::default();
    while let Some(event) = events.recv().await {
        match event {
            Event::Items { ids, nfe } => {
                whole.ids.extend(ids);
                whole.nfe.extend(nfe);
            }
            Event::Progress(_) => {}
            Event::Done => return Ok(whole),
            Event::Failed(refusal) => return Err(refusal.into()),
            other => whole.other = Some(other),
        }
    }
    Err(gone())
}

/// The engine ended before the answer.
pub(super) fn gone() -> Failure {
    Failure::busy("the server has ended the request")
}
