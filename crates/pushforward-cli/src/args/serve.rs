//! Arguments of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{DeviceArgs, ranges};

#[derive(Args, Debug)]
#[command(
    after_help = "The page is at http://127.0.0.1:8080/, the endpoints are described at /openapi.json, their numbers at /metrics.\n\nExamples:\n  pushforward serve\n  pushforward serve glyphs runs/mine --addr 127.0.0.1:9000\n  pushforward serve glyphs --addr 0.0.0.0:8080 --token-file token.txt\n  curl -H 'Content-Type: application/json' -d '{\"model\": \"glyphs\", \"count\": 4, \"nfe\": 2}' http://127.0.0.1:8080/v1/sample"
)]
pub(crate) struct ServeArgs {
    /// Run folders, checkpoints or names of models [default: all models that come with the program].
    #[arg(value_name = "MODEL")]
    pub(crate) models: Vec<PathBuf>,
    /// Address to listen on; port 0 for a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) addr: SocketAddr,
    /// A file with a token that every request must bear; needed for addresses that others reach.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// An origin such as `https://example.org` whose pages may use the server.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Option<String>,
    /// Requests that wait or are computed at most; others are answered with 503 at once.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = ranges::count(ranges::TOGETHER))]
    pub(crate) queue: usize,
    /// Items computed together at most.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = ranges::count(ranges::TOGETHER))]
    pub(crate) batch: usize,
    /// Seconds after which a request is given up.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = ranges::positive)]
    pub(crate) time_limit: f64,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}
