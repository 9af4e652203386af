//! The endpoints.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Router, middleware};
use futures_util::stream;
use pushforward::data::images::continuous::quantize;
use pushforward::flow_map::sample::LabelChoice;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;

pub(crate) use super::answer::typed;
use super::answer::{Failure, Form, form, json as as_json};
use super::send::{Whole, gone, read, whole};
use super::{App, check, guard};
use crate::body::{
    Codes, CodesBody, ImagesBody, ImputeBody, Items, Models, Pictures, SampleBody, ScoreBody, Scores, SteerBody,
    Steered,
};
use crate::engine::{Event, Task};
use crate::items::ToldRow;
use crate::{openapi, page};

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/v1/models", get(models))
        .route("/v1/sample", post(sample))
        .route("/v1/steer", post(steer))
        .route("/v1/score", post(score))
        .route("/v1/impute", post(impute))
        .route("/v1/encode", post(encode))
        .route("/v1/decode", post(decode))
        .route("/v1/reconstruct", post(reconstruct))
        // Bodies are read by a layer of our own, with a limit of its own, once the token was seen.
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::length))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::token));
    // Outside of the token: a browser asks for permission without it.
    if let Some(origin) = app.settings.origin.as_ref().and_then(|origin| HeaderValue::from_str(origin).ok()) {
        let cors =
            CorsLayer::new().allow_origin(origin).allow_methods([axum::http::Method::GET, axum::http::Method::POST]);
        guarded = guarded.layer(cors.allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION, header::ACCEPT]));
    }
    Router::new()
        .route("/", get(page::html))
        .route("/page.js", get(page::script))
        .route("/page.css", get(page::style))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .merge(guarded)
        .fallback(nothing)
        .method_not_allowed_fallback(not_so)
        .layer(CatchPanicLayer::custom(|_| {
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed; its log says more").response()
        }))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::host))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::watch))
        .with_state(app)
}

async fn nothing() -> Response {
    Failure::new(StatusCode::NOT_FOUND, "there is nothing at this path; /openapi.json describes those that there are")
        .response()
}

async fn not_so() -> Response {
    let message = "this path takes another method; /openapi.json describes them";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, message).response()
}

/// The server is alive.
#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "alive", body = String, content_type = "text/plain")))]
pub(crate) async fn healthz() -> Response {
    typed("text/plain; charset=utf-8", "ok\n")
}

/// The server takes requests.
#[utoipa::path(get, path = "/readyz", responses(
    (status = 200, description = "it takes requests", body = String, content_type = "text/plain"),
    (status = 503, description = "it is about to end", body = crate::body::Problem)
))]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Response {
    if app.ending.load(Ordering::Relaxed) {
        return Failure::busy("the server is about to end").response();
    }
    typed("text/plain; charset=utf-8", "ready\n")
}

/// Numbers for Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, description = "the text format of Prometheus", body = String, content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let waiting = app.settings.queue - app.places.available_permits();
    typed("application/openmetrics-text; version=1.0.0; charset=utf-8", app.metrics.text(waiting))
}

/// The models.
#[utoipa::path(get, path = "/v1/models", responses((status = 200, description = "the models", body = Models)))]
pub(crate) async fn models(State(app): State<Arc<App>>) -> Response {
    as_json(&Models { models: app.models.iter().map(|about| about.info.clone()).collect() })
}

/// Draws samples: JSON, a picture (`Accept: image/png` or `image/svg+xml`), or events (`text/event-stream`).
#[utoipa::path(post, path = "/v1/sample", request_body = SampleBody, responses(
    (status = 200, description = "the samples", content((Items = "application/json"), (Vec<u8> = "image/png"), (String = "image/svg+xml"), (String = "text/event-stream"))),
    openapi::Problems
))]
pub(crate) async fn sample(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let run = async || {
        let request: SampleBody = read(&headers, &body)?;
        let (place, about) = app.model(&request.model)?;
        let form = form(&headers, &[Form::Json, Form::Png, Form::Svg, Form::Events])?;
        let task = check::sample(&request, about, app.items.as_ref(), &app.settings.limits)?;
        let labels = if let Task::Sample(drawn) = &task { drawn.labels.clone() } else { LabelChoice::Hidden };
        let events = app.submit(place, task)?;
        let list = Listed { first: request.first, labels, ..Listed::new(place, request.seed) };
        if form == Form::Events {
            return Ok(streamed(Arc::clone(&app), list, events));
        }
        items(Arc::clone(&app), list, whole(&app, events).await?, form).await
    };
    run().await.unwrap_or_else(Failure::response)
}

