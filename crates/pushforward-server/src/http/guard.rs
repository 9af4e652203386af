//! What every request passes: an id for the logs, the name of the host, and the token.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
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
    let known = ["localhost", "127.0.0.1", "[::1]"].contains(&name) || name == own;
    if app.settings.addr.ip().is_loopback() && app.settings.token.is_none() && !known {
        let message = "the server listens on this machine only: call it by localhost or its address";
        return Failure::new(StatusCode::MISDIRECTED_REQUEST, message).response();
    }
    next.run(request).await
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
