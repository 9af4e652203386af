//! Downloads from a server of this process: whole, resumed, broken off, damaged.

use pushforward::hash;

use super::*;
use crate::test_server::{Reply, Server, closed_port, connection};

/// 300,000 bytes without a pattern.
fn content() -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..300_000).map(|_| next()).collect()
}

/// A target in a fresh folder, with its request.
struct Case {
    folder: tempfile::TempDir,
    bytes: Option<u64>,
    sha256: Option<String>,
}

impl Case {
    fn new() -> Self {
        let sha256 = hash::sha256([content()]);
        Self { folder: tempfile::tempdir().unwrap(), bytes: Some(300_000), sha256: Some(sha256) }
    }

    fn unpinned() -> Self {
        Self { bytes: None, sha256: None, ..Self::new() }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("file.bin")
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("file.bin.part")
    }

    fn run(&self, urls: &[String]) -> Result<Arrived, DownloadError> {
        self.run_until(urls, u64::MAX)
    }

    fn run_until(&self, urls: &[String], stop_at: u64) -> Result<Arrived, DownloadError> {
        let request = Request {
            urls,
            to: &self.target(),
            bytes: self.bytes,
            sha256: self.sha256.as_deref(),
            content: Content::Any,
            connection: &connection(),
        };
        download(&request, &mut |received, _| {
            if received >= stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    /// The file is there, whole, and nothing else is.
    fn assert_arrived(&self) {
        assert!(fs::read(self.target()).unwrap() == content(), "the file differs");
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 1, "only the file is left");
    }
}

fn only_problem(result: Result<Arrived, DownloadError>) -> Problem {
    match result {
        Err(DownloadError::Mirrors(mut problems)) if problems.len() == 1 => problems.remove(0).1,
        other => panic!("expected one mirror's problem, got {other:?}"),
    }
}

#[test]
fn whole_file_arrives() {
    let (case, server) = (Case::new(), Server::start(vec![Reply::File(content())]));
    let arrived = case.run(&[server.url()]).unwrap();
    case.assert_arrived();
    assert_eq!((arrived.bytes, Some(arrived.sha256), arrived.url), (300_000, case.sha256, server.url()));
    assert_eq!(server.requests(), ["/file.bin all"]);
}

#[test]
fn a_cut_connection_is_continued_in_the_same_run() {
    let case = Case::new();
    let server =
        Server::start(vec![Reply::Cut(content(), 100_000), Reply::Cut(content(), 50_000), Reply::File(content())]);
    case.run(&[server.url()]).unwrap();
    case.assert_arrived();
    assert_eq!(server.requests(), ["/file.bin all", "/file.bin 100000", "/file.bin 150000"]);
}

#[test]
fn a_silent_connection_is_continued_too() {
    let case = Case::new();
    let server = Server::start(vec![Reply::Stall(content(), 10_000), Reply::File(content())]);
    // The first connection keeps the server's only thread busy; a second server goes on.
    let second = Server::start(vec![Reply::File(content())]);
    case.run(&[server.url(), second.url()]).unwrap();
    case.assert_arrived();
    assert_eq!(second.requests(), ["/file.bin 10000"]);
}

#[test]
fn an_interrupted_download_is_continued_by_the_next_run() {
    let (case, server) = (Case::new(), Server::start(vec![Reply::File(content())]));
    assert!(matches!(case.run_until(&[server.url()], 1000), Err(DownloadError::Interrupted)));
    assert!(!case.target().exists());
    let kept = fs::metadata(case.part()).unwrap().len();
    assert!((1000..300_000).contains(&kept), "{kept} bytes kept");
    case.run(&[server.url()]).unwrap();
    case.assert_arrived();
    assert_eq!(server.requests(), ["/file.bin all".to_string(), format!("/file.bin {kept}")]);
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let (case, server) = (Case::new(), Server::start(vec![Reply::IgnoreRange(content())]));
    fs::write(case.part(), &content()[..70_000]).unwrap();
    case.run(&[server.url()]).unwrap();
    case.assert_arrived();
    assert_eq!(server.requests(), ["/file.bin 70000"]);
}

#[test]
fn a_range_not_asked_for_starts_over() {
    let (case, server) = (Case::new(), Server::start(vec![Reply::WrongRange(content())]));
    fs::write(case.part(), &content()[..70_000]).unwrap();
    case.run(&[server.url()]).unwrap();
    case.assert_arrived();
    assert_eq!(server.requests(), ["/file.bin 70000", "/file.bin all"]);
}

#[test]
fn a_complete_partial_file_needs_no_request_if_its_size_is_known() {
    let (case, server) = (Case::new(), Server::start(vec![Reply::Status(500)]));
    fs::write(case.part(), content()).unwrap();
    case.run(&[server.url()]).unwrap();
    case.assert_arrived();
    assert!(server.requests().is_empty());
}

#[test]
fn a_complete_partial_file_of_unknown_size_ends_with_416() {
    let (case, server) = (Case::unpinned(), Server::start(vec![Reply::File(content())]));
    fs::write(case.part(), content()).unwrap();
    case.run(&[server.url()]).unwrap();
    case.assert_arrived();
    assert_eq!(server.requests(), ["/file.bin 300000"]);
}

#[test]
fn a_partial_file_that_is_too_long_starts_over() {
    let too_long = [content(), vec![1, 2, 3]].concat();
    for (case, requests) in
        [(Case::new(), vec!["/file.bin all"]), (Case::unpinned(), vec!["/file.bin 300003", "/file.bin all"])]
    {
        let server = Server::start(vec![Reply::File(content())]);
        fs::write(case.part(), &too_long).unwrap();
        case.run(&[server.url()]).unwrap();
        case.assert_arrived();
        assert_eq!(server.requests(), requests);
    }
}

#[test]
fn a_partial_file_of_something_else_is_found_out_and_replaced() {
    let (case, server) = (Case::new(), Server::start(vec![Reply::File(content())]));
    fs::write(case.part(), vec![0; 70_000]).unwrap();
    case.run(&[server.url()]).unwrap();
    case.assert_arrived();
    assert_eq!(server.requests(), ["/file.bin 70000", "/file.bin all"]);
}

#[test]
fn a_length_need_not_be_announced() {
    for case in [Case::new(), Case::unpinned()] {
        let server = Server::start(vec![Reply::NoLength(content())]);
        case.run(&[server.url()]).unwrap();
        case.assert_arrived();
    }
}

#[test]
fn compressed_files_are_kept_compressed() {
    let (case, server) = (Case::new(), Server::start(vec![Reply::LabelledGzip(content())]));
    case.run(&[server.url()]).unwrap();
    case.assert_arrived();
}

#[test]
fn wrong_content_is_deleted_and_reported() {
    let mut other = content();
    other[5] ^= 1;
    let (case, server) = (Case::new(), Server::start(vec![Reply::File(other)]));
    let problem = only_problem(case.run(&[server.url()]));
    let expected = case.sha256.clone().unwrap();
    assert!(matches!(&problem, Problem::Checksum { expected: e, found } if *e == expected && *found != expected));
    assert!(problem.to_string().contains("deleted"));
    assert_eq!(fs::read_dir(case.folder.path()).unwrap().count(), 0);
    assert_eq!(server.requests().len(), 1, "the same wrong file is not fetched twice");
}

#[test]
fn wrong_size_is_told_without_a_transfer() {
    let (case, server) = (Case::new(), Server::start(vec![Reply::File(b"<html>sign in</html>".to_vec())]));
    assert!(matches!(only_problem(case.run(&[server.url()])), Problem::Size { expected: 300_000, found: 20 }));
    let endless = Server::start(vec![Reply::NoLength(vec![0; 2_000_000])]);
    assert!(matches!(only_problem(case.run(&[endless.url()])), Problem::Size { expected: 300_000, .. }));
    assert_eq!(fs::read_dir(case.folder.path()).unwrap().count(), 0);
}

#[test]
fn the_next_mirror_helps_out() {
    let case = Case::new();
    let (missing, closed) = (Server::start(vec![Reply::Status(404)]), format!("{}file.bin", closed_port()));
    let good = Server::start(vec![Reply::File(content())]);
    let arrived = case.run(&[missing.url(), closed, good.url()]).unwrap();
    case.assert_arrived();
    assert_eq!(arrived.url, good.url());
}

#[test]
fn every_mirror_is_told_if_none_delivers() {
    let case = Case::new();
    let urls = [Server::start(vec![Reply::Status(404)]).url(), closed_port(), "http://no.such.host.invalid/x".into()];
    let Err(DownloadError::Mirrors(problems)) = case.run(&urls) else { panic!("nothing can arrive") };
    assert_eq!(problems.iter().map(|(url, _)| url).collect::<Vec<_>>(), urls.iter().collect::<Vec<_>>());
    assert!(matches!(problems[0].1, Problem::Status(404)));
    assert!(matches!(problems[1].1, Problem::Unreachable(_)), "{:?}", problems[1]);
    assert!(matches!(problems[2].1, Problem::Unreachable(_)), "{:?}", problems[2]);
}

#[test]
fn a_mirror_that_always_breaks_is_given_up_and_its_bytes_are_kept() {
    let (case, server) = (Case::new(), Server::start(vec![Reply::Cut(content(), 1000)]));
    assert!(matches!(only_problem(case.run(&[server.url()])), Problem::Broken(_)));
    assert_eq!(server.requests().len(), TRIES);
    assert_eq!(fs::metadata(case.part()).unwrap().len(), 1000 * TRIES as u64);
    let dead = Server::start(vec![Reply::Cut(content(), 0)]);
    assert!(matches!(only_problem(case.run(&[dead.url()])), Problem::Broken(_)));
    assert_eq!(dead.requests().len(), 1, "a mirror that sends nothing is not asked again");
}

#[test]
fn two_downloads_of_one_file_do_not_mix() {
    let (case, server) = (Case::new(), Server::start(vec![Reply::File(content())]));
    let first = Part::open(&case.target()).unwrap();
    assert!(matches!(case.run(&[server.url()]), Err(DownloadError::Busy(_))));
    drop(first);
    case.run(&[server.url()]).unwrap();
}

#[test]
fn content_ranges() {
    assert_eq!(parse_range("bytes 10-19/30"), Range { start: Some(10), total: Some(30) });
    assert_eq!(parse_range("bytes 10-19/*"), Range { start: Some(10), total: None });
    assert_eq!(parse_range("bytes */30"), Range { start: None, total: Some(30) });
    assert_eq!(parse_range("pages 1-2/3"), Range::default());
}
