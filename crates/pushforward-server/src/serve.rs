//! Starts the server and ends it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use pushforward::data::Layout;
use pushforward::run::{Loaded, Model, Role};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::body::ModelInfo;
use crate::engine;
use crate::http::{About, App, router};
use crate::items::Items;
use crate::metrics::Metrics;
use crate::settings::Settings;

/// A model under the name that requests give.
#[derive(Debug)]
pub struct Served {
    /// The name.
    pub name: String,
    /// What the model is for.
    pub role: Role,
    /// The model.
    pub loaded: Loaded,
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Nobody could be kept out.
    #[error("{0} is no loopback address: a server that others reach needs a token")]
    NoToken(SocketAddr),
    /// The token is too easy to guess.
    #[error("the token has {0} bytes; at least 16 are needed, for example those of `openssl rand -hex 16`")]
    ShortToken(usize),
    /// The origin matches no page, or all of them.
    #[error(
        "{0:?} is no origin: give a scheme, a host and a port if it is not the usual one, as in https://example.org:8443"
    )]
    Origin(String),
    /// A model that draws nothing.
    #[error("the model {0} is a classifier: the server has flow maps and autoencoders")]
    Classifier(String),
    /// Two models would answer to one name.
    #[error("two models are named {0}")]
    Twice(String),
    /// There is no model.
    #[error("there is no model to serve")]
    NoModel,
    /// The address is taken, or not one of this machine.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The runtime of the connections failed.
    #[error("the connections failed: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Whether a text is an origin as browsers send it, without a path.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(known))
}

/// Shortest token in bytes.
const SHORTEST: usize = 16;
/// Time between two looks at `stop`.
const GLANCE: Duration = Duration::from_millis(50);
/// Longest time for the headers of a request to arrive, and for a connection without one.
const HEADERS: Duration = Duration::from_secs(20);
/// Threads of the connections; the computation has its own.
const THREADS: usize = 2;

/// Serves models until `stop` is true; what was accepted by then is answered. `on_listening` gets the address, with
/// the port that the system has chosen for port 0. The models compute on the calling thread.
///
/// # Errors
/// See [`ServeError`].
pub fn serve(
    models: Vec<Served>,
    items: Arc<dyn Items>,
    settings: Settings,
    stop: impl Fn() -> bool + Send + 'static,
    on_listening: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    if models.is_empty() {
        return Err(ServeError::NoModel);
    }
    match &settings.token {
        None if !settings.addr.ip().is_loopback() => return Err(ServeError::NoToken(settings.addr)),
        Some(token) if token.len() < SHORTEST => return Err(ServeError::ShortToken(token.len())),
        _ => {}
    }
    if let Some(origin) = settings.origin.as_ref().filter(|origin| !is_origin(origin)) {
        return Err(ServeError::Origin(origin.clone()));
    }
    let abouts = models.iter().map(about).collect::<Result<Vec<About>, _>>()?;
    if let Some(twice) = (1..abouts.len()).find(|&i| abouts[..i].iter().any(|a| a.info.name == abouts[i].info.name)) {
        return Err(ServeError::Twice(abouts[twice].info.name.clone()));
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_io().enable_time().build()?;
    let addr = settings.addr;
    let listener = runtime.block_on(TcpListener::bind(addr)).map_err(|source| ServeError::Listen { addr, source })?;
    let bound = listener.local_addr()?;
    let (jobs, queue) = sync_channel(settings.queue);
    let (batch, patience) = (settings.batch.max(1), settings.time + Duration::from_secs(5));
    let metrics = Arc::new(Metrics::default());
    let app = Arc::new(App {
        models: abouts,
        items,
        places: Arc::new(Semaphore::new(settings.queue)),
        metrics: Arc::clone(&metrics),
        settings,
        jobs,
        ending: AtomicBool::new(false),
    });
    let connections = thread::spawn(move || {
        runtime.block_on(connections(listener, app, stop, patience));
        runtime.shutdown_timeout(Duration::from_secs(1));
    });
    on_listening(bound);
    let models: Vec<Loaded> = models.into_iter().map(|served| served.loaded).collect();
    engine::run(&models, &queue, batch, &metrics);
    connections.join().map_err(|_| std::io::Error::other("the thread of the connections panicked").into())
}

/// Answers connections until `stop`, and then those that are open for at most `patience`.
async fn connections(
    listener: TcpListener,
    app: Arc<App>,
    stop: impl Fn() -> bool + Send + 'static,
    patience: Duration,
) {
    let (told, mut telling) = tokio::sync::watch::channel(false);
    let ending = Arc::clone(&app);
    let watch = async move {
        while !stop() {
            tokio::time::sleep(GLANCE).await;
        }
        ending.ending.store(true, Ordering::Relaxed);
        tracing::info!("the server ends: open requests are answered");
        let _ = told.send(true);
    };
    tokio::spawn(watch);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(app.settings.time.min(HEADERS));
    let (service, open) = (TowerToHyperService::new(router(app)), GracefulShutdown::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = telling.wait_for(|told| *told) => break,
        };
        let Ok((stream, _)) = accepted else {
            // The client is gone, or there are too many files, of which some will be closed.
            tokio::time::sleep(GLANCE).await;
            continue;
        };
        let connection = open.watch(builder.serve_connection(TokioIo::new(stream), service.clone()));
        // What goes wrong here is between this client and its connection.
        tokio::spawn(async move { drop(connection.await) });
    }
    drop(listener);
    let _ = tokio::time::timeout(patience, open.shutdown()).await;
}

