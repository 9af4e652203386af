//! The page in a browser without a window: the Chromium that `PUSHFORWARD_BROWSER` names; skipped with a message without it,
//! because on a busy machine the browser's clock can run ahead of every answer.

use std::process::Command;

use super::Server;

/// The page as it is once its script has nothing more to do. The browser's clock runs ahead while it waits for parts of an
/// answer, so that it may be too early; then the page is opened again.
pub(crate) fn shown(browser: &str, address: &str) -> String {
    let open = || {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let out = Command::new(browser)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=60000"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(address)
            .output()
            .expect("it starts");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let ready = |page: &String| page.contains("data-idle=\"yes\"");
    (0..30).map(|_| open()).find(ready).unwrap_or_else(|| panic!("{address} is never ready"))
}

#[test]
fn every_kind_of_model_is_shown() {
    let Ok(browser) = std::env::var("PUSHFORWARD_BROWSER") else {
        // A test writes to stderr only.
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: PUSHFORWARD_BROWSER does not name a Chromium");
        return;
    };
    let server = Server::start(&["glyphs", "echo", "molecules", "center"], &[]);
    let at = |state: &str| shown(&browser, &format!("{}/#{state}", server.base));
    let glyphs = at("model=glyphs&count=12&nfe=3&labels=3,7");
    assert_eq!(glyphs.matches("aria-label=\"sample ").count(), 12, "{glyphs}");
    assert!(glyphs.contains("sample 1, label 7") && glyphs.contains("12 items in"), "{glyphs}");
    assert!(glyphs.contains("pushforward sample glyphs -n 12 --seed 0 --nfe 3 --label 3,7"), "{glyphs}");
    assert!(glyphs.contains("\"nfe\":3") && glyphs.contains("curl -H"), "{glyphs}");
    let kept = at("model=glyphs&count=2&keep=3:1,4:0");
    assert!(kept.contains("--require 3:1 --require 4:0") && kept.contains("2 items in"), "{kept}");
    let molecules = at("model=molecules&count=3&correct");
    assert!(molecules.contains("--correct") && molecules.contains("3 valid molecules"), "{molecules}");
    let echo = at("model=echo&count=5&infill=a______b");
    let lines =
        echo.split("id=\"samples\"").nth(1).expect("the list").split("</ul>").next().expect("its end").to_owned();
    let items: Vec<&str> =
        lines.split("<li>").skip(1).map(|part| part.split("</li>").next().expect("its end")).collect();
    assert!(items.len() == 5 && items.iter().all(|text| text.starts_with('a') && text.ends_with('b')), "{items:?}");
    let steered = at("model=echo&count=4&steer=1");
    assert!(steered.contains("mean reward") && steered.matches("reward ").count() > 8, "{steered}");
    let wrong = at("model=echo&count=5000");
    assert!(wrong.contains("class=\"wrong\"") && wrong.contains("may be 1 to 256"), "{wrong}");
    assert!(at("model=center&count=3").matches("aria-label=\"sample ").count() == 3);
}
