//! Ctrl-C: the first one stops the program at the next step, the second one at once.
//!
//! SIGTERM and SIGHUP count as Ctrl-C, so that a job killed by a scheduler or a closed terminal also writes its
//! checkpoint.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::printer::Printer;

/// Exit code of a program stopped by an interrupt, as shells report it: 128 plus the signal's number.
const EXIT_INTERRUPTED: i32 = 130;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Installs the handler; call once, early.
///
/// # Errors
/// The handler cannot be installed. The program can continue: an interrupt then ends it at once.
pub(crate) fn install(printer: Printer) -> anyhow::Result<()> {
    ctrlc::set_handler(move || {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            process::exit(EXIT_INTERRUPTED);
        }
        printer.note("\nstopping after this step (press Ctrl-C again to stop at once)");
    })?;
    Ok(())
}

/// Whether the program has been interrupted.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
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
    fn first_interrupt_sets_the_flag_and_second_exits_with_130() {
        for signal in ["INT", "TERM"] {
            let mut listener = Listener::start();
            listener.wait_for("ready");
            listener.signal(signal);
            listener.wait_for("interrupted");
            assert!(listener.child.try_wait().unwrap().is_none(), "the first {signal} must not end the program");
            listener.signal(signal);
            assert_eq!(listener.child.wait().unwrap().code(), Some(130), "second {signal}");
        }
    }

    #[test]
    fn nothing_is_interrupted_at_first() {
        assert!(!interrupted());
    }
}
