//! Settings of the server, with the limits of every field of a request.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Limits of requests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most items of a request.
    pub count: usize,
    /// Most network evaluations of an item.
    pub nfe: usize,
    /// Most particles of a population.
    pub particles: usize,
    /// Most network evaluations of all items and particles of a request.
    pub evaluations: usize,
    /// Most bytes of a body.
    pub body: usize,
    /// Most characters of a text, reward or fragment.
    pub text: usize,
    /// Most draws of an item's score.
    pub draws: usize,
    /// Largest index of an item; numbers above are not exact in JavaScript.
    pub first: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            count: 256,
            nfe: 64,
            particles: 64,
            evaluations: 1 << 14,
            body: 1 << 20,
            text: 4096,
            draws: 64,
            first: (1 << 53) - 1,
        }
    }
}

/// Settings of the server.
#[derive(Clone)]
pub struct Settings {
    /// Address to listen on.
    pub addr: SocketAddr,
    /// Token that requests must bear; `None` for none, on a loopback address only.
    pub token: Option<Vec<u8>>,
    /// Another origin whose pages may use the server.
    pub origin: Option<String>,
    /// Most requests that wait or are computed.
    pub queue: usize,
    /// Most items of a batch; 0 is taken as 1.
    pub batch: usize,
    /// Time after which a request is given up.
    pub time: Duration,
    /// Limits of requests.
    pub limits: Limits,
}

impl Settings {
    /// Default settings for an address.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            token: None,
            origin: None,
            queue: 64,
            batch: 64,
            time: Duration::from_secs(30),
            limits: Limits::default(),
        }
    }
}

/// Without the token, which belongs in no log.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addr, token, origin, queue, batch, time, limits } = self;
        f.debug_struct("Settings")
            .field("addr", addr)
            .field("token", &token.as_ref().map(|_| "(hidden)"))
            .field("origin", origin)
            .field("queue", queue)
            .field("batch", batch)
            .field("time", time)
            .field("limits", limits)
            .finish()
    }
}
