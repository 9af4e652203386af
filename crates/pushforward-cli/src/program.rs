//! A reward computed by a program of the user: one JSON object per line in, one number per line out.
//!
//! The program is started once and kept running. If it ends or does not answer in time, it is restarted and asked
//! again; a batch that fails twice is bisected down to the item that makes it fail, whose reward is then minus
//! infinity, as for an answer that is not a number. Too many of these, or a program that has never answered, end the
//! run with what is known.
//!
//! A line that nothing asked for ends the run at once: every later answer would belong to another item. Lines are
//! limited in length and number, and the program is ended together with the programs that it has started.

use std::cell::{Cell, RefCell};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pushforward::flow_map::steer::RewardError;

/// Number of items without an answer that ends the run.
const MOST_UNANSWERED: usize = 16;
/// Maximum number of bytes of the program's stderr that are reported.
const COMPLAINT: usize = 400;
/// Maximum number of bytes of an answer.
const LONGEST_ANSWER: usize = 1 << 16;
/// Answers that wait to be read; a program that writes more waits in turn.
const WAITING: usize = 1024;
/// Longest time between two looks at a program that is being waited for.
const GLANCE: Duration = Duration::from_millis(20);
/// Time that stderr is waited for after the end of a program, in which what it started may still hold the pipe.
const LAST_WORDS: Duration = Duration::from_millis(300);

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
    complaints: JoinHandle<String>,
}

