//! Whether anybody else could use the processor on which the server watches for a lone call.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// How long an answer holds; a look at it costs some microseconds.
const HOLDS: Duration = Duration::from_millis(1);

/// Counts the threads of the machine that run or want to.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// `/proc/loadavg`; without it nobody knows, and the machine counts as crowded.
    file: Option<File>,
    cores: usize,
    looked: Option<(Instant, bool)>,
}

impl Crowd {
    pub(crate) fn new() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self { file: File::open("/proc/loadavg").ok(), cores, looked: None }
    }

    /// Whether more threads want to run than there are cores, the asking one included.
    pub(crate) fn is_there(&mut self) -> bool {
        if let Some((at, answer)) = self.looked
            && at.elapsed() < HOLDS
        {
            return answer;
        }
        let answer = self.running().is_none_or(|running| running > self.cores);
        self.looked = Some((Instant::now(), answer));
        answer
    }

    fn running(&self) -> Option<usize> {
        let mut buffer = [0; 64];
        let count = self.file.as_ref()?.read_at(&mut buffer, 0).ok()?;
        running(std::str::from_utf8(&buffer[..count]).ok()?)
    }
}

/// The first number of the fourth field, `running/all` (proc(5), loadavg).
fn running(text: &str) -> Option<usize> {
    text.split(' ').nth(3)?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_threads_are_read() {
        assert_eq!(running("0.40 0.14 0.05 2/80 2395\n"), Some(2));
        assert_eq!(running("nonsense"), None);
    }

    #[test]
    fn a_machine_that_tells_nothing_counts_as_crowded() {
        assert!(Crowd { file: None, cores: 64, looked: None }.is_there());
    }

    #[test]
    fn this_machine_tells_and_the_answer_holds_for_a_moment() {
        let mut crowd = Crowd { cores: usize::MAX, ..Crowd::new() };
        assert!(!crowd.is_there());
        crowd.cores = 0;
        let (at, _) = crowd.looked.unwrap();
        assert!(!crowd.is_there() || at.elapsed() >= HOLDS);
    }
}