/// Fills in missing sites of items, or missing values of rows of a table.
#[utoipa::path(post, path = "/v1/impute", request_body = ImputeBody, responses((status = 200, description = "whole items", body = Items), openapi::Problems))]
pub(crate) async fn impute(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let run = async || {
        let request: ImputeBody = read(&headers, &body)?;
        let (place, about) = app.model(&request.model)?;
        let form = form(&headers, &[Form::Json, Form::Png, Form::Svg])?;
        let (task, told) = check::impute(&request, about, app.items.as_ref(), &app.settings.limits)?;
        let events = app.submit(place, task)?;
        let list = Listed { told, ..Listed::new(place, request.seed) };
        items(Arc::clone(&app), list, whole(&app, events).await?, form).await
    };
    run().await.unwrap_or_else(Failure::response)
}

/// Draws samples of high reward: JSON, or events with the progress (`Accept: text/event-stream`).
#[utoipa::path(post, path = "/v1/steer", request_body = SteerBody, responses(
    (status = 200, description = "the samples, and those of the plain model", content((Steered = "application/json"), (String = "text/event-stream"))),
    openapi::Problems
))]
pub(crate) async fn steer(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let run = async || {
        let request: SteerBody = read(&headers, &body)?;
        let (place, about) = app.model(&request.model)?;
        let form = form(&headers, &[Form::Json, Form::Events])?;
        let task = check::steer(&request, about, app.items.as_ref(), &app.settings.limits)?;
        let events = app.submit(place, task)?;
        let list = Listed { labels: request.labels.into(), ..Listed::new(place, request.seed) };
        if form == Form::Events {
            return Ok(streamed(Arc::clone(&app), list, events));
        }
        match whole(&app, events).await?.other {
            Some(event) => Ok(as_json(&steered(&app, &list, event)?)),
            None => Err(gone()),
        }
    };
    run().await.unwrap_or_else(Failure::response)
}

/// Scores items: a bound of the likelihood, or an estimate of the density of images.
#[utoipa::path(post, path = "/v1/score", request_body = ScoreBody, responses((status = 200, description = "the scores", body = Scores), openapi::Problems))]
pub(crate) async fn score(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let run = async || {
        let request: ScoreBody = read(&headers, &body)?;
        let (place, about) = app.model(&request.model)?;
        form(&headers, &[Form::Json])?;
        let task = check::score(&request, about, app.items.as_ref(), &app.settings.limits)?;
        let Some(Event::Scores { nats, errors, estimator }) = whole(&app, app.submit(place, task)?).await?.other else {
            return Err(gone());
        };
        let finite = |values: Vec<f64>| values.into_iter().map(|v| v.is_finite().then_some(v)).collect();
        Ok(as_json(&Scores { model: request.model, estimator, nats: finite(nats), errors: finite(errors) }))
    };
    run().await.unwrap_or_else(Failure::response)
}

/// Turns images or items into codes.
#[utoipa::path(post, path = "/v1/encode", request_body = ImagesBody, responses((status = 200, description = "the codes", body = Codes), openapi::Problems))]
pub(crate) async fn encode(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let run = async || {
        let request: ImagesBody = read(&headers, &body)?;
        let (place, about) = app.model(&request.model)?;
        form(&headers, &[Form::Json])?;
        let task = check::encode(&request, about, app.items.as_ref(), &app.settings.limits)?;
        let Some(Event::Codes { z, base, width, sizes }) = whole(&app, app.submit(place, task)?).await?.other else {
            return Err(gone());
        };
        let rows = |values: Vec<f32>| values.chunks(width.max(1)).map(<[f32]>::to_vec).collect();
        Ok(as_json(&Codes { model: request.model, codes: rows(z), base: rows(base), sizes }))
    };
    run().await.unwrap_or_else(Failure::response)
}

