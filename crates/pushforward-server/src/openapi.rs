//! The OpenAPI document.

use axum::response::Response;
use utoipa::{IntoResponses, OpenApi};

use crate::body::{
    Codes, CodesBody, Constraints, ImagesBody, ImputeBody, Items, Method, ModelInfo, Models, Pictures, Problem,
    SampleBody, SamplerName, ScoreBody, Scores, SteerBody, Steered,
};
use crate::http;

/// Answers other than success.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "for the document")]
pub(crate) enum Problems {
    /// The body is not JSON.
    #[response(status = 400)]
    Body(Problem),
    /// The token is missing or wrong.
    #[response(status = 401)]
    Token(Problem),
    /// There is no such model.
    #[response(status = 404)]
    Model(Problem),
    /// There is no answer in a form that the client accepts.
    #[response(status = 406)]
    Form(Problem),
    /// The body took too long to arrive.
    #[response(status = 408)]
    Slow(Problem),
    /// The body is too long.
    #[response(status = 413)]
    Length(Problem),
    /// The body is of another type than JSON.
    #[response(status = 415)]
    Type(Problem),
    /// The server was called by a foreign name.
    #[response(status = 421)]
    Host(Problem),
    /// The request does not fit the model, or a field is out of its range.
    #[response(status = 422)]
    Request(Problem),
    /// The server failed.
    #[response(status = 500)]
    Failed(Problem),
    /// The queue is full, the request took too long, or the server is about to end.
    #[response(status = 503)]
    Busy(Problem),
}

#[derive(OpenApi)]
#[openapi(
    info(title = "pushforward", description = "Samples, scores and codes of trained models."),
    paths(
        http::healthz,
        http::readyz,
        http::metrics,
        http::models,
        http::sample,
        http::steer,
        http::score,
        http::impute,
        http::encode,
        http::decode,
        http::reconstruct
    ),
    components(schemas(
        Codes,
        CodesBody,
        Constraints,
        ImagesBody,
        ImputeBody,
        Items,
        Method,
        ModelInfo,
        Models,
        Pictures,
        Problem,
        SampleBody,
        SamplerName,
        ScoreBody,
        Scores,
        SteerBody,
        Steered
    ))
)]
struct Document;

pub(crate) async fn document() -> Response {
    http::typed("application/json", Document::openapi().to_json().expect("a document of names and numbers"))
}
