//! The logs of one activation: lines with time and stream, up to a limit (openwhisk-api.md 7, 11.5).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use triplane_model::activation::text;

use crate::record::{push_escaped, put};

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout = 0,
    Stderr = 1,
}

impl Output {
    fn label(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The last line of logs that were cut although they are within their limit (openwhisk-api.md 11.5).
const COLLECTION_FAILED: &str = "There was an issue while collecting your logs. Data might be missing.";
/// Memory is taken from the budget in such steps, so that calls that write little take one step at most.
const STEP_BYTES: u64 = 16 << 10;

/// The memory that logs of all containers may take before they are written to the spool.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: u64,
    bytes: AtomicU64,
}

impl Budget {
    pub(crate) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes: AtomicU64::new(0) })
    }

    fn take(&self, bytes: u64) -> bool {
        let taken = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.bytes_max;
        if !taken {
            self.give(bytes);
        }
        taken
    }

    fn give(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Takes what was written and makes lines of it. Holds at most a multiple of its limit, whatever comes, and what the
/// budget of all collectors allows.
#[derive(Debug)]
pub(crate) struct Collector {
    budget: Arc<Budget>,
    /// Of the budget.
    taken: u64,
    /// The budget had no more.
    starved: bool,
    /// Bytes of text, each line with its end, that are kept. OpenWhisk counts so.
    bytes_max: u64,
    bytes: u64,
    truncated: bool,
    /// Something that was written is known to be missing.
    incomplete: bool,
    /// The inside of a JSON array.
    lines: String,
    /// What has no end of line yet.
    partial: [Vec<u8>; 2],
}

impl Collector {
    /// Nothing is collected with a limit of 0.
    pub(crate) fn new(bytes_max: u64, budget: Arc<Budget>) -> Self {
        Self {
            budget,
            taken: 0,
            starved: false,
            bytes_max,
            bytes: 0,
            truncated: false,
            incomplete: false,
            lines: String::new(),
            partial: [Vec::new(), Vec::new()],
        }
    }

    /// Whether anything is kept at all.
    pub(crate) fn collects(&self) -> bool {
        self.bytes_max > 0
    }

    /// Bytes that are held.
    pub(crate) fn held_bytes(&self) -> usize {
        self.lines.len() + self.partial.iter().map(Vec::len).sum::<usize>()
    }

    /// Something that was written did not come here.
    pub(crate) fn mark_incomplete(&mut self) {
        self.incomplete = self.bytes_max > 0;
    }

    /// Takes in what was read at this time.
    pub(crate) fn push(&mut self, output: Output, bytes: &[u8], now: &Stamp) {
        if self.bytes_max == 0 {
            return;
        }
        self.reserve(bytes.len());
        let mut rest = bytes;
        while !self.truncated && !rest.is_empty() {
            let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
                self.hold(output, rest, now);
                return;
            };
            let line = &rest[..end];
            rest = &rest[end + 1..];
            let mut held = std::mem::take(&mut self.partial[output as usize]);
            if held.is_empty() {
                self.line(output, line, now);
            } else {
                held.extend_from_slice(line);
                self.line(output, &held, now);
            }
        }
    }

    /// The logs as a JSON array, with what had no end of line; the collector starts afresh. A run that `failed` gets
    /// the line that says that something may be missing.
    pub(crate) fn take(&mut self, failed: bool) -> String {
        let is_empty = self.lines.is_empty() && self.partial.iter().all(Vec::is_empty);
        let has_notes = self.truncated || self.incomplete || (failed && self.bytes_max > 0);
        if is_empty && !has_notes {
            return "[]".to_owned();
        }
        let fresh = Self::new(self.bytes_max, Arc::clone(&self.budget));
        std::mem::replace(self, fresh).finish(failed, &Stamp::now())
    }

    fn finish(mut self, failed: bool, now: &Stamp) -> String {
        for output in [Output::Stdout, Output::Stderr] {
            let held = std::mem::take(&mut self.partial[output as usize]);
            if !held.is_empty() && !self.truncated {
                self.line(output, &held, now);
            }
        }
        if self.truncated {
            let why = text::logs_truncated(self.bytes_max);
            self.put_line(Output::Stderr, if self.starved { COLLECTION_FAILED } else { &why }, now);
        }
        if self.incomplete {
            self.put_line(Output::Stderr, COLLECTION_FAILED, now);
        }
        if failed && self.bytes_max > 0 {
            self.put_line(Output::Stderr, text::LOGS_MIGHT_BE_MISSING, now);
        }
        if self.lines.is_empty() {
            return "[]".to_owned();
        }
        let mut lines = std::mem::take(&mut self.lines);
        lines.insert(0, '[');
        lines.push(']');
        lines
    }

    /// Sees to it that the budget covers what is held and `more`; else nothing more is kept.
    fn reserve(&mut self, more: usize) {
        let needed = (self.held_bytes() + more) as u64;
        if needed <= self.taken || self.truncated {
            return;
        }
        let step = (needed - self.taken).next_multiple_of(STEP_BYTES);
        if self.budget.take(step) {
            self.taken += step;
        } else {
            (self.truncated, self.starved) = (true, true);
        }
    }

    /// Keeps the start of a line, but no more than the limit leaves room for.
    fn hold(&mut self, output: Output, bytes: &[u8], now: &Stamp) {
        self.partial[output as usize].extend_from_slice(bytes);
        let held: usize = self.partial.iter().map(Vec::len).sum();
        if self.bytes + held as u64 > self.bytes_max {
            let held = std::mem::take(&mut self.partial[output as usize]);
            self.line(output, &held, now);
            self.truncated = true;
        }
    }

    fn line(&mut self, output: Output, line: &[u8], now: &Stamp) {
        let room = self.bytes_max.saturating_sub(self.bytes);
        let kept = usize::try_from(room).unwrap_or(usize::MAX).min(line.len());
        // The second bound is for text that grows by much when it is written as JSON, such as empty lines.
        let json_bytes_max = self.bytes_max.saturating_mul(4).saturating_add(1 << 20);
        if line.len() as u64 + 1 > room || self.lines.len() as u64 > json_bytes_max {
            self.truncated = true;
            self.partial = [Vec::new(), Vec::new()];
            if kept == 0 || self.lines.len() as u64 > json_bytes_max {
                return;
            }
        }
        self.bytes += kept as u64 + 1;
        let text = String::from_utf8_lossy(&line[..kept]);
        self.put_line(output, &text, now);
    }

    fn put_line(&mut self, output: Output, text: &str, now: &Stamp) {
        let comma = if self.lines.is_empty() { "" } else { "," };
        put(&mut self.lines, format_args!("{comma}\"{} {}: ", now.0, output.label()));
        push_escaped(&mut self.lines, text);
        self.lines.push('"');
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.budget.give(self.taken);
    }
}

