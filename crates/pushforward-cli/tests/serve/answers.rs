//! Answers are those of the library, whoever else asks.

use std::thread;
use std::time::{Duration, Instant};

use pushforward::burn::tensor::Device;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::sample::{LabelChoice, SampleRequest};
use pushforward::kernels::Precision;
use pushforward::node_pairs::ABSENT;
use pushforward::run::{TrainedFlowMap, WeightSet, load};
use serde_json::{Value, json};

use super::{Server, ids, stored};

fn model(name: &str) -> TrainedFlowMap {
    let device = Device::flex();
    load::<NetworkConfig>(&stored(name), WeightSet::Ema, &device).unwrap().flow_map("draw").unwrap().model
}

/// The samples of the library.
fn of_library(model: &TrainedFlowMap, request: &SampleRequest) -> Vec<Vec<Option<u32>>> {
    // As the program computes.
    let _scope = Precision::High.scope();
    let samples = model.sample(request, &mut |_| true).unwrap();
    samples.items().map(|item| item.iter().map(|&id| (id != ABSENT).then_some(id)).collect()).collect()
}

#[test]
fn requests_that_share_batches_get_their_own_items() {
    let names = ["glyphs", "echo", "molecules"];
    let server = Server::start(&names, &["--queue", "256", "--batch", "16"]);
    let models = names.map(model);
    // Several clients at once, with requests of a few settings and seeds of their own.
    let requests: Vec<(usize, SampleRequest)> = (0..96u64)
        .map(|i| {
            let (place, nfe) = ((i % 3) as usize, 1 + (i / 3 % 2) as usize);
            let labels: LabelChoice = if place == 0 { vec![(i % 10) as u32, 3].into() } else { LabelChoice::AsTrained };
            let count = 1 + (i * 7 % 20) as usize;
            let request =
                SampleRequest { first: i % 5, labels, endpoints: false, ..SampleRequest::map(count, nfe, i / 4) };
            (place, request)
        })
        .collect();
    let answers: Vec<Value> = thread::scope(|scope| {
        let ask = |place: usize, request: &SampleRequest| {
            let nfe = request.grid.intervals().count();
            let labels = if let LabelChoice::InTurn(labels) = &request.labels { &labels[..] } else { &[] };
            server.ask(
                "/v1/sample",
                &json!({"model": names[place], "count": request.count, "first": request.first, "seed": request.seed,
                        "nfe": nfe, "labels": labels}),
            )
        };
        let asked: Vec<_> = requests.iter().map(|(place, request)| scope.spawn(move || ask(*place, request))).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for ((place, request), answer) in requests.iter().zip(&answers) {
        assert_eq!(ids(&answer["items"]), of_library(&models[*place], request), "{} {request:?}", names[*place]);
        let items = answer["items"].as_array().unwrap();
        for (i, item) in items.iter().enumerate() {
            assert_eq!(item["index"], request.first + i as u64);
        }
    }
    let numbers = server.get("/metrics").text();
    let of = |name: &str| -> f64 {
        let line = numbers.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {numbers}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let (batches, shared) = (of("pushforward_batch_requests_count"), of("pushforward_batch_requests_sum"));
    assert!(shared > 1.2 * batches, "{shared} requests in {batches} batches: hardly any batch was shared");
}

#[test]
fn pictures_and_events_hold_the_same_items() {
    let server = Server::start(&["glyphs", "molecules", "echo"], &["--batch", "4"]);
    let body = json!({"model": "glyphs", "count": 9, "labels": [1, 7], "seed": 5});
    let items = server.ask("/v1/sample", &body);
    let png = server.post("/v1/sample", "image/png", &body);
    assert_eq!((png.status, png.kind.as_str()), (200, "image/png"));
    assert_eq!(image::load_from_memory(&png.bytes).unwrap().width(), 3 * 66 + 2);
    let events = server.post("/v1/sample", "text/event-stream", &body).text();
    let data = |name: &str| -> Vec<Value> {
        let blocks = events.split("\n\n").filter(|block| block.starts_with(&format!("event: {name}\n")));
        blocks.map(|block| serde_json::from_str(block.split_once("data: ").unwrap().1).unwrap()).collect()
    };
    let parts: Vec<Value> = data("items").iter().flat_map(|part| part["items"].as_array().unwrap().clone()).collect();
    assert!(data("items").len() >= 3, "parts come as they are finished: {events}");
    assert_eq!(Value::from(parts), items["items"]);
    assert_eq!(data("done"), [json!({"done": 9})]);
    let svg = server.post("/v1/sample", "image/svg+xml", &json!({"model": "molecules", "count": 200, "nfe": 4}));
    assert!(svg.status == 406 || svg.text().starts_with("<svg"), "{}", svg.text());
    assert_eq!(server.post("/v1/sample", "image/png", &json!({"model": "echo"})).status, 406);
}

#[test]
fn constraints_rewards_and_scores_do_what_they_say() {
    let server = Server::start(&["glyphs", "echo"], &[]);
    let mut keep = vec![Value::Null; 256];
    keep[3] = 1.into();
    keep[200] = 1.into();
    let body = json!({"model": "glyphs", "count": 4, "nfe": 2, "constraints": {"keep": keep}});
    let kept = server.ask("/v1/sample", &body);
    assert!(ids(&kept["items"]).iter().all(|item| item[3] == Some(1) && item[200] == Some(1)));
    let models = server.get("/v1/models").json();
    let echo = models["models"].as_array().unwrap().iter().find(|m| m["name"] == "echo").unwrap().clone();
    assert_eq!(echo["can"], json!(["sample", "steer", "score"]));
    let steered = server.ask(
        "/v1/steer",
        &json!({"model": "glyphs", "reward": "ink", "strength": 200.0, "count": 4, "particles": 16, "nfe": 2}),
    );
    let mean = |side: &str| {
        let items = steered[side].as_array().unwrap();
        items.iter().map(|item| item["reward"].as_f64().unwrap()).sum::<f64>() / items.len() as f64
    };
    assert!(mean("items") > mean("before") + 0.005, "{} {}", mean("items"), mean("before"));
    let drawn = server.ask("/v1/sample", &json!({"model": "echo", "count": 8}))["items"].clone();
    let items = ids(&drawn);
    let scores = server.ask("/v1/score", &json!({"model": "echo", "items": items, "draws": 8}));
    let nats: Vec<f64> = serde_json::from_value(scores["nats"].clone()).unwrap();
    assert!(nats.len() == 8 && nats.iter().all(|nats| nats.is_finite()), "{scores}");
    let texts: Vec<&str> = drawn.as_array().unwrap().iter().map(|i| i["text"].as_str().unwrap()).collect();
    let same = server.ask("/v1/score", &json!({"model": "echo", "texts": texts, "draws": 8}));
    assert_eq!(same["nats"], scores["nats"]);
}

#[test]
fn autoencoders_encode_and_decode() {
    let server = Server::start(&["center"], &[]);
    let about = server.get("/v1/models").json()["models"][0].clone();
    let drawn = server.ask("/v1/sample", &json!({"model": "center", "count": 3, "mean": true}));
    let images = drawn["images"].clone();
    assert_eq!(images[0].as_array().unwrap().len() as u64, about["sites"].as_u64().unwrap());
    let codes = server.ask("/v1/encode", &json!({"model": "center", "images": images}));
    assert_eq!(codes["codes"][0].as_array().unwrap().len() as u64, about["latent"].as_u64().unwrap());
    let again = server.ask("/v1/decode", &json!({"model": "center", "codes": codes["codes"]}));
    let based = server.ask("/v1/decode", &json!({"model": "center", "codes": codes["base"], "base": true}));
    let pairs = again["images"].to_string();
    let levels = |value: &Value| -> Vec<f64> {
        value["images"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|i| i.as_array().unwrap())
            .map(|v| v.as_f64().unwrap())
            .collect()
    };
    let worst = levels(&again).iter().zip(levels(&based)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst <= 2.0, "{worst} levels between two ways to the same images: {pairs}");
    let reconstructed = server.ask("/v1/reconstruct", &json!({"model": "center", "images": images}));
    assert_eq!(reconstructed["images"], again["images"]);
    assert_eq!(reconstructed["errors"].as_array().unwrap().len(), 3);
    let scores = server.ask("/v1/score", &json!({"model": "center", "items": images, "draws": 4}));
    assert!(scores["estimator"].as_str().unwrap().contains("exact"), "{scores}");
    let png = server.post("/v1/decode", "image/png", &json!({"model": "center", "codes": codes["codes"]}));
    assert!(png.bytes.starts_with(b"\x89PNG"));
}

#[cfg(unix)]
#[test]
fn what_was_accepted_is_answered_at_the_end() {
    let mut server = Server::start(&["echo"], &["--batch", "8"]);
    let body = json!({"model": "echo", "count": 256, "nfe": 64});
    let start = Instant::now();
    thread::scope(|scope| {
        let shared = &server;
        let asked = scope.spawn(move || shared.ask("/v1/sample", &body));
        // Until the request is in the queue.
        while !shared.get("/metrics").text().contains("pushforward_queue 1") {
            assert!(
                start.elapsed() < Duration::from_secs(60) && !asked.is_finished(),
                "the request was never in the queue"
            );
        }
        let id = shared.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
        assert_eq!(asked.join().unwrap()["items"].as_array().unwrap().len(), 256);
    });
    assert_eq!(server.wait(), Some(143));
}
