//! The server, as clients see it.

mod answers;
pub(crate) mod page;
mod wrong;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// Small models with a checkpoint in the repository.
pub(super) fn stored(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pushforward/tests/old_checkpoints");
    folder.join(format!("{name}.safetensors"))
}

/// A running server, ended when it is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) base: String,
    agent: ureq::Agent,
}

/// Status, type and content of an answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: String,
    pub(super) retry: Option<String>,
    pub(super) bytes: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Server {
    pub(super) fn start(models: &[&str], more: &[&str]) -> Self {
        let folder = std::env::temp_dir();
        let paths: Vec<String> = models.iter().map(|name| stored(name).to_str().expect("UTF-8").to_owned()).collect();
        let mut args = vec!["serve", "--addr", "127.0.0.1:0", "--device", "cpu"];
        args.extend(paths.iter().map(String::as_str));
        args.extend(more);
        let mut child = super::command(&folder, &args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let base = line.trim().rsplit(' ').next().expect("an address").trim_end_matches('/').to_owned();
        assert!(base.starts_with("http://"), "{line:?}");
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .proxy(None)
            .build()
            .into();
        Self { child, base, agent }
    }

    fn answer(found: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
        let mut found = found.expect("an answer");
        let header = |name: &str| found.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let (status, kind, retry) = (found.status().as_u16(), header("content-type"), header("retry-after"));
        let mut bytes = Vec::new();
        found.body_mut().as_reader().read_to_end(&mut bytes).expect("a body");
        Answer { status, kind: kind.unwrap_or_default(), retry, bytes }
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        Self::answer(self.agent.get(format!("{}{path}", self.base)).call())
    }

    pub(super) fn send(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Self::answer(request.send(body))
    }

    pub(super) fn post(&self, path: &str, accept: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json"), ("accept", accept)];
        self.send(path, &headers, body.to_string().as_bytes())
    }

    /// The JSON of a request that must succeed.
    #[track_caller]
    pub(super) fn ask(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, "application/json", body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        answer.json()
    }

    #[cfg(unix)]
    pub(super) fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Class indices of items, `None` for absent sites.
pub(super) fn ids(items: &Value) -> Vec<Vec<Option<u32>>> {
    let items = items.as_array().expect("a list");
    items.iter().map(|item| serde_json::from_value(item["ids"].clone()).expect("class indices")).collect()
}

#[test]
fn what_it_has_is_described() {
    let server = Server::start(&["glyphs", "echo", "molecules", "center"], &[]);
    assert_eq!(server.get("/healthz").text(), "ok\n");
    assert_eq!(server.get("/readyz").text(), "ready\n");
    let models = server.get("/v1/models").json();
    let about = |name: &str| models["models"].as_array().unwrap().iter().find(|m| m["name"] == name).unwrap().clone();
    assert_eq!(about("glyphs")["labels"].as_array().unwrap().len(), 10);
    assert_eq!((about("echo")["kind"].as_str(), about("molecules")["kind"].as_str()), (Some("text"), Some("molecule")));
    assert_eq!(about("center")["role"], "autoencoder");
    assert!(about("center")["can"].as_array().unwrap().contains(&json!("reconstruct")));
    let document = server.get("/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    for path in ["sample", "steer", "score", "impute", "encode", "decode", "reconstruct", "models"] {
        assert!(paths.contains_key(&format!("/v1/{path}")), "{path}");
    }
    assert!(document["components"]["schemas"]["SampleBody"]["properties"]["nfe"].is_object());
    let page = server.get("/");
    assert!(page.kind.starts_with("text/html") && page.text().contains("page.js"));
    server.ask("/v1/sample", &json!({"model": "echo", "count": 3}));
    let numbers = server.get("/metrics").text();
    assert!(numbers.contains("pushforward_requests_total{path=\"/v1/sample\",status=\"200\"} 1"), "{numbers}");
    assert!(numbers.contains("pushforward_items_total 3") && numbers.ends_with("# EOF\n"), "{numbers}");
}