/// Turns codes into images or items: JSON or a picture (`Accept: image/png`).
#[utoipa::path(post, path = "/v1/decode", request_body = CodesBody, responses(
    (status = 200, description = "the images, or the items of a model of data in classes (`Items`)", content((Pictures = "application/json"), (Vec<u8> = "image/png"))),
    openapi::Problems
))]
pub(crate) async fn decode(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let run = async || {
        let request: CodesBody = read(&headers, &body)?;
        let (place, about) = app.model(&request.model)?;
        let form = form(&headers, &[Form::Json, Form::Png, Form::Svg])?;
        let task = check::decode(&request, about, &app.settings.limits)?;
        decoded(app.clone(), place, whole(&app, app.submit(place, task)?).await?, form).await
    };
    run().await.unwrap_or_else(Failure::response)
}

/// Images or items from the latents of images or items: JSON or a picture (`Accept: image/png`).
#[utoipa::path(post, path = "/v1/reconstruct", request_body = ImagesBody, responses(
    (status = 200, description = "the images, with their errors, or the items of a model of data in classes (`Items`)", content((Pictures = "application/json"), (Vec<u8> = "image/png"))),
    openapi::Problems
))]
pub(crate) async fn reconstruct(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let run = async || {
        let request: ImagesBody = read(&headers, &body)?;
        let (place, about) = app.model(&request.model)?;
        let form = form(&headers, &[Form::Json, Form::Png, Form::Svg])?;
        let task = check::reconstruct(&request, about, app.items.as_ref(), &app.settings.limits)?;
        decoded(app.clone(), place, whole(&app, app.submit(place, task)?).await?, form).await
    };
    run().await.unwrap_or_else(Failure::response)
}

/// The answer of a request for images or items of codes.
async fn decoded(app: Arc<App>, model: usize, found: Whole, form: Form) -> Result<Response, Failure> {
    items(app, Listed::new(model, 0), found, form).await
}

/// What a list of items says besides their classes.
struct Listed {
    model: usize,
    seed: u64,
    first: u64,
    labels: LabelChoice,
    /// Rows whose given values stay.
    told: Vec<ToldRow>,
}

impl Listed {
    fn new(model: usize, seed: u64) -> Self {
        Self { model, seed, first: 0, labels: LabelChoice::Hidden, told: Vec::new() }
    }

    /// Items as JSON, from the one with this number on.
    fn objects(&self, app: &App, ids: &[u32], nfe: &[u64], done: usize) -> Vec<Value> {
        let mut objects = app.items.objects(ids, &app.models[self.model].schema, self.seed, self.first + done as u64);
        for (i, (object, nfe)) in objects.iter_mut().zip(nfe).enumerate() {
            let index = self.first + (done + i) as u64;
            object["index"] = index.into();
            object["nfe"] = (*nfe).into();
            if let Some(label) = self.labels.of(self.seed, index) {
                object["label"] = label.into();
            }
            if let Some(told) = self.told.get(done + i) {
                for (column, value) in &told.given {
                    object["row"][column] = value.clone();
                }
                if !told.not_told.is_empty() {
                    object["not_told"] = told.not_told.clone().into();
                }
            }
        }
        objects
    }
}

