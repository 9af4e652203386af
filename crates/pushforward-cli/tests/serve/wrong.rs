//! What is refused, and how.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use pushforward::rng::{Purpose, stream};
use serde_json::{Value, json};

use super::super::{refuse, workplace};
use super::{Server, stored};

#[test]
fn wrong_requests_have_their_status_and_say_what_to_do() {
    let server = Server::start(&["glyphs", "echo", "molecules", "center"], &[]);
    let sample = |more: Value| {
        let mut body = json!({"model": "echo"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (path, body, status, part) in [
        ("/v1/sample", json!({"model": "nobody"}), 404, "the models are glyphs, echo, molecules, center"),
        ("/v1/sample", json!([1]), 422, "invalid type"),
        ("/v1/sample", sample(json!({"cuont": 1})), 422, "unknown field `cuont`"),
        ("/v1/sample", sample(json!({"count": 0})), 422, "`count` is 0, and may be 1 to 256"),
        ("/v1/sample", sample(json!({"count": 257})), 422, "`count`"),
        ("/v1/sample", sample(json!({"count": -1})), 422, "invalid value"),
        ("/v1/sample", sample(json!({"count": 1e30})), 422, "invalid"),
        ("/v1/sample", sample(json!({"nfe": 65})), 422, "`nfe`"),
        ("/v1/sample", sample(json!({"sampler": "heun", "nfe": 2})), 422, "odd"),
        ("/v1/sample", sample(json!({"temperature": 0})), 422, "`temperature`"),
        ("/v1/sample", sample(json!({"sampler": "renoise", "gamma": 1.5})), 422, "`gamma`"),
        ("/v1/sample", sample(json!({"labels": [1]})), 422, "takes no labels"),
        ("/v1/sample", json!({"model": "glyphs", "labels": [10]}), 422, "0 to 9, found 10"),
        ("/v1/sample", sample(json!({"guidance": 2})), 422, "guidance needs a label"),
        ("/v1/sample", sample(json!({"mean": true})), 422, "`mean` is for autoencoders"),
        ("/v1/sample", sample(json!({"correct": true})), 422, "models of molecules only"),
        ("/v1/sample", sample(json!({"nodes": 3})), 422, "models of graphs"),
        ("/v1/sample", sample(json!({"constraints": {"keep": [1]}})), 422, "has 1 sites"),
        ("/v1/sample", sample(json!({"constraints": {"infill": "x".repeat(5000)}})), 422, "may be 0 to 4096"),
        ("/v1/sample", sample(json!({"constraints": {"fix": "C"}})), 422, "models of molecules"),
        ("/v1/sample", json!({"model": "molecules", "constraints": {"fix": "C1CC"}}), 422, "--fix"),
        ("/v1/sample", json!({"model": "center", "labels": [1]}), 422, "is an autoencoder"),
        (
            "/v1/steer",
            json!({"model": "echo", "reward": "similar(\"/etc/passwd\")"}),
            422,
            "not available in the server",
        ),
        ("/v1/steer", json!({"model": "echo", "reward": "nonsense(("}), 422, ""),
        (
            "/v1/steer",
            json!({"model": "echo", "reward": "site(0, 1)", "count": 256, "particles": 64, "nfe": 4}),
            422,
            "evaluations",
        ),
        ("/v1/steer", json!({"model": "center", "reward": "ink", "labels": [1]}), 422, "takes no labels"),
        ("/v1/score", json!({"model": "echo"}), 422, "`items` or `texts`"),
        ("/v1/score", json!({"model": "echo", "items": [[0, 1]]}), 422, "an item has 2 sites"),
        ("/v1/score", json!({"model": "echo", "items": [[0, 1, 2, 3, 0, 1, 2, null]]}), 422, "a class at every site"),
        ("/v1/score", json!({"model": "echo", "items": [[0, 1, 2, 3, 0, 1, 2, 99]]}), 422, "a site has 99"),
        ("/v1/impute", json!({"model": "echo", "items": [[null]]}), 422, "cannot impute"),
        ("/v1/encode", json!({"model": "echo", "images": [[0]]}), 422, "cannot encode"),
        ("/v1/encode", json!({"model": "center", "images": [[0]]}), 422, "an image has 1 numbers"),
        ("/v1/decode", json!({"model": "center", "codes": [[1e30]]}), 422, "numbers"),
        ("/v1/decode", json!({"model": "center", "codes": []}), 422, "`number of codes` is 0"),
    ] {
        let answer = server.post(path, "application/json", &body);
        let message = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        assert_eq!(answer.status, status, "{path} {body}: {message}");
        assert!(message.contains(part) && !message.is_empty(), "{path} {body}: {message}");
    }
    let body = br#"{"model": "echo"}"#;
    let json_type = ("content-type", "application/json");
    assert_eq!(server.send("/v1/sample", &[], body).status, 415);
    assert_eq!(server.send("/v1/sample", &[("content-type", "text/plain")], body).status, 415);
    assert_eq!(server.send("/v1/sample", &[json_type], b"{\"model\"").status, 400);
    assert_eq!(server.send("/v1/sample", &[json_type, ("accept", "text/html")], body).status, 406);
    // Whoever sends too much is still told so.
    for length in [(1 << 20) + 1, 8 << 20] {
        let answer = server.send("/v1/sample", &[json_type], &vec![b' '; length]);
        assert_eq!(answer.status, 413);
        assert!(answer.json()["error"].as_str().unwrap().contains("fewer items"));
    }
    assert_eq!(server.send("/v1/sample", &[json_type, ("host", "evil.example")], body).status, 421);
    assert_eq!(server.get("/v1/sample").status, 405);
    assert_eq!(server.get("/nothing").status, 404);
    assert_eq!(server.send("/v1/sample", &[json_type], body).status, 200, "it still answers");
}

#[test]
fn a_full_queue_is_told_at_once() {
    let server = Server::start(&["echo"], &["--queue", "1", "--batch", "4"]);
    let long = json!({"model": "echo", "count": 256, "nfe": 64});
    thread::scope(|scope| {
        let server = &server;
        let first = scope.spawn(|| server.ask("/v1/sample", &long));
        while !server.get("/metrics").text().contains("pushforward_queue 1") {
            assert!(!first.is_finished(), "the request was never in the queue");
        }
        let answer = server.post("/v1/sample", "application/json", &json!({"model": "echo"}));
        assert_eq!((answer.status, answer.retry.as_deref()), (503, Some("1")), "{}", answer.text());
        assert!(answer.json()["error"].as_str().unwrap().contains("try again"));
        assert_eq!(first.join().unwrap()["items"].as_array().unwrap().len(), 256);
    });
    assert_eq!(server.post("/v1/sample", "application/json", &json!({"model": "echo"})).status, 200);
}

#[test]
fn what_takes_too_long_is_given_up() {
    let server = Server::start(&["echo"], &["--time-limit", "0.05", "--batch", "4"]);
    let answer = server.post("/v1/sample", "application/json", &json!({"model": "echo", "count": 256, "nfe": 64}));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.json()["error"].as_str().unwrap().contains("took longer"));
}

#[test]
fn others_need_the_token() {
    let dir = workplace();
    let path = stored("echo");
    let model = path.to_str().unwrap();
    let message = refuse(dir.path(), &["serve", model, "--addr", "0.0.0.0:0"], 2);
    assert!(message.contains("needs a token") && message.contains("--token-file"), "{message}");
    std::fs::write(dir.path().join("short"), "abc\n").unwrap();
    assert!(refuse(dir.path(), &["serve", model, "--token-file", "short"], 2).contains("at least 16"));
    let file = dir.path().join("token");
    std::fs::write(&file, "0123456789abcdef0123\n").unwrap();
    let server = Server::start(&["echo"], &["--token-file", file.to_str().unwrap()]);
    let body = br#"{"model": "echo"}"#;
    let json_type = ("content-type", "application/json");
    for wrong in
        ["", "Bearer ", "Bearer 0123456789abcdef012", "Bearer 0123456789abcdef0124", "Basic 0123456789abcdef0123"]
    {
        let answer = server.send("/v1/sample", &[json_type, ("authorization", wrong)], body);
        assert_eq!(answer.status, 401, "{wrong}");
    }
    assert_eq!(server.get("/v1/models").status, 401);
    assert_eq!(server.get("/healthz").status, 200);
    let right = ("authorization", "Bearer 0123456789abcdef0123");
    assert_eq!(server.send("/v1/sample", &[json_type, right], body).status, 200);
    let classifier = stored("classifier");
    assert!(refuse(dir.path(), &["serve", classifier.to_str().unwrap()], 2).contains("is a classifier"));
    assert!(refuse(dir.path(), &["serve", model, model], 2).contains("two models are named echo"));
}

#[test]
fn any_body_gets_an_answer() {
    const PARTS: [&str; 30] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"model\"",
        "\"echo\"",
        "\"glyphs\"",
        "\"count\"",
        "\"nfe\"",
        "\"seed\"",
        "\"labels\"",
        "\"constraints\"",
        "\"keep\"",
        "\"infill\"",
        "\"temperature\"",
        "\"reward\"",
        "\"items\"",
        "null",
        "true",
        "-1",
        "0",
        "1",
        "1e400",
        "18446744073709551616",
        "\"\\ud800\"",
        "\"\u{0}\"",
        "\"a_\"",
        "{\"model\": \"echo\"",
    ];
    let server = Server::start(&["echo", "glyphs", "center"], &[]);
    let valid = [
        json!({"model": "echo", "count": 2, "nfe": 2, "seed": 3, "temperature": 0.5, "constraints": {"infill": "a_"}}),
        json!({"model": "glyphs", "count": 1, "labels": [3], "guidance": 1.5, "draw": true}),
        json!({"model": "echo", "reward": "site(0, 1)", "count": 1, "particles": 2, "nfe": 1}),
        json!({"model": "echo", "items": [[0, 1, 2, 3, 0, 1, 2, 3]], "draws": 1}),
        json!({"model": "center", "codes": [[0.0, 1.0]]}),
    ];
    let paths = ["sample", "steer", "score", "impute", "encode", "decode", "reconstruct"];
    for index in 0..1500 {
        let mut random = stream(0, Purpose::Metric, index);
        let body: Vec<u8> = if random.below(3) == 0 {
            (0..random.below(12)).flat_map(|_| PARTS[random.below(PARTS.len())].bytes()).collect()
        } else {
            // A valid body with a few bytes changed, or a value replaced.
            let mut bytes = valid[random.below(valid.len())].to_string().into_bytes();
            for _ in 0..random.below(3) {
                let at = random.below(bytes.len());
                bytes.splice(at..at + 1, PARTS[random.below(PARTS.len())].bytes());
            }
            bytes
        };
        let path = format!("/v1/{}", paths[random.below(paths.len())]);
        let answer = server.send(&path, &[("content-type", "application/json")], &body);
        let shown = String::from_utf8_lossy(&body);
        assert!([200, 400, 404, 422].contains(&answer.status), "{path} {shown}: {} {}", answer.status, answer.text());
        assert!(answer.json().is_object(), "{path} {shown}");
    }
    assert_eq!(server.get("/readyz").status, 200);
}

/// A client that never ends its headers is let go, and so is one that asks nothing; others are answered meanwhile.
#[test]
fn headers_that_do_not_arrive_end_the_connection() {
    let server = Server::start(&["echo"], &["--time-limit", "1"]);
    let connect = || {
        let stream = TcpStream::connect(server.base.trim_start_matches("http://")).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a limit");
        stream
    };
    let (mut slow, mut silent) = (connect(), connect());
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").expect("a part of the headers");
    assert_eq!(server.get("/healthz").status, 200);
    for stream in [&mut slow, &mut silent] {
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let reset = ended.as_ref().err().is_some_and(|error| error.kind() == ErrorKind::ConnectionReset);
        assert!(ended.is_ok() || reset, "it is still open: {ended:?}");
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(server.get("/healthz").status, 200);
}
