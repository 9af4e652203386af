//! Numbers for Prometheus.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// An endpoint, and the status of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    path: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Path {
    path: &'static str,
}

/// The numbers of a server.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answer, Counter>,
    seconds: Family<Path, Histogram>,
    batch_items: Histogram,
    batch_requests: Histogram,
    items: Counter,
    waiting: Gauge,
}

/// Bounds of the times, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
/// Bounds of the numbers of items.
const ITEMS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("pushforward");
        let requests = Family::<Answer, Counter>::default();
        registry.register("requests", "Requests by endpoint and status", requests.clone());
        let times: fn() -> Histogram = || Histogram::new(SECONDS);
        let seconds = Family::<Path, Histogram>::new_with_constructor(times);
        registry.register("request_seconds", "Seconds from a request to the beginning of its answer", seconds.clone());
        let (batch_items, batch_requests) = (Histogram::new(ITEMS), Histogram::new(ITEMS));
        registry.register("batch_items", "Items computed together", batch_items.clone());
        registry.register("batch_requests", "Requests computed together", batch_requests.clone());
        let (items, waiting) = (Counter::default(), Gauge::default());
        registry.register("items", "Items computed in batches", items.clone());
        registry.register("queue", "Requests that wait or are computed", waiting.clone());
        Self { registry, requests, seconds, batch_items, batch_requests, items, waiting }
    }
}

impl Metrics {
    /// Counts an answer.
    pub(crate) fn answered(&self, path: &'static str, status: u16, seconds: f64) {
        self.requests.get_or_create(&Answer { path, status }).inc();
        self.seconds.get_or_create(&Path { path }).observe(seconds);
    }

    /// Counts a batch.
    pub(crate) fn batch(&self, items: usize, requests: usize) {
        self.batch_items.observe(items as f64);
        self.batch_requests.observe(requests as f64);
        self.items.inc_by(items as u64);
    }

    /// The text of all numbers; `waiting` is that of the queue.
    pub(crate) fn text(&self, waiting: usize) -> String {
        self.waiting.set(waiting as i64);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes every line");
        text
    }
}