/// The answer of a request for items.
async fn items(app: Arc<App>, list: Listed, found: Whole, form: Form) -> Result<Response, Failure> {
    if matches!(found.other, Some(Event::Pixels { .. })) {
        return pictures(&app, list.model, found, form);
    }
    // Drawings and names of molecules take longer than the connections of others should wait.
    let made = tokio::task::spawn_blocking(move || {
        let about = &app.models[list.model];
        match form {
            Form::Png => app.items.png(&found.ids, &about.schema).map(|png| typed("image/png", png)),
            Form::Svg => app.items.svg(&found.ids, &about.schema).map(|svg| typed("image/svg+xml", svg)),
            Form::Json | Form::Events => {
                let items = list.objects(&app, &found.ids, &found.nfe, 0);
                Some(as_json(&Items { model: about.info.name.clone(), seed: list.seed, items }))
            }
        }
    });
    let made =
        made.await.map_err(|_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written"))?;
    made.ok_or_else(|| {
        Failure::new(StatusCode::NOT_ACCEPTABLE, "there is nothing to draw: ask for application/json, or more samples")
    })
}

/// The answer of a request for images of an autoencoder.
fn pictures(app: &App, model: usize, found: Whole, form: Form) -> Result<Response, Failure> {
    let about = &app.models[model];
    let (Some(Event::Pixels { pixels, errors }), Some(shape)) = (found.other, about.shape) else { return Err(gone()) };
    match form {
        Form::Png => Ok(typed("image/png", app.items.images(&pixels, shape))),
        Form::Svg => Err(Failure::new(StatusCode::NOT_ACCEPTABLE, "images are image/png or application/json")),
        Form::Json | Form::Events => {
            let level = |image: &[f32]| image.iter().map(|&x| quantize(x)).collect();
            let images = pixels.chunks(shape.numel()).map(level).collect();
            Ok(as_json(&Pictures { model: about.info.name.clone(), images, errors }))
        }
    }
}

fn steered(app: &App, list: &Listed, event: Event) -> Result<Steered, Failure> {
    let Event::Steered { before, after } = event else { return Err(gone()) };
    let side = |ids: &[u32], rewards: &[f64], nfe: &[u64]| {
        let mut objects = list.objects(app, ids, nfe, 0);
        for (object, reward) in objects.iter_mut().zip(rewards) {
            object["reward"] = reward.is_finite().then_some(*reward).into();
        }
        objects
    };
    let plain = vec![1; before.1.len()];
    Ok(Steered {
        model: app.models[list.model].info.name.clone(),
        seed: list.seed,
        before: side(&before.0, &before.1, &plain),
        items: side(&after.0, &after.1, &after.2),
    })
}

/// Parts as server-sent events: `items` with finished items, `progress`, `result`, then `done` or `error`.
fn streamed(app: Arc<App>, list: Listed, events: UnboundedReceiver<Event>) -> Response {
    struct State {
        app: Arc<App>,
        list: Listed,
        events: UnboundedReceiver<Event>,
        done: usize,
        over: bool,
    }
    let start = State { app, list, events, done: 0, over: false };
    let parts = stream::unfold(start, async |mut state| {
        if state.over {
            return None;
        }
        let (name, value) = match state.events.recv().await {
            Some(Event::Items { ids, nfe }) => {
                let items = state.list.objects(&state.app, &ids, &nfe, state.done);
                state.done += nfe.len();
                ("items", json!({ "items": items, "done": state.done }))
            }
            Some(Event::Progress(done)) => ("progress", json!({ "done": done })),
            Some(Event::Pixels { pixels, .. }) => {
                let shape = state.app.models[state.list.model].shape.map_or(1, |shape| shape.numel());
                let images: Vec<Vec<u8>> =
                    pixels.chunks(shape).map(|image| image.iter().map(|&x| quantize(x)).collect()).collect();
                ("items", json!({ "done": images.len(), "images": images }))
            }
            Some(event @ Event::Steered { .. }) => match steered(&state.app, &state.list, event) {
                Ok(result) => ("result", serde_json::to_value(result).unwrap_or_default()),
                Err(failure) => ("error", json!({ "error": failure.message })),
            },
            Some(Event::Done) => {
                state.over = true;
                ("done", json!({ "done": state.done }))
            }
            Some(Event::Failed(refusal)) => {
                state.over = true;
                ("error", json!({ "error": Failure::from(refusal).message }))
            }
            Some(Event::Scores { .. } | Event::Codes { .. }) | None => {
                state.over = true;
                ("error", json!({ "error": gone().message }))
            }
        };
        let text = format!("event: {name}\ndata: {value}\n\n");
        Some((Ok::<_, Infallible>(Bytes::from(text)), state))
    });
    let mut response = typed("text/event-stream", Body::from_stream(parts));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
