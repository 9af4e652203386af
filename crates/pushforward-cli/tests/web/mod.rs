//! Exported models, and the JavaScript that samples them in a browser.

use std::fs;
use std::process::Command;

use pushforward::flow_map::interpolant::Source;
use pushforward::nn::SiteShape;
use pushforward::rng::{Purpose, stream};

use super::{refuse, workplace};

#[cfg(not(feature = "onnx"))]
#[test]
fn a_program_without_the_export_says_how_to_have_it() {
    let message = refuse(workplace().path(), &["export", "glyphs", "--out", "model.onnx"], 2);
    assert!(message.contains("--features onnx"), "{message}");
}

#[cfg(feature = "onnx")]
#[test]
fn models_become_files_and_folders() {
    let dir = workplace();
    super::succeed(dir.path(), &["export", "glyphs", "--nfe", "2", "--numbers", "f16", "--out", "model.onnx"]);
    let file = fs::read(dir.path().join("model.onnx")).expect("a file");
    let has = |text: &str| file.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(has("ScatterElements") || has("MatMul"), "the operations");
    assert!(has("pushforward") && has("family = \"flow-map\"") && has("evaluations"), "the metadata");
    super::succeed(dir.path(), &["export", "echo", "--web", "page"]);
    let about = fs::read_to_string(dir.path().join("page/model.json")).expect("a description");
    let about: serde_json::Value = serde_json::from_str(&about).expect("JSON");
    assert_eq!((about["sites"].as_u64(), about["symbols"][0].as_str().map(str::len)), (Some(8), Some(1)));
    assert!(dir.path().join("page/model.onnx").is_file() && dir.path().join("page/index.html").is_file());
    let message = refuse(dir.path(), &["export", "echo", "--web", "other", "--ort", "nowhere"], 2);
    assert!(message.contains("npm install onnxruntime-web") && !dir.path().join("other").exists(), "{message}");
    let message = refuse(dir.path(), &["export", "echo", "--part", "decoder", "--out", "x.onnx"], 2);
    assert!(message.contains("only for autoencoders"), "{message}");
    let center = super::serve::stored("center");
    let center = center.to_str().expect("UTF-8");
    let message = refuse(dir.path(), &["export", center, "--web", "other"], 2);
    assert!(message.contains("only for flow maps") && message.contains("--out FILE.onnx --part decoder"), "{message}");
    // What is written has been run by another runtime, unless that is not wanted.
    let molecules = super::serve::stored("molecules");
    let molecules = molecules.to_str().expect("UTF-8");
    for options in [
        &["echo"][..],
        &["echo", "--nfe", "2", "--temperature", "0.7", "--numbers", "f16"],
        &["glyphs", "--nfe", "1", "--guidance", "2"],
        &["glyphs", "--numbers", "mixed"],
        &[molecules, "--nfe", "2"],
        &[center, "--part", "encoder"],
        &[center, "--part", "decoder"],
    ] {
        let export = [&["export"][..], options, &["--out", "checked.onnx"]].concat();
        let said = super::run(dir.path(), &export);
        let said = String::from_utf8_lossy(&said.stderr);
        assert!(said.contains("checked: tract computes the same for 4 items"), "{options:?}: {said}");
    }
    let unchecked = super::run(dir.path(), &["export", "echo", "--no-check", "--out", "x.onnx"]);
    assert!(unchecked.status.success() && !String::from_utf8_lossy(&unchecked.stderr).contains("checked"));
}

