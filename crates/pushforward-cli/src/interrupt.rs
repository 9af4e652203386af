//! Ctrl-C: the first one stops the program at the next step, the second one at once.
//!
//! SIGTERM and SIGHUP count as Ctrl-C, so that a job killed by a scheduler or a closed terminal also writes its
//! checkpoint. A program that was stopped ends with the exit code that shells report for its signal, 128 plus the
//! number: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.

use std::process;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use crate::printer::Printer;
use crate::ranks;

/// Signals within this time of the first one are the same request, where there are several processes.
const SAME: Duration = Duration::from_secs(5);

/// The first signal; 0 if there was none.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// Installs the handler; call once, early.
///
/// # Errors
/// The handler cannot be installed. The program can continue: an interrupt then ends it at once.
pub(crate) fn install(printer: Printer) -> anyhow::Result<()> {
    let mut first = None;
    listen(move |signal| {
        if SIGNAL.swap(signal, Ordering::SeqCst) != 0 {
            // A scheduler and a launcher may both pass on the same signal.
            if ranks::several() && first.is_some_and(|first: Instant| first.elapsed() < SAME) {
                return;
            }
            process::exit(128 + signal);
        }
        first = Some(Instant::now());
        printer.note("\nstopping after this step (press Ctrl-C again to stop at once)");
    })
}

#[cfg(unix)]
fn listen(mut on_signal: impl FnMut(i32) + Send + 'static) -> anyhow::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || signals.forever().for_each(&mut on_signal));
    Ok(())
}

#[cfg(not(unix))]
fn listen(mut on_signal: impl FnMut(i32) + Send + 'static) -> anyhow::Result<()> {
    const SIGINT: i32 = 2;
    Ok(ctrlc::set_handler(move || on_signal(SIGINT))?)
}

/// Whether the program has been interrupted.
pub(crate) fn interrupted() -> bool {
    SIGNAL.load(Ordering::SeqCst) != 0
}

/// The exit code of a program that was interrupted.
pub(crate) fn exit_code() -> Option<u8> {
    let signal = SIGNAL.load(Ordering::SeqCst);
    (signal != 0).then(|| u8::try_from(128 + signal).unwrap_or(u8::MAX))
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    #[test]
    #[ignore = "a child process of the other tests; waits to be interrupted"]
    fn waits_for_an_interrupt() {
        let printer = Printer::default();
        install(printer).unwrap();
        printer.result("ready");
        let mut reported = false;
        // Long enough for the parent's signals, short enough not to outlive a failed parent for long.
        for _ in 0..500 {
            if interrupted() && !reported {
                printer.result("interrupted");
                reported = true;
            }
            sleep(Duration::from_millis(10));
        }
    }

    struct Listener {
        child: Child,
        lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    }

    impl Listener {
        fn start() -> Self {
            let name = concat!(module_path!(), "::waits_for_an_interrupt").split_once("::").expect("a module path").1;
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--nocapture", "--exact", name])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            Self { child, lines }
        }

        fn wait_for(&mut self, text: &str) {
            assert!(self.lines.any(|line| line.unwrap().contains(text)), "the child never said {text:?}");
        }

        fn signal(&self, name: &str) {
            let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
            assert!(status.success());
        }
    }

    #[test]
    fn the_first_signal_sets_the_flag_and_the_second_ends_the_program() {
        for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
            let mut listener = Listener::start();
            listener.wait_for("ready");
            listener.signal(signal);
            listener.wait_for("interrupted");
            assert!(listener.child.try_wait().unwrap().is_none(), "the first {signal} must not end the program");
            listener.signal(signal);
            assert_eq!(listener.child.wait().unwrap().code(), Some(code), "second {signal}");
        }
    }

    #[test]
    fn nothing_is_interrupted_at_first() {
        assert!(!interrupted() && exit_code().is_none());
    }
}
