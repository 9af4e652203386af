//! Answers that are no success, and what a client accepts.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::body::Problem;
use crate::engine::Refusal;

/// An answer other than success.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// A request that is wrong in itself.
    pub(crate) fn request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    pub(crate) fn response(self) -> Response {
        let mut response = json(&Problem { error: self.message });
        *response.status_mut() = self.status;
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Request(message) => Self::request(message),
            Refusal::Late => Self::busy("the request took longer than the server allows: ask for less, or later"),
            Refusal::Failed(message) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, message),
        }
    }
}

/// A body with its type.
pub(crate) fn typed(kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(crate) fn json(value: &impl Serialize) -> Response {
    typed("application/json", serde_json::to_vec(value).expect("answers are numbers, names and lists of these"))
}

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Png,
    Svg,
    Events,
}

/// The form that a client prefers, of those that an answer has; the first one that it names with the highest weight.
pub(crate) fn form(headers: &HeaderMap, has: &[Form]) -> Result<Form, Failure> {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut best: Option<(f64, Form)> = None;
    let mut named = false;
    for range in accepted.flat_map(|value| value.split(',')) {
        named = true;
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f64>().ok()).unwrap_or(1.0);
        let form = has.iter().copied().find(|form| match form {
            Form::Json => matches!(kind.as_str(), "application/json" | "application/*" | "*/*"),
            Form::Png => matches!(kind.as_str(), "image/png" | "image/*"),
            Form::Svg => kind == "image/svg+xml",
            Form::Events => kind == "text/event-stream",
        });
        if let Some(form) = form.filter(|_| weight > 0.0 && best.is_none_or(|(most, _)| weight > most)) {
            best = Some((weight, form));
        }
    }
    match best {
        Some((_, form)) => Ok(form),
        None if !named => Ok(Form::Json),
        None => Err(Failure::new(
            StatusCode::NOT_ACCEPTABLE,
            "answers are application/json and, where there are pictures or parts, image/png, image/svg+xml or text/event-stream",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_preferred_one_that_there_is() {
        let of = |accept: &str, has: &[Form]| {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            form(&headers, has).ok()
        };
        let all = [Form::Json, Form::Png, Form::Svg, Form::Events];
        for (accept, wanted) in [
            ("", Some(Form::Json)),
            ("*/*", Some(Form::Json)),
            ("image/png", Some(Form::Png)),
            ("image/svg+xml, image/png", Some(Form::Svg)),
            ("image/svg+xml;q=0.5, image/png", Some(Form::Png)),
            ("text/html, text/event-stream;q=0.9", Some(Form::Events)),
            ("image/png;q=0, application/json;q=0.1", Some(Form::Json)),
            ("text/html", None),
        ] {
            assert_eq!(of(accept, &all), wanted, "{accept}");
        }
        assert_eq!(of("image/png", &[Form::Json]), None);
    }
}
