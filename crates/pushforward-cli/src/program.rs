//! A reward computed by a program of the user: one JSON object per line in, one number per line out.
//!
//! The program is started once and kept running. If it ends or does not answer in time, it is restarted and asked
//! again; a batch that fails twice is bisected down to the item that makes it fail, whose reward is then minus
//! infinity, as for an answer that is not a number. Too many of these, or a program that has never answered, end the
//! run with what is known.

use std::cell::{Cell, RefCell};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pushforward::flow_map::steer::RewardError;

/// Number of items without an answer that ends the run.
const MOST_UNANSWERED: usize = 16;
/// Maximum number of bytes of the program's stderr that are reported.
const COMPLAINT: usize = 400;

/// A program that scores items.
pub(crate) struct Program {
    command: String,
    timeout: Duration,
    running: RefCell<Option<Running>>,
    has_answered: Cell<bool>,
    unanswered: Cell<usize>,
    last_problem: RefCell<String>,
}

struct Running {
    child: Child,
    /// Lines of its standard output.
    answers: Receiver<String>,
    complaints: Option<JoinHandle<String>>,
}

impl Program {
    /// A program, started at the first request.
    pub(crate) fn new(command: &str, timeout: Duration) -> Self {
        Self {
            command: command.to_owned(),
            timeout,
            running: RefCell::new(None),
            has_answered: Cell::new(false),
            unanswered: Cell::new(0),
            last_problem: RefCell::new(String::new()),
        }
    }

    /// Number of items without a number as answer, and the last problem.
    pub(crate) fn unanswered(&self) -> (usize, String) {
        (self.unanswered.get(), self.last_problem.borrow().clone())
    }

    /// Rewards, one per line.
    pub(crate) fn score(&self, lines: &[String]) -> Result<Vec<f64>, RewardError> {
        let first = self.request(lines);
        let again = first.or_else(|_| self.request(lines));
        match again {
            Ok(values) => Ok(values),
            Err(problem) if !self.has_answered.get() => {
                Err(RewardError::Failed(format!("the program `{}` has given no answer: {problem}", self.command)))
            }
            Err(problem) if lines.len() == 1 => {
                self.miss(problem)?;
                Ok(vec![f64::NEG_INFINITY])
            }
            Err(_) => {
                let (left, right) = lines.split_at(lines.len() / 2);
                let mut values = self.score(left)?;
                values.extend(self.score(right)?);
                Ok(values)
            }
        }
    }

    /// Counts an item without an answer.
    fn miss(&self, problem: String) -> Result<(), RewardError> {
        self.unanswered.set(self.unanswered.get() + 1);
        let message = format!(
            "the program `{}` has left {} items without a number; the last time {problem}",
            self.command,
            self.unanswered.get()
        );
        *self.last_problem.borrow_mut() = problem;
        if self.unanswered.get() > MOST_UNANSWERED { Err(RewardError::Failed(message)) } else { Ok(()) }
    }