/// What clients are told of a model.
fn about(served: &Served) -> Result<About, ServeError> {
    let Served { name, role, loaded } = served;
    let (run, schema) = (&loaded.run, &loaded.run.schema);
    let kind = match &schema.layout {
        Layout::Text { .. } => "text",
        Layout::Image { .. } => "image",
        Layout::Graph(layout) if layout.is_molecular() => "molecule",
        Layout::Graph(_) => "graph",
        Layout::Columns(_) => "table",
        Layout::Sequence(_) => "sequence",
        Layout::Table => "sites",
    };
    let size = if let Layout::Image { height, width } = schema.layout { Some([height, width]) } else { None };
    let mut info = ModelInfo {
        name: name.clone(),
        description: run.description.clone(),
        role: role.name().to_owned(),
        kind: kind.to_owned(),
        can: Vec::new(),
        sites: schema.sites,
        classes: schema.classes,
        size,
        latent: None,
        evaluations: true,
        labels: Vec::new(),
        told: false,
        sha256: run.sha256.clone(),
    };
    let (mut shape, mut labels, mut label_counts, mut mapped) = (None, 0, Vec::new(), false);
    let mut can = vec!["sample"];
    match &loaded.model {
        Model::FlowMap(model) => {
            can.extend(["steer", "score"]);
            info.told = model.config.condition.takes_any_subset();
            // Graphs and sequences have sites that an item may not have: what is missing there would have two meanings.
            let complete = !matches!(schema.layout, Layout::Graph(_) | Layout::Sequence(_));
            can.extend((info.told && complete).then_some("impute"));
            labels = model.net.label_count().unwrap_or(0);
            label_counts.clone_from(&model.label_counts);
            info.labels = if labels > 0 { run.label_names() } else { Vec::new() };
        }
        Model::Aef(model) => {
            shape = Some(model.shape);
            info.kind = "image".into();
            info.size = Some([model.shape.height, model.shape.width]);
            (info.sites, info.classes) = (model.shape.numel(), 256);
            info.latent = Some(engine::latent(model));
            mapped = model.net.prior_map().is_some();
            can = if model.net.generates() { vec!["sample", "steer", "score"] } else { Vec::new() };
            can.extend(["encode", "decode", "reconstruct"]);
        }
        Model::CategoricalAef(model) => {
            info.latent = Some(model.config.latent);
            mapped = model.net.map.is_some();
            can.extend(["steer", "score", "encode", "decode", "reconstruct"]);
        }
        Model::Classifier(_) => return Err(ServeError::Classifier(name.clone())),
    }
    info.evaluations = mapped || matches!(loaded.model, Model::FlowMap(_));
    info.can = can.into_iter().map(str::to_owned).collect();
    Ok(About { info, schema: schema.clone(), data: run.data.clone(), shape, mapped, labels, label_counts })
}

#[cfg(test)]
mod tests {
    use super::is_origin;

    #[test]
    fn origins_have_a_scheme_and_a_host_alone() {
        for text in ["https://example.org", "http://localhost:3000", "http://[::1]:80"] {
            assert!(is_origin(text), "{text}");
        }
        for text in ["*", "example.org", "https://", "https://example.org/", "https://example.org/page", "null"] {
            assert!(!is_origin(text), "{text}");
        }
    }
}
