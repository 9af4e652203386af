//! The page, which is part of the program and uses nothing from elsewhere.

use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::http::typed;

/// The page may load its own files and pictures that it makes, and talk to its own server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn html() -> Response {
    let mut response = typed("text/html; charset=utf-8", include_str!("page/page.html"));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

pub(crate) async fn script() -> Response {
    typed("text/javascript; charset=utf-8", include_str!("page/page.js"))
}

pub(crate) async fn style() -> Response {
    typed("text/css; charset=utf-8", include_str!("page/page.css"))
}
