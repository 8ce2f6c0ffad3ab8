//! The output of a container: which of it belongs to the call that runs. Runtimes write a marker on both streams when
//! an activation is done (openwhisk-api.md 11.5).

use std::time::Duration;

use crate::logs::{Collector, Output, Stamp};

/// What ends the output of an activation, at the end of a line: output without an end of line comes right before it.
const MARKER: &[u8] = b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";
/// How long the markers may take after the answer; OpenWhisk waits as long.
const MARKERS_WITHIN: Duration = Duration::from_secs(2);
/// How long output may be on its way here that no marker follows. Every call of such an image waits so long, while an
/// engine takes about a millisecond.
const OUTPUT_WITHIN: Duration = Duration::from_millis(20);
/// The same after an error: the container goes anyway, and what it wrote last is wanted most.
const LAST_OUTPUT_WITHIN: Duration = Duration::from_millis(100);

/// Collects the output of one activation after the other.
#[derive(Debug)]
pub(crate) struct Console {
    collector: Collector,
    /// What may be the start of a marker.
    held: [Vec<u8>; 2],
    /// Whether what was handed on last is a line without its end.
    is_within_line: [bool; 2],
    /// Which streams came to the end of the activation.
    marked: [bool; 2],
    /// Whether the runtime writes markers: known beforehand, or seen.
    writes_markers: bool,
}

impl Console {
    pub(crate) fn new(collector: Collector, writes_markers: bool) -> Self {
        Self {
            collector,
            held: Default::default(),
            is_within_line: [false; 2],
            marked: [false; 2],
            writes_markers,
        }
    }

    /// Takes in what was written.
    pub(crate) fn push(&mut self, output: Output, bytes: &[u8]) {
        let now = Stamp::now();
        let held = std::mem::take(&mut self.held[output as usize]);
        match held.is_empty() {
            true => self.look(output, bytes, &now),
            false => self.look(output, &[&held, bytes].concat(), &now),
        }
    }

    /// Hands on what is no marker, and holds what may become one.
    fn look(&mut self, output: Output, mut bytes: &[u8], now: &Stamp) {
        let at = output as usize;
        let mut from = 0;
        while let Some(start) =
            bytes[from..].iter().position(|byte| *byte == MARKER[0]).map(|found| from + found)
        {
            match marker(&bytes[start..]) {
                Found::Whole(length) => {
                    self.hand_on(output, &bytes[..start], now);
                    if std::mem::take(&mut self.is_within_line[at]) {
                        self.collector.push(output, b"\n", now);
                    }
                    (self.marked[at], self.writes_markers) = (true, true);
                    (bytes, from) = (&bytes[start + length..], 0);
                }
                Found::Start => {
                    self.hand_on(output, &bytes[..start], now);
                    self.held[at] = bytes[start..].to_vec();
                    return;
                }
                Found::Nothing => from = start + 1,
            }
        }
        self.hand_on(output, bytes, now);
    }

    fn hand_on(&mut self, output: Output, bytes: &[u8], now: &Stamp) {
        if let Some(last) = bytes.last() {
            self.collector.push(output, bytes, now);
            self.is_within_line[output as usize] = *last != b'\n';
        }
    }

    /// Whether both streams came to the end of the activation.
    pub(crate) fn is_complete(&self) -> bool {
        self.marked == [true; 2]
    }

    /// How long to wait for what is missing after an answer that `succeeded`: markers are not awaited otherwise, and
    /// nothing is where nothing is collected.
    pub(crate) fn patience(&self, succeeded: bool) -> Duration {
        match (succeeded, self.writes_markers) {
            _ if !self.collector.collects() => Duration::ZERO,
            (false, _) => LAST_OUTPUT_WITHIN,
            (true, true) => MARKERS_WITHIN,
            (true, false) => OUTPUT_WITHIN,
        }
    }

    /// Whether something is missing although it was waited for.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.collector.collects() && self.writes_markers && !self.is_complete()
    }

    /// A new activation begins: markers of before are not its own.
    pub(crate) fn forget_markers(&mut self) {
        self.marked = [false; 2];
    }

    /// What was collected; `fresh` collects from now on.
    pub(crate) fn take(&mut self, fresh: Collector) -> Collector {
        for output in [Output::Stdout, Output::Stderr] {
            let held = std::mem::take(&mut self.held[output as usize]);
            self.collector.push(output, &held, &Stamp::now());
            self.is_within_line[output as usize] = false;
        }
        self.forget_markers();
        std::mem::replace(&mut self.collector, fresh)
    }
}

/// What some bytes begin with.
enum Found {
    /// A marker and the end of its line, of this length.
    Whole(usize),
    /// What may become one.
    Start,
    Nothing,
}

fn marker(bytes: &[u8]) -> Found {
    let Some(rest) = bytes.strip_prefix(MARKER) else {
        return if MARKER.starts_with(bytes) { Found::Start } else { Found::Nothing };
    };
    match rest {
        [b'\n', ..] => Found::Whole(MARKER.len() + 1),
        [b'\r', b'\n', ..] => Found::Whole(MARKER.len() + 2),
        [] | [b'\r'] => Found::Start,
        _ => Found::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Budget;

    fn collector() -> Collector {
        Collector::new(1 << 20, Budget::new(u64::MAX))
    }

    fn taken(console: &mut Console) -> Vec<String> {
        let lines: Vec<String> = serde_json::from_str(&console.take(collector()).take(false)).unwrap();
        lines.into_iter().map(|line| line[31..].to_owned()).collect()
    }

    #[test]
    fn markers_end_an_activation_however_they_are_cut() {
        let text = b"one\nXXX_THE_ start\nXXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n";
        for size in 1..text.len() {
            let mut console = Console::new(collector(), false);
            text.chunks(size).for_each(|piece| console.push(Output::Stdout, piece));
            assert!(!console.is_complete());
            console.push(Output::Stderr, b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\r\n");
            assert!(console.is_complete());
            assert_eq!(taken(&mut console), ["stdout: one", "stdout: XXX_THE_ start"]);
            assert!(!console.is_complete() && console.writes_markers);
        }
    }

    #[test]
    fn output_without_an_end_of_line_comes_right_before_the_marker() {
        let text = b"a XXX_\nbXXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\nc";
        for size in 1..text.len() {
            let mut console = Console::new(collector(), true);
            text.chunks(size).for_each(|piece| console.push(Output::Stdout, piece));
            assert!(console.marked[Output::Stdout as usize] && console.is_incomplete());
            assert_eq!(taken(&mut console), ["stdout: a XXX_", "stdout: b", "stdout: c"]);
        }
    }

    #[test]
    fn what_only_resembles_a_marker_is_text() {
        let mut console = Console::new(collector(), true);
        console.push(Output::Stdout, b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX and more\nXXXX");
        console.push(Output::Stdout, b"XXXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n");
        console.push(Output::Stderr, b"XXX_THE");
        assert_eq!(console.marked, [true, false]);
        let lines = taken(&mut console);
        let first = "stdout: XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX and more";
        assert_eq!(lines, [first, "stdout: XXXXX", "stderr: XXX_THE"]);
    }

    #[test]
    fn markers_are_awaited_once_a_runtime_wrote_one() {
        let mut console = Console::new(collector(), false);
        assert_eq!(console.patience(true), OUTPUT_WITHIN);
        console.push(Output::Stdout, MARKER);
        console.push(Output::Stdout, b"\n");
        assert_eq!((console.patience(true), console.patience(false)), (MARKERS_WITHIN, LAST_OUTPUT_WITHIN));
    }
}
