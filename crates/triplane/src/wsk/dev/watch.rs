//! Notices when a file is saved.
//!
//! The directory is watched and not the file, because editors put a new file in its place. The kernel is asked by inotify itself,
//! which `rustix` has already; a library for every system would be a dependency for one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::sync::Notify;

/// How long nothing must happen to a file until it counts as saved: some editors write in several steps.
const QUIET: Duration = Duration::from_millis(50);
/// How often the thread looks whether anybody still waits.
const LOOK_UP: Duration = Duration::from_secs(1);

/// See the module. Its thread ends soon after this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    saved: Arc<Notify>,
}

impl Watch {
    /// Watches a file, which need not be there.
    pub(crate) fn start(file: &Path) -> io::Result<Self> {
        let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let fd = watched(directory.unwrap_or(Path::new(".")))?;
        let saved = Arc::new(Notify::new());
        let waiting = Arc::downgrade(&saved);
        std::thread::Builder::new().name("watch".to_owned()).spawn(move || notify(&fd, &name, &waiting))?;
        Ok(Self { saved })
    }

    /// Waits until the file was saved since the last time. May be cancelled without loss.
    pub(crate) async fn saved(&self) {
        self.saved.notified().await;
    }
}

fn watched(directory: &Path) -> io::Result<OwnedFd> {
    let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
    inotify::add_watch(&fd, directory, flags)?;
    Ok(fd)
}

fn notify(fd: &OwnedFd, name: &OsString, waiting: &Weak<Notify>) {
    let mut saved_at: Option<Instant> = None;
    while waiting.strong_count() > 0 {
        // Other files of the directory may change all the time.
        let left = saved_at.map(|at| QUIET.saturating_sub(at.elapsed()));
        if left == Some(Duration::ZERO) {
            saved_at = None;
            waiting.upgrade().into_iter().for_each(|saved| saved.notify_one());
        }
        let happened = happens(fd, left.filter(|left| !left.is_zero()).unwrap_or(LOOK_UP));
        match happened.and_then(|happened| Ok(happened && is_about(fd, name)?)) {
            Ok(true) => saved_at = Some(Instant::now()),
            Ok(false) => {}
            Err(error) => return eprintln!("warning: the file is not watched any more: {error}"),
        }
    }
}

/// Waits for something in the directory, and answers whether there was.
fn happens(fd: &OwnedFd, time_max: Duration) -> io::Result<bool> {
    let time_max = Timespec::try_from(time_max).map_err(io::Error::other)?;
    match rustix::event::poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&time_max)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes what has happened, and answers whether it was about the file.
fn is_about(fd: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(fd, &mut buffer);
    let mut is_about_it = false;
    loop {
        match events.next() {
            Ok(event) if event.events().contains(ReadFlags::IGNORED) => {
                return Err(io::Error::other("its directory is gone"));
            }
            Ok(event) => {
                let is_its_name = event.file_name().is_some_and(|of| of.to_bytes() == name.as_bytes());
                is_about_it |= is_its_name || event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            }
            Err(Errno::WOULDBLOCK) => return Ok(is_about_it),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A directory that goes with its guard.
    struct Directory(std::path::PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("triplane-watch-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    async fn is_noticed(watch: &Watch) {
        tokio::time::timeout(Duration::from_secs(20), watch.saved()).await.expect("noticed in time");
    }

    #[tokio::test]
    async fn a_file_that_is_written_is_saved() {
        let directory = Directory::new("written");
        let file = directory.0.join("a.js");
        let watch = Watch::start(&file).unwrap();
        std::fs::write(&file, "1").unwrap();
        is_noticed(&watch).await;
        std::fs::write(&file, "2").unwrap();
        is_noticed(&watch).await;
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_is_saved() {
        let directory = Directory::new("replaced");
        let (file, new) = (directory.0.join("a.js"), directory.0.join("a.js~"));
        let watch = Watch::start(&file).unwrap();
        std::fs::write(&new, "1").unwrap();
        std::fs::rename(&new, &file).unwrap();
        is_noticed(&watch).await;
    }

    #[tokio::test]
    async fn a_file_is_saved_also_where_others_change_all_the_time() {
        let directory = Directory::new("busy");
        let (file, other) = (directory.0.join("a.js"), directory.0.join("b.log"));
        let watch = Watch::start(&file).unwrap();
        let is_busy = Arc::new(AtomicBool::new(true));
        let goes_on = Arc::clone(&is_busy);
        let writer = std::thread::spawn(move || {
            while goes_on.load(Ordering::Relaxed) {
                std::fs::write(&other, "1").unwrap();
            }
        });
        std::fs::write(&file, "1").unwrap();
        is_noticed(&watch).await;
        is_busy.store(false, Ordering::Relaxed);
        writer.join().unwrap();
    }

    #[test]
    fn other_files_are_of_no_interest() {
        let directory = Directory::new("others");
        let fd = watched(&directory.0).unwrap();
        std::fs::write(directory.0.join("b.js"), "1").unwrap();
        assert!(happens(&fd, LOOK_UP).unwrap() && !is_about(&fd, OsStr::new("a.js")).unwrap());
        std::fs::write(directory.0.join("a.js"), "1").unwrap();
        assert!(happens(&fd, LOOK_UP).unwrap() && is_about(&fd, OsStr::new("a.js")).unwrap());
    }

    #[test]
    fn a_directory_that_is_removed_is_said() {
        let directory = Directory::new("removed");
        let fd = watched(&directory.0).unwrap();
        drop(directory);
        assert!(happens(&fd, LOOK_UP).unwrap() && is_about(&fd, OsStr::new("a.js")).is_err());
    }

    #[test]
    fn a_directory_that_is_not_there_cannot_be_watched() {
        assert!(Watch::start(Path::new("/nonexistent/a.js")).is_err());
    }
}
