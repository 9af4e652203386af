//! A file server for tests, with a chosen reply, correct or faulty, for each connection.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::download::Connection;

/// Reply of the test server to one connection.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// The file, or the requested range; 416 past its end.
    File(Vec<u8>),
    /// The whole file, whatever range is requested.
    IgnoreRange(Vec<u8>),
    /// As `File`, but the connection closes after this many bytes.
    Cut(Vec<u8>, usize),
    /// As `Cut`, but the connection stays open in silence.
    Stall(Vec<u8>, usize),
    /// The whole file without its length.
    NoLength(Vec<u8>),
    /// The file labelled as gzip-encoded, as some servers label `.gz` files.
    LabelledGzip(Vec<u8>),
    /// A range other than the requested one.
    WrongRange(Vec<u8>),
    /// Just a status.
    Status(u16),
}

/// A server that gives one reply to each connection, the last one again and again.
pub(crate) struct Server {
    /// Address that file names are appended to.
    pub(crate) base: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Listens on a free port of this machine.
    pub(crate) fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = requests.clone();
        // The thread ends with the test process.
        thread::spawn(move || {
            for (index, stream) in listener.incoming().enumerate() {
                let reply = replies[index.min(replies.len() - 1)].clone();
                // A client that hangs up early is part of some tests.
                let _ = answer(stream.unwrap(), &reply, &log);
            }
        });
        Self { base, requests }
    }

    /// Address of the one file that tests of a single download ask for.
    pub(crate) fn url(&self) -> String {
        format!("{}file.bin", self.base)
    }

    /// `PATH RANGE` of each request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, reply: &Reply, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut path = String::new();
    let mut range = None;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        if let Some(rest) = line.strip_prefix("GET ") {
            path = rest.split(' ').next().unwrap_or_default().to_string();
        }
        let lower = line.to_lowercase();
        if let Some(start) = lower.strip_prefix("range: bytes=").and_then(|text| text.strip_suffix('-')) {
            range = Some(start.parse::<usize>().unwrap());
        }
        assert!(!lower.starts_with("accept-encoding") || lower.ends_with("identity"), "{line}");
        if line.is_empty() {
            break;
        }
    }
    log.lock().unwrap().push(format!("{path} {}", range.map_or("all".to_string(), |start| start.to_string())));

    let mut send = |status: &str, headers: String, body: &[u8]| {
        write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n")?;
        stream.write_all(body)
    };
    let length = |bytes: usize| format!("Content-Length: {bytes}\r\n");
    let part_of = |file: &[u8], start: usize| {
        format!("{}Content-Range: bytes {start}-{}/{}\r\n", length(file.len() - start), file.len() - 1, file.len())
    };
    match reply {
        Reply::File(file) | Reply::Cut(file, _) | Reply::Stall(file, _) => {
            let start = range.unwrap_or(0);
            if range.is_some() && start >= file.len() {
                let headers = format!("{}Content-Range: bytes */{}\r\n", length(0), file.len());
                return send("416 Range Not Satisfiable", headers, b"");
            }
            let end = match reply {
                Reply::Cut(_, count) | Reply::Stall(_, count) => (start + count).min(file.len()),
                _ => file.len(),
            };
            match range {
                Some(_) => send("206 Partial Content", part_of(file, start), &file[start..end])?,
                None => send("200 OK", length(file.len()), &file[..end])?,
            }
            if let Reply::Stall(..) = reply {
                thread::sleep(Duration::from_secs(5));
            }
            Ok(())
        }
        Reply::IgnoreRange(file) => send("200 OK", length(file.len()), file),
        Reply::NoLength(file) => send("200 OK", String::new(), file),
        Reply::LabelledGzip(file) => send("200 OK", length(file.len()) + "Content-Encoding: gzip\r\n", file),
        Reply::WrongRange(file) => match range {
            Some(_) => send("206 Partial Content", part_of(file, 1), &file[1..]),
            None => send("200 OK", length(file.len()), file),
        },
        Reply::Status(status) => send(&format!("{status} Whatever"), length(0), b""),
    }
}

/// Short timeouts.
pub(crate) fn connection() -> Connection {
    Connection { connect: Duration::from_secs(2), stall: Duration::from_millis(300), proxy: None }
}

/// An address that refuses connections: a port that no test server ever uses.
pub(crate) fn closed_port() -> String {
    "http://127.0.0.1:1/".to_string()
}
