//! Memory that only the start needed: the code of a program is mapped as it runs, some pages around each at a time, and stays
//! mapped. What a server runs once, to read its configuration and to open its files, is more than what it runs afterwards; what
//! a sandbox needs to be built is more than what it needs to become the runtime, and ends with that.

use std::io;

use crate::sys;

/// A mapping of `/proc/self/smaps`.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    from: usize,
    bytes: usize,
}

/// Where the code and the constants of this program are mapped.
#[derive(Debug, Default)]
pub(crate) struct Code(Vec<Mapping>);

impl Code {
    /// Finds them.
    ///
    /// # Errors
    /// When the kernel does not tell what is mapped.
    pub(crate) fn find() -> io::Result<Self> {
        Ok(Self(code(&std::fs::read_to_string("/proc/self/smaps")?)))
    }

    /// Lets go of the pages that are mapped. They are in the page cache still, and are mapped again when they are used.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn give_back(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|Mapping { from, bytes }| sys::unmap_code(*from, *bytes))
    }
}

/// Lets go of the pages of code and constants that are mapped.
///
/// # Errors
/// When the kernel does not tell what is mapped, or refuses.
pub fn give_back_code() -> io::Result<()> {
    Code::find()?.give_back()
}

/// The mappings that hold code or constants of files, as it is in the files: not writable, and no page of them is a copy.
fn code(smaps: &str) -> Vec<Mapping> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(head) = head(line) {
            candidate = head;
        } else if line.strip_prefix("Anonymous:").is_some_and(|rest| rest.trim() == "0 kB") {
            found.extend(candidate.take());
        }
    }
    found
}

/// The first line of a mapping: nothing when it is none, nothing inside when it holds no code or constants of a file.
fn head(line: &str) -> Option<Option<Mapping>> {
    let (range, rest) = line.split_once(' ')?;
    let (from, to) = range.split_once('-')?;
    let (from, to) = (usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?);
    let is_code = (rest.starts_with("r-xp ") || rest.starts_with("r--p "))
        && rest.split_whitespace().nth(4).is_some_and(|path| path.starts_with('/'));
    Some(is_code.then(|| Mapping { from, bytes: to.saturating_sub(from) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unchanged_code_of_files_is_chosen() {
        let smaps = "\
1000-3000 r-xp 00000000 fd:00 1   /bin/server
Rss:                 8 kB
Anonymous:             0 kB
3000-4000 r--p 00002000 fd:00 1   /bin/server
Anonymous:             0 kB
4000-5000 r--p 00003000 fd:00 1   /bin/server
Anonymous:             4 kB
5000-6000 r-xp 00000000 fd:00 2   /lib/changed.so
Anonymous:             4 kB
7000-8000 rw-p 00000000 00:00 0   [heap]
Anonymous:             0 kB
9000-a000 r-xp 00000000 00:00 0   [vdso]
Anonymous:             0 kB
";
        let expected = [Mapping { from: 0x1000, bytes: 0x2000 }, Mapping { from: 0x3000, bytes: 0x1000 }];
        assert_eq!(code(smaps), expected);
    }

    #[test]
    fn the_program_goes_on_with_the_same_code() {
        give_back_code().unwrap();
        assert!(!Code::find().unwrap().0.is_empty(), "there is code of ours");
    }
}
