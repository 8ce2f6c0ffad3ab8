//! Runs `nft`, and keeps account of what names have opened to which sandbox.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::thread::LinkNameSpaceType;
use tokio::sync::oneshot;
use triplane_net::nft;

use super::rules::Opening;

/// Changes that wait for `nft`; more come only when it hangs.
const CHANGES_MAX: usize = 256;
/// The most addresses that are open to a sandbox by names.
const OPENINGS_MAX: usize = 1024;
/// How long a change may take.
const CHANGE_WITHIN: Duration = Duration::from_secs(3);

/// The gateway's firewall.
#[derive(Debug)]
pub(crate) struct Firewall {
    changes: mpsc::SyncSender<Change>,
    open: Mutex<HashMap<Ipv4Addr, HashMap<Opening, Instant>>>,
}

#[derive(Debug)]
struct Change {
    commands: String,
    done: Option<oneshot::Sender<bool>>,
}

impl Firewall {
    /// Starts the thread that changes it, in this network namespace.
    ///
    /// # Errors
    /// When there is no thread.
    pub(crate) fn start(program: PathBuf, namespace: OwnedFd) -> io::Result<Self> {
        let (changes, queue) = mpsc::sync_channel(CHANGES_MAX);
        std::thread::Builder::new().name("firewall".to_owned()).spawn(move || {
            let entered = rustix::thread::move_into_link_name_space(
                namespace.as_fd(),
                Some(LinkNameSpaceType::Network),
            );
            drop(namespace);
            match entered {
                Ok(()) => carry_out(&program, &queue),
                Err(error) => tracing::error!(%error, "the gateway's namespace cannot be entered"),
            }
        })?;
        Ok(Self { changes, open: Mutex::default() })
    }

    /// Opens addresses to a sandbox, each for so many seconds; says whether they are open.
    pub(crate) async fn open(&self, sandbox: Ipv4Addr, openings: Vec<(Opening, u32)>) -> bool {
        let commands = self.note(sandbox, openings);
        if commands.is_empty() {
            return true;
        }
        let opened = self.change(commands).await;
        if !opened {
            // so that the next question tries again
            self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&sandbox);
        }
        opened
    }

    async fn change(&self, commands: String) -> bool {
        let (done, answer) = oneshot::channel();
        if self.changes.try_send(Change { commands, done: Some(done) }).is_err() {
            tracing::warn!("the firewall has too many changes to make");
            return false;
        }
        matches!(tokio::time::timeout(CHANGE_WITHIN, answer).await, Ok(Ok(true)))
    }

    /// The commands for what is not open yet for about as long.
    fn note(&self, sandbox: Ipv4Addr, openings: Vec<(Opening, u32)>) -> String {
        let now = Instant::now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.entry(sandbox).or_default();
        own.retain(|_, until| *until > now);
        let mut commands = String::new();
        for (opening, seconds) in openings {
            let until = now + Duration::from_secs(seconds.into());
            let known = own.get(&opening).is_some_and(|known| *known >= until);
            if !known && (own.len() < OPENINGS_MAX || own.contains_key(&opening)) {
                own.insert(opening, until);
                commands.push_str(&opening.open(seconds));
            }
        }
        if own.is_empty() {
            open.remove(&sandbox);
        }
        commands
    }

    /// Closes everything that names have opened to a sandbox.
    pub(crate) fn forget(&self, sandbox: Ipv4Addr) {
        let own = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&sandbox);
        let commands: String = own.into_iter().flatten().map(|(opening, _)| opening.close()).collect();
        // when this cannot be said, they close by themselves, long before the address is used again
        if !commands.is_empty() && self.changes.try_send(Change { commands, done: None }).is_err() {
            tracing::debug!(%sandbox, "what was open is left to expire");
        }
    }
}

fn carry_out(program: &Path, changes: &mpsc::Receiver<Change>) {
    while let Ok(change) = changes.recv() {
        let done = nft::run(program, &change.commands);
        if let Err(error) = &done {
            tracing::warn!(%error, "the firewall cannot be changed");
        }
        if let Some(answer) = change.done {
            // the asker may have given up
            let _ = answer.send(done.is_ok());
        }
    }
}