/// The page in the Chromium that `PUSHFORWARD_BROWSER` names, with the onnxruntime-web whose folder `dist` is
/// `PUSHFORWARD_ORT`; skipped with a message without them.
#[cfg(feature = "onnx")]
#[test]
fn a_browser_draws_the_items_of_the_program() {
    let (Ok(browser), Ok(ort)) = (std::env::var("PUSHFORWARD_BROWSER"), std::env::var("PUSHFORWARD_ORT")) else {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: PUSHFORWARD_BROWSER and PUSHFORWARD_ORT are not both there");
        return;
    };
    let dir = workplace();
    // The second model keeps times of its own for two jumps.
    fs::copy(super::serve::stored("molecules"), dir.path().join("molecules.safetensors")).expect("a file to change");
    let kept = super::succeed(dir.path(), &["calibrate", "molecules.safetensors", "--grids", "2"]);
    assert!(!kept.starts_with("2 evaluations at 0, 0.5, 1"), "{kept}");
    for model in ["glyphs", "molecules.safetensors"] {
        let _ = fs::remove_dir_all(dir.path().join("page"));
        super::succeed(dir.path(), &["export", model, "--web", "page", "--ort", &ort]);
        let address = files::serve(dir.path().join("page"));
        let page = super::serve::page::shown(&browser, &format!("{address}/index.html#count=6&seed=5&nfe=2"));
        let items =
            super::succeed(dir.path(), &["sample", model, "-n", "6", "--seed", "5", "--nfe", "2", "--out", "-"]);
        let ids = |line: &str| -> String {
            let item: serde_json::Value = serde_json::from_str(line).expect("JSON");
            // A site that an item does not have is no number in one and -1 in the other.
            let one = |id: &serde_json::Value| id.as_i64().filter(|id| *id < 1 << 31).unwrap_or(-1).to_string();
            item["ids"].as_array().expect("class indices").iter().map(one).collect::<Vec<_>>().join(" ")
        };
        let wanted: Vec<String> = items.lines().map(ids).collect();
        let shown: Vec<&str> =
            page.split("data-ids=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default()).collect();
        assert_eq!(shown, wanted, "{model}\n{page}");
    }
}

#[cfg(feature = "onnx")]
mod files {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::path::PathBuf;

    /// Serves the files of a folder until the process ends; the address.
    pub(super) fn serve(folder: PathBuf) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut line = String::new();
                let _ = BufReader::new(&stream).read_line(&mut line);
                let path = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
                let kind = match path.rsplit('.').next() {
                    Some("html") => "text/html",
                    Some("mjs") => "text/javascript",
                    Some("wasm") => "application/wasm",
                    _ => "application/octet-stream",
                };
                let (status, bytes) =
                    std::fs::read(folder.join(path)).map_or(("404 Not Found", Vec::new()), |b| ("200 OK", b));
                let length = bytes.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes));
            }
        });
        address
    }
}

#[test]
fn the_noise_of_the_page_is_that_of_the_program() {
    const SCRIPT: &str = "
        import { noise, Stream } from './random.mjs';
        for (const [seed, first] of [[0, 0], [7, 3], [123456789012, 4294967299]]) {
            console.log(Array.from(noise(2, [2, 3], 3, seed, first)).join(' '));
        }
        const many = new Stream(1, 0);
        let sum = 0;
        for (let i = 0; i < 200000; i++) sum += Math.abs(many.normal());
        console.log(sum);
        console.log(new Stream(5, 6, 14).uniform());
    ";
    let dir = workplace();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/random.mjs");
    fs::copy(script, dir.path().join("random.mjs")).expect("the script");
    fs::write(dir.path().join("test.mjs"), SCRIPT).expect("a file");
    let Ok(out) = Command::new("node").current_dir(dir.path()).arg("test.mjs").output() else {
        // A test writes to stderr only.
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: there is no node");
        return;
    };
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    let mut lines = text.lines();
    for (seed, first) in [(0, 0), (7, 3), (123_456_789_012, 4_294_967_299)] {
        let found = lines.next().expect("a line").split(' ').map(|value| value.parse::<f32>().expect("a number"));
        let item = |index| {
            Source::Gaussian.draw_items(&SiteShape::columns(&[2, 3]), 1, &mut stream(seed, Purpose::Sample, index))
        };
        let wanted: Vec<f32> = (first..first + 2).flat_map(item).collect();
        // The tables of the ziggurat method are computed in JavaScript: the last bit of a number may differ.
        let close = |(a, b): (f32, &f32)| (a - b).abs() <= 2e-7 * b.abs();
        assert!(found.zip(&wanted).all(close), "seed {seed}: {wanted:?}");
    }
    // The tail and the edges of the layers are rare: 200,000 draws meet them.
    let mut many = stream(1, Purpose::Sample, 0);
    let wanted: f64 = (0..200_000).map(|_| many.normal().abs()).sum();
    let found: f64 = lines.next().expect("a sum").parse().expect("a number");
    assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
    let uniform: f64 = lines.next().expect("a number").parse().expect("a number");
    assert_eq!(uniform, stream(5, Purpose::Size, 6).uniform());
}