/// Why a batch was not scored.
enum Problem {
    /// The program may do better when it is started again.
    Failed(String),
    /// Its answers cannot be told apart any more.
    Surplus(String),
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
        let retried = match self.request(lines) {
            Err(Problem::Failed(_)) => self.request(lines),
            other => other,
        };
        match retried {
            Ok(values) => Ok(values),
            Err(Problem::Surplus(problem)) => Err(RewardError::Failed(problem)),
            Err(Problem::Failed(problem)) if !self.has_answered.get() => {
                Err(RewardError::Failed(format!("the program `{}` has given no answer: {problem}", self.command)))
            }
            Err(Problem::Failed(problem)) if lines.len() == 1 => {
                self.miss(problem)?;
                Ok(vec![f64::NEG_INFINITY])
            }
            Err(Problem::Failed(_)) => {
                let (left, right) = lines.split_at(lines.len() / 2);
                let mut values = self.score(left)?;
                values.extend(self.score(right)?);
                Ok(values)
            }
        }
    }

    /// Ends the program after its last answer.
    ///
    /// # Errors
    /// If it wrote a line that nothing asked for.
    pub(crate) fn finish(&self) -> Result<(), RewardError> {
        let Some(mut running) = self.running.borrow_mut().take() else { return Ok(()) };
        running.child.stdin = None;
        let surplus = running.answers.recv_timeout(self.timeout.min(Duration::from_secs(1))).ok();
        running.kill();
        surplus.map_or(Ok(()), |line| Err(RewardError::Failed(self.surplus(&line))))
    }

    fn surplus(&self, line: &str) -> String {
        format!(
            "the program `{}` wrote a line more than it was asked for, {}: it must answer each line of its input with \
             exactly one line, and print nothing else (messages belong to stderr)",
            self.command,
            excerpt(line)
        )
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
    fn request(&self, lines: &[String]) -> Result<Vec<f64>, Problem> {
        let mut slot = self.running.borrow_mut();
        let mut running = match slot.take() {
            Some(running) => running,
            None => Running::start(&self.command).map_err(Problem::Failed)?,
        };
        if let Ok(line) = running.answers.try_recv() {
            running.kill();
            return Err(Problem::Surplus(self.surplus(&line)));
        }
        let mut answers = Vec::with_capacity(lines.len());
        let exchanged = running.exchange(lines, self.timeout, &mut answers);
        let number = |answer: &String| answer.trim().parse::<f64>().ok().filter(|v| !v.is_nan() && *v < f64::INFINITY);
        self.has_answered.set(self.has_answered.get() || answers.iter().any(|a| number(a).is_some()));
        match exchanged {
            Ok(()) => *slot = Some(running),
            Err(problem) => return Err(Problem::Failed(running.end(problem))),
        }
        drop(slot);
        let mut values = Vec::with_capacity(answers.len());
        for answer in answers {
            values.push(match number(&answer) {
                Some(value) => value,
                None => {
                    let told = self.miss(format!("it answered {}", excerpt(&answer)));
                    told.map_err(|e| Problem::Failed(e.to_string()))?;
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
            running.kill();
        }
    }
}

/// The beginning of a line, with quotes and escapes.
fn excerpt(line: &str) -> String {
    let shown: String = line.chars().take(80).collect();
    format!("{shown:?}")
}

impl Running {
    fn start(command: &str) -> Result<Self, String> {
        let mut shell = if cfg!(windows) { Command::new("cmd") } else { Command::new("sh") };
        shell.args([if cfg!(windows) { "/C" } else { "-c" }, command]);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A process group, to be ended with everything that the program starts.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        let mut child = shell.spawn().map_err(|e| format!("it cannot be started: {e}"))?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let (send, answers) = sync_channel(WAITING);
        thread::spawn(move || {
            let mut output = output.map(BufReader::new);
            while let Some(line) = output.as_mut().and_then(read_line) {
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
        Ok(Self { child, answers, complaints })
    }

    /// Writes all lines and reads as many answers.
    fn exchange(&mut self, lines: &[String], timeout: Duration, answers: &mut Vec<String>) -> Result<(), String> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let mut input = self.child.stdin.take().ok_or("its input is gone")?;
        // In a thread of its own: a program that answers before it has read everything could otherwise deadlock on full
        // pipes.
        let mut writer = Some(thread::spawn(move || {
            let written = input.write_all(text.as_bytes()).and_then(|()| input.flush());
            written.map(|()| input)
        }));
        let mut deadline = Instant::now() + timeout;
        while answers.len() < lines.len() || writer.is_some() {
            if writer.as_ref().is_some_and(JoinHandle::is_finished) {
                self.child.stdin = Some(joined(writer.take())?);
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (n, of, seconds) = (answers.len(), lines.len(), timeout.as_secs_f64());
                return Err(if n < of {
                    format!("it gave {n} of {of} answers and then none for {seconds} s (does it flush its output?)")
                } else {
                    format!("it gave all answers, but did not read all of its input for {seconds} s")
                });
            }
            if answers.len() == lines.len() {
                thread::sleep(GLANCE.min(left));
                continue;
            }
            match self.answers.recv_timeout(GLANCE.min(left)) {
                Ok(answer) => {
                    answers.push(answer);
                    deadline = Instant::now() + timeout;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("it ended after {} of {} answers", answers.len(), lines.len()));
                }
            }
        }
        Ok(())
    }

    /// Ends the program and what it has started.
    fn kill(&mut self) {
        #[cfg(unix)]
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            // Fails if the whole group has ended.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops the program; returns the problem with its exit status and its stderr.
    fn end(mut self, problem: String) -> String {
        let by_itself = self.child.try_wait().ok().flatten();
        self.kill();
        let status = by_itself.or_else(|| self.child.wait().ok().filter(|s| s.code().is_some()));
        let mut message = problem;
        if let Some(status) = status {
            message += &format!(" ({status})");
        }
        // What left the process group may hold the pipe open.
        let until = Instant::now() + LAST_WORDS;
        while !self.complaints.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        if self.complaints.is_finished()
            && let Some(said) = self.complaints.join().ok().filter(|said| !said.is_empty())
        {
            message += &format!("; it said: {said}");
        }
        message
    }
}

fn joined(writer: Option<JoinHandle<std::io::Result<ChildStdin>>>) -> Result<ChildStdin, String> {
    let written = writer.and_then(|writer| writer.join().ok()).ok_or("its input failed")?;
    written.map_err(|e| format!("it does not read its input: {e}"))
}

/// The next line, or the first part of one that is too long to be an answer; `None` at the end.
fn read_line(output: &mut impl std::io::BufRead) -> Option<String> {
    let mut line = Vec::new();
    let n = output.take(LONGEST_ANSWER as u64).read_until(b'\n', &mut line).ok()?;
    (n > 0).then(|| String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned())
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

    #[test]
    fn a_line_that_nothing_asked_for_ends_the_run() {
        let banner = "echo ready; while read -r line; do echo 1; done";
        let program = Program::new(banner, Duration::from_secs(20));
        // The last answer of the first batch may still be on its way when the batch is complete.
        let found = program.score(&lines(3)).and_then(|_| program.score(&lines(3))).and_then(|_| program.finish());
        let message = found.unwrap_err().to_string();
        assert!(message.contains("a line more") && message.contains("exactly one line"), "{message}");
        // Once more with a single batch.
        let program = Program::new(banner, Duration::from_secs(20));
        let found = program.score(&lines(3)).and_then(|_| program.finish());
        assert!(found.unwrap_err().to_string().contains("a line more"));
        let tidy = Program::new("while read -r line; do echo 1; done", Duration::from_secs(20));
        assert!(tidy.score(&lines(3)).and_then(|_| tidy.finish()).is_ok());
    }

    #[test]
    fn endless_output_takes_no_memory() {
        for endless in ["yes", "cat /dev/zero"] {
            let program = Program::new(endless, Duration::from_secs(5));
            let found = program.score(&lines(40)).and_then(|_| program.score(&lines(2)));
            assert!(found.is_err(), "{endless}");
        }
    }

    #[test]
    fn nothing_is_waited_for_beyond_the_timeout() {
        let start = Instant::now();
        let (found, _) = request("sleep 60 & exit 0", 2);
        assert!(found.is_err());
        let (found, _) = request("exec <&-; sleep 60", 20_000);
        assert!(found.is_err());
        let (found, _) = request("i=0; while [ $i -lt 20000 ]; do echo 1; i=$((i+1)); done; sleep 60", 20_000);
        assert!(found.is_err());
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }

    #[test]
    fn what_the_program_started_ends_with_it() {
        let mark = tempfile::NamedTempFile::new().unwrap();
        let command = format!("(while :; do date > '{}'; sleep 0.05; done) & cat > /dev/null", mark.path().display());
        assert!(request(&command, 1).0.is_err());
        thread::sleep(Duration::from_millis(200));
        std::fs::write(mark.path(), "").unwrap();
        thread::sleep(Duration::from_millis(300));
        assert_eq!(std::fs::read_to_string(mark.path()).unwrap(), "");
    }
}
