//! What every request passes: an id for the logs, the name of the host, the length of its body, and the token.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt as _;
use subtle::ConstantTimeEq as _;

use super::App;
use super::answer::Failure;

/// Number of requests so far; with the time of the start, their ids.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Paths whose numbers are counted by themselves; a static list, so that foreign paths make no new ones.
const PATHS: [&str; 15] = [
    "/",
    "/page.js",
    "/page.css",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/v1/models",
    "/v1/sample",
    "/v1/steer",
    "/v1/score",
    "/v1/impute",
    "/v1/encode",
    "/v1/decode",
    "/v1/reconstruct",
];

/// Gives the request an id, and logs and counts its answer. Nothing of its content is logged.
pub(crate) async fn watch(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let id = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    let path = PATHS.iter().find(|path| **path == request.uri().path()).copied().unwrap_or("other");
    let (method, start) = (request.method().clone(), Instant::now());
    let mut response = next.run(request).await;
    let (status, seconds) = (response.status().as_u16(), start.elapsed().as_secs_f64());
    app.metrics.answered(path, status, seconds);
    tracing::info!(request_id = id, method = %method, path, status, milliseconds = (seconds * 1e4).round() / 10.0);
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert("x-request-id", value);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Refuses requests under a foreign name of a loopback address: a page of the web could otherwise reach the server by a
/// name that it lets point there.
pub(crate) async fn host(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = if named.starts_with('[') {
        named.split_inclusive(']').next().unwrap_or_default()
    } else {
        named.split(':').next().unwrap_or_default()
    };
    let own = app.settings.addr.ip().to_string();
    let known = ["localhost", "127.0.0.1", "[::1]"].iter().any(|known| name.eq_ignore_ascii_case(known)) || name == own;
    if app.settings.addr.ip().is_loopback() && app.settings.token.is_none() && !known {
        let message = "the server listens on this machine only: call it by localhost or its address";
        return Failure::new(StatusCode::MISDIRECTED_REQUEST, message).response();
    }
    next.run(request).await
}

/// Time for a client to send a body.
const SENDING: Duration = Duration::from_secs(20);
/// How much longer than the limit a body may be that is still read to its end.
const DISCARDED: usize = 16;

/// Reads bodies, and refuses those that are too long or take too long. What exceeds the limit is read and thrown away:
/// a client that still sends when the connection closes may never see why it was refused.
pub(crate) async fn length(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let limit = app.settings.limits.body;
    let (parts, body) = request.into_parts();
    let mut chunks = body.into_data_stream();
    let reading = async {
        let (mut kept, mut length) = (Vec::new(), 0);
        while let Some(chunk) = chunks.next().await {
            let Ok(chunk) = chunk else {
                return Err(Failure::new(StatusCode::BAD_REQUEST, "the body ends before its announced length"));
            };
            length += chunk.len();
            if length <= limit {
                kept.extend_from_slice(&chunk);
            } else {
                kept = Vec::new();
                if length > DISCARDED * limit {
                    break;
                }
            }
        }
        if length > limit {
            let message = format!("the body has more than {limit} bytes: send fewer items at a time");
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        Ok(kept)
    };
    match tokio::time::timeout(SENDING, reading).await {
        Ok(Ok(kept)) => next.run(Request::from_parts(parts, Body::from(kept))).await,
        Ok(Err(failure)) => failure.response(),
        Err(_) => {
            let message = format!("the body did not arrive within {} seconds", SENDING.as_secs());
            Failure::new(StatusCode::REQUEST_TIMEOUT, message).response()
        }
    }
}

/// Refuses requests without the token, where there is one.
pub(crate) async fn token(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(token) = &app.settings.token else { return next.run(request).await };
    let given = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let given = given.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
    if bool::from(given.ct_eq(token)) {
        return next.run(request).await;
    }
    let message = "the server wants its token: send the header `Authorization: Bearer TOKEN`";
    Failure::new(StatusCode::UNAUTHORIZED, message).response()
}