    /// Requests the rewards once; a failure stops the program.
    fn request(&self, lines: &[String]) -> Result<Vec<f64>, String> {
        let mut slot = self.running.borrow_mut();
        let mut running = match slot.take() {
            Some(running) => running,
            None => Running::start(&self.command)?,
        };
        let mut answers = Vec::with_capacity(lines.len());
        let exchanged = running.exchange(lines, self.timeout, &mut answers);
        let number = |answer: &String| answer.trim().parse::<f64>().ok().filter(|v| !v.is_nan() && *v < f64::INFINITY);
        self.has_answered.set(self.has_answered.get() || answers.iter().any(|a| number(a).is_some()));
        match exchanged {
            Ok(()) => *slot = Some(running),
            Err(problem) => return Err(running.end(problem)),
        }
        drop(slot);
        let mut values = Vec::with_capacity(answers.len());
        for answer in answers {
            values.push(match number(&answer) {
                Some(value) => value,
                None => {
                    let shown: String = answer.chars().take(80).collect();
                    self.miss(format!("it answered {shown:?}")).map_err(|e| e.to_string())?;
                    f64::NEG_INFINITY
                }
            });
        }
        Ok(values)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.borrow_mut().take() {
            // Killed without waiting for it to end by itself, since its answers are no longer needed.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

impl Running {
    fn start(command: &str) -> Result<Self, String> {
        let mut shell = if cfg!(windows) { Command::new("cmd") } else { Command::new("sh") };
        shell.args([if cfg!(windows) { "/C" } else { "-c" }, command]);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = shell.spawn().map_err(|e| format!("it cannot be started: {e}"))?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let (send, answers) = channel();
        thread::spawn(move || {
            let lines = output.into_iter().flat_map(|o| BufReader::new(o).lines()).map_while(Result::ok);
            for line in lines {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let complaints = thread::spawn(move || {
            let mut text = Vec::new();
            // Read until closed, or the program would block on a full pipe; only the end of the text is kept.
            let mut buffer = [0; 4096];
            let mut errors = errors;
            while let Some(n) = errors.as_mut().and_then(|e| e.read(&mut buffer).ok()).filter(|n| *n > 0) {
                text.extend_from_slice(&buffer[..n]);
                text.drain(..text.len().saturating_sub(COMPLAINT));
            }
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        Ok(Self { child, answers, complaints: Some(complaints) })
    }

    /// Writes all lines and reads as many answers.
    fn exchange(&mut self, lines: &[String], timeout: Duration, answers: &mut Vec<String>) -> Result<(), String> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let mut input = self.child.stdin.take().ok_or("its input is gone")?;
        // In a thread of its own: a program that answers before it has read everything could otherwise deadlock on full
        // pipes.
        let writer = thread::spawn(move || {
            let written = input.write_all(text.as_bytes()).and_then(|()| input.flush());
            written.map(|()| input)
        });
        while answers.len() < lines.len() {
            match self.answers.recv_timeout(timeout) {
                Ok(answer) => answers.push(answer),
                Err(RecvTimeoutError::Timeout) => {
                    let (n, of) = (answers.len(), lines.len());
                    return Err(format!(
                        "it gave {n} of {of} answers and then none for {} s (does it flush its output?)",
                        timeout.as_secs_f64()
                    ));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("it ended after {} of {} answers", answers.len(), lines.len()));
                }
            }
        }
        let written = writer.join().map_err(|_| "its input failed".to_owned())?;
        self.child.stdin = Some(written.map_err(|e| format!("it does not read its input: {e}"))?);
        Ok(())
    }

    /// Stops the program; returns the problem with its exit status and its stderr.
    fn end(mut self, problem: String) -> String {
        let by_itself = self.child.try_wait().ok().flatten();
        let _ = self.child.kill();
        let status = by_itself.or_else(|| self.child.wait().ok().filter(|s| s.code().is_some()));
        let mut message = problem;
        if let Some(status) = status {
            message += &format!(" ({status})");
        }
        // Grandchildren may hold the pipe open, so stderr is awaited only if the program ended by itself.
        let said = self.complaints.take().filter(|c| by_itself.is_some() || c.is_finished());
        if let Some(said) = said.and_then(|c| c.join().ok()).filter(|said| !said.is_empty()) {
            message += &format!("; it said: {said}");
        }
        message
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn lines(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("{{\"n\": {i}}}")).collect()
    }

    fn request(command: &str, n: usize) -> (Result<Vec<f64>, RewardError>, usize) {
        let program = Program::new(command, Duration::from_millis(700));
        let found = program.score(&lines(n));
        (found, program.unanswered().0)
    }

    #[test]
    fn a_program_answers_line_by_line_and_is_kept() {
        let program = Program::new("i=0; while read -r line; do echo $i; i=$((i+1)); done", Duration::from_secs(20));
        assert_eq!(program.score(&lines(3)).unwrap(), [0.0, 1.0, 2.0]);
        assert_eq!(program.score(&lines(2)).unwrap(), [3.0, 4.0], "it is the same process");
        let many = program.score(&lines(20_000)).unwrap();
        assert_eq!((many.len(), many[19_999]), (20_000, 20_004.0), "more than a pipe holds");
    }

    #[test]
    fn bad_answers_cost_their_item_only() {
        let (values, unanswered) =
            request("while read -r line; do case \"$line\" in *1}) echo nonsense;; *) echo 2;; esac; done", 3);
        assert_eq!((values.unwrap(), unanswered), (vec![2.0, f64::NEG_INFINITY, 2.0], 1));
        let (values, _) = request("while read -r line; do echo nan; done", 2);
        assert_eq!(values.unwrap(), [f64::NEG_INFINITY; 2]);
    }

    #[test]
    fn the_item_that_kills_it_is_found() {
        let (values, unanswered) =
            request("while read -r line; do case \"$line\" in *5}) exit 3;; *) echo 1;; esac; done", 8);
        let values = values.unwrap();
        assert_eq!(values.iter().filter(|v| **v == 1.0).count(), 7);
        assert_eq!((values[5], unanswered), (f64::NEG_INFINITY, 1));
    }

    #[test]
    fn a_program_that_hangs_is_started_again() {
        let (values, unanswered) =
            request("while read -r line; do case \"$line\" in *2}) sleep 5;; *) echo 1;; esac; done", 4);
        assert_eq!((values.unwrap()[2], unanswered), (f64::NEG_INFINITY, 1));
    }

    #[test]
    fn a_program_that_never_answers_says_why() {
        let message = |command| request(command, 2).0.unwrap_err().to_string();
        let missing = message("no-such-program-anywhere");
        assert!(missing.contains("has given no answer") && missing.contains("127"), "{missing}");
        let dead = message("echo broken model >&2; exit 4");
        assert!(dead.contains("broken model") && dead.contains("4"), "{dead}");
        assert!(message("cat > /dev/null; sleep 5").contains("flush"), "a silent one");
        let wrong = request("while read -r line; do echo x; done", 100).0.unwrap_err().to_string();
        assert!(wrong.contains("without a number") || wrong.contains("no answer"), "{wrong}");
    }
}