/// A time as log lines have it: 30 characters, nanoseconds, UTC.
#[derive(Clone, Debug)]
pub(crate) struct Stamp(String);

impl Stamp {
    pub(crate) fn now() -> Self {
        Self(format!("{:.9}", jiff::Timestamp::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp("2024-01-01T00:00:00.123456789Z".into())
    }

    fn logs(bytes_max: u64, failed: bool, pieces: &[(Output, &[u8])]) -> Vec<String> {
        let mut collector = Collector::new(bytes_max, Budget::new(u64::MAX));
        pieces.iter().for_each(|(output, bytes)| collector.push(*output, bytes, &stamp()));
        serde_json::from_str(&collector.take(failed)).unwrap()
    }

    fn texts(lines: &[String]) -> Vec<&str> {
        lines.iter().map(|line| &line[31..]).collect()
    }

    #[test]
    fn a_stamp_has_30_characters() {
        let stamp = Stamp::now();
        assert_eq!(stamp.0.len(), 30, "{stamp:?}");
        assert!(stamp.0.ends_with('Z'));
    }

    #[test]
    fn pieces_become_lines_with_time_and_stream() {
        use Output::{Stderr, Stdout};
        let lines =
            logs(1000, false, &[(Stdout, b"a\nb"), (Stderr, b"e"), (Stdout, b"c\n\n"), (Stderr, b"\xc3")]);
        assert_eq!(lines[0], "2024-01-01T00:00:00.123456789Z stdout: a");
        assert_eq!(texts(&lines), ["stdout: a", "stdout: bc", "stdout: ", "stderr: e\u{fffd}"]);
        assert!(logs(1000, false, &[]).is_empty());
    }

    #[test]
    fn characters_that_come_in_two_pieces_stay_whole() {
        let lines = logs(1000, false, &[(Output::Stdout, b"\xc3"), (Output::Stdout, b"\xbc \"q\"\n")]);
        assert_eq!(texts(&lines), ["stdout: ü \"q\""]);
    }

    #[test]
    fn logs_beyond_the_limit_end_with_the_text_that_says_so() {
        let flood = b"0123456\n".repeat(10);
        let lines = logs(32, false, &[(Output::Stdout, &flood), (Output::Stderr, b"more\n")]);
        assert_eq!(lines.len(), 5);
        assert_eq!(
            texts(&lines)[4],
            "stderr: Logs were truncated because the total bytes size exceeds the limit of 32 bytes."
        );
        assert_eq!(
            logs(32, false, &[(Output::Stdout, &flood[..32])]).len(),
            4,
            "exactly the limit is not beyond"
        );
    }

    #[test]
    fn one_endless_line_is_cut_and_not_held() {
        let mut collector = Collector::new(100, Budget::new(u64::MAX));
        for _ in 0..1000 {
            collector.push(Output::Stdout, &[b'x'; 64], &stamp());
        }
        assert!(collector.partial.iter().all(|held| held.len() <= 164));
        let lines: Vec<String> = serde_json::from_str(&collector.take(false)).unwrap();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains("Logs were truncated"));
    }

    #[test]
    fn a_flood_of_empty_lines_is_bounded_in_memory() {
        let mut collector = Collector::new(10 << 20, Budget::new(u64::MAX));
        for _ in 0..10 {
            collector.push(Output::Stdout, &vec![b'\n'; 1 << 20], &stamp());
        }
        assert!(collector.lines.len() < 45 << 20);
    }

    #[test]
    fn a_failed_run_says_that_logs_may_be_missing_unless_none_are_collected() {
        let lines = logs(1000, true, &[(Output::Stdout, b"a\n")]);
        assert_eq!(
            texts(&lines)[1],
            "stderr: The action did not initialize or run as expected. Log data might be missing."
        );
        assert!(logs(0, true, &[(Output::Stdout, b"a\n")]).is_empty());
    }

    #[test]
    fn the_budget_of_all_collectors_is_kept_and_given_back() {
        let budget = Budget::new(20_000);
        let mut first = Collector::new(1 << 20, Arc::clone(&budget));
        let mut second = Collector::new(1 << 20, Arc::clone(&budget));
        first.push(Output::Stdout, &b"0123456\n".repeat(2_000), &stamp());
        first.push(Output::Stdout, b"one more\n", &stamp());
        second.push(Output::Stdout, b"too late\n", &stamp());
        let lines: Vec<String> = serde_json::from_str(&second.take(false)).unwrap();
        assert_eq!(texts(&lines), [format!("stderr: {COLLECTION_FAILED}")]);
        assert!(first.take(false).ends_with("Data might be missing.\"]"));
        assert_eq!(budget.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn taking_starts_afresh() {
        let mut collector = Collector::new(100, Budget::new(u64::MAX));
        collector.push(Output::Stdout, b"a", &stamp());
        collector.take(false);
        assert_eq!(collector.take(false), "[]");
    }
}
