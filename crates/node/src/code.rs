//! The code of actions on this node: fetched once for each hash, checked, unpacked, kept until the space is needed.

use std::collections::HashMap;
use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use sha2::{Digest, Sha256};
use triplane_model::CodeHash;

use crate::unpack::{ARCHIVE, SOURCE, UnpackError, UnpackLimits, Unpacked, unpack};

/// What is being written has such a name until it is whole.
const TEMPORARY: &str = ".new-";
/// Beside each directory, the bytes that it counts for.
const SIZE_SUFFIX: &str = ".bytes";
/// Which boot of the machine the cache was written in: after a power loss files may be incomplete, so it starts anew.
const BOOT: &str = ".boot";

/// How long the source may take.
const FETCH_WITHIN: Duration = Duration::from_secs(30);

/// Where code comes from: the management plane.
pub trait CodeSource: Send + Sync + Debug + 'static {
    /// The code text with this hash; `None` when there is none (any more).
    fn code(&self, hash: CodeHash) -> BoxFuture<'static, Result<Option<Arc<str>>, String>>;
}

/// The cache.
#[derive(Debug)]
pub struct CodeCache {
    root: PathBuf,
    bytes_max: u64,
    limits: UnpackLimits,
    source: Arc<dyn CodeSource>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<CodeHash, Entry>,
    bytes: u64,
    /// Counted up at every use: the order of uses.
    clock: u64,
    /// Makes temporary names unique.
    temporary: u64,
}

/// Why code is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// It will not become better: the action's fault.
    #[error("{0}")]
    Unusable(Arc<str>),
    /// It could not be fetched or written now: the platform's fault, a retry is safe.
    #[error("code is not available: {0}")]
    Unavailable(Arc<str>),
}

type Ready = Shared<BoxFuture<'static, Result<Unpacked, CodeError>>>;

#[derive(Debug)]
struct Entry {
    ready: Ready,
    /// Tells it from a later entry for the same hash.
    generation: u64,
    /// 0 until it is unpacked.
    bytes: u64,
    users: usize,
    used: u64,
}

/// Code that is in use; it stays in place until this is dropped.
#[derive(Debug)]
pub struct CodeUse {
    cache: Arc<CodeCache>,
    hash: CodeHash,
    generation: u64,
    /// Whether it is an unpacked archive.
    pub archive: bool,
}

impl CodeUse {
    /// The name of its directory below the root of the cache.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.hash.0
    }
}

impl Drop for CodeUse {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        if let Some(entry) = state.entries.get_mut(&self.hash)
            && entry.generation == self.generation
        {
            entry.users -= 1;
        }
    }
}

impl CodeCache {
    /// Opens the cache in a directory, which is made; keeps what is complete there and removes the rest. Blocks.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(
        root: &Path,
        bytes_max: u64,
        limits: UnpackLimits,
        source: Arc<dyn CodeSource>,
    ) -> io::Result<Arc<Self>> {
        fs::create_dir_all(root)?;
        fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let same_boot = !boot.is_empty() && fs::read_to_string(root.join(BOOT)).is_ok_and(|was| was == boot);
        let mut state = State::default();
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            match kept(&path).filter(|_| same_boot) {
                Some((hash, unpacked)) => state.add(hash, unpacked),
                None if is_size_of_kept(&path) && same_boot => {}
                None => remove(&path)?,
            }
        }
        fs::write(root.join(BOOT), boot)?;
        let cache = Self { root: root.to_owned(), bytes_max, limits, source, state: Mutex::new(state) };
        cache.make_room();
        Ok(Arc::new(cache))
    }

    /// The code with this hash, fetched and unpacked unless it is there. Callers at the same time share one fetch, which goes
    /// on when they give up.
    ///
    /// # Errors
    /// Why it is not there; the next call tries again.
    pub async fn get(self: &Arc<Self>, hash: &CodeHash, binary: bool) -> Result<CodeUse, CodeError> {
        if !is_hash(&hash.0) {
            return Err(unusable("the code's hash is malformed"));
        }
        let (ready, mut code) = self.enter(hash, binary);
        code.archive = ready.await?.archive;
        Ok(code)
    }

    /// Counts as a user from here on.
    fn enter(self: &Arc<Self>, hash: &CodeHash, binary: bool) -> (Ready, CodeUse) {
        let mut state = self.lock();
        state.clock += 1;
        let used = state.clock;
        let entry = state.entries.entry(hash.clone()).or_insert_with(|| Entry {
            ready: Arc::clone(self).begin(hash.clone(), binary, used),
            generation: used,
            bytes: 0,
            users: 0,
            used,
        });
        entry.users += 1;
        entry.used = used;
        let (ready, generation) = (entry.ready.clone(), entry.generation);
        (ready, CodeUse { cache: Arc::clone(self), hash: hash.clone(), generation, archive: false })
    }

    fn begin(self: Arc<Self>, hash: CodeHash, binary: bool, generation: u64) -> Ready {
        let fetch = tokio::spawn(async move {
            let result = Arc::clone(&self).fetch(hash.clone(), binary).await;
            if result.is_err() {
                let mut state = self.lock();
                if state.entries.get(&hash).is_some_and(|entry| entry.generation == generation) {
                    state.entries.remove(&hash);
                }
            }
            result
        });
        async move {
            match fetch.await {
                Ok(result) => result,
                Err(_) => Err(unavailable("fetching it failed")),
            }
        }
        .boxed()
        .shared()
    }

    async fn fetch(self: Arc<Self>, hash: CodeHash, binary: bool) -> Result<Unpacked, CodeError> {
        let fetching = tokio::time::timeout(FETCH_WITHIN, self.source.code(hash.clone()));
        let text = fetching.await.map_err(|_| unavailable("fetching it takes too long"))?;
        let text = text.map_err(unavailable)?.ok_or_else(|| unavailable("it was replaced or deleted"))?;
        let unpacking = tokio::task::spawn_blocking(move || self.write(&hash, binary, &text));
        unpacking.await.map_err(|_| unavailable("unpacking it failed"))?
    }

    /// Checks and unpacks; blocks.
    fn write(&self, hash: &CodeHash, binary: bool, text: &str) -> Result<Unpacked, CodeError> {
        if sha256(text) != *hash.0 {
            return Err(unavailable("what was fetched does not have the expected hash"));
        }
        let temporary = self.temporary();
        let written = write_whole(&temporary, |directory| {
            unpack(text, binary, directory, self.limits).map_err(|error| match error {
                UnpackError::Io(error) => unavailable(error.to_string()),
                fault => unusable(fault.to_string()),
            })
        })
        .and_then(|unpacked| {
            let published = self.publish(hash, &temporary, unpacked);
            published.map(|()| unpacked).map_err(|error| unavailable(error.to_string()))
        });
        match &written {
            Ok(unpacked) => {
                let mut state = self.lock();
                state.bytes += unpacked.bytes;
                if let Some(entry) = state.entries.get_mut(hash) {
                    entry.bytes = unpacked.bytes;
                }
                drop(state);
                self.make_room();
            }
            Err(_) => log_failure(remove(&temporary)),
        }
        written
    }

    fn publish(&self, hash: &CodeHash, temporary: &Path, unpacked: Unpacked) -> io::Result<()> {
        fs::write(self.root.join(format!("{hash}{SIZE_SUFFIX}")), unpacked.bytes.to_string())?;
        fs::rename(temporary, self.root.join(&*hash.0))
    }

    /// Removes what was not used for longest, until the rest fits; never what is in use. Blocks.
    fn make_room(&self) {
        loop {
            let mut state = self.lock();
            let unused = state.entries.iter().filter(|(_, entry)| entry.users == 0 && entry.bytes > 0);
            let oldest = unused.min_by_key(|(_, entry)| entry.used).map(|(hash, _)| hash.clone());
            let Some(hash) = oldest.filter(|_| state.bytes > self.bytes_max) else { return };
            let Some(entry) = state.entries.remove(&hash) else { return };
            state.bytes -= entry.bytes;
            state.temporary += 1;
            let doomed = self.root.join(format!("{TEMPORARY}{}", state.temporary));
            // under the lock, so that nobody unpacks the same code to the same place
            let moved = fs::rename(self.root.join(&*hash.0), &doomed);
            drop(state);
            log_failure(moved.and_then(|()| remove(&doomed)));
            log_failure(remove(&self.root.join(format!("{hash}{SIZE_SUFFIX}"))));
        }
    }

    fn temporary(&self) -> PathBuf {
        let mut state = self.lock();
        state.temporary += 1;
        self.root.join(format!("{TEMPORARY}{}", state.temporary))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, hash: CodeHash, unpacked: Unpacked) {
        let ready = futures_util::future::ready(Ok(unpacked)).boxed().shared();
        self.bytes += unpacked.bytes;
        self.entries.insert(hash, Entry { ready, generation: 0, bytes: unpacked.bytes, users: 0, used: 0 });
    }
}

fn write_whole<T>(
    directory: &Path,
    fill: impl FnOnce(&Path) -> Result<T, CodeError>,
) -> Result<T, CodeError> {
    let make = || {
        fs::create_dir(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
    };
    make().map_err(|error| unavailable(error.to_string()))?;
    fill(directory)
}

fn unusable(reason: impl Into<Arc<str>>) -> CodeError {
    CodeError::Unusable(reason.into())
}

fn unavailable(reason: impl Into<Arc<str>>) -> CodeError {
    CodeError::Unavailable(reason.into())
}

/// What a directory of an earlier run holds, if it is complete.
fn kept(path: &Path) -> Option<(CodeHash, Unpacked)> {
    let name = path.file_name()?.to_str().filter(|name| is_hash(name))?;
    let size = fs::read_to_string(path.with_file_name(format!("{name}{SIZE_SUFFIX}"))).ok()?;
    let archive = path.join(ARCHIVE).is_dir();
    let whole = archive || path.join(SOURCE).is_file();
    whole.then_some((CodeHash(name.into()), Unpacked { archive, bytes: size.parse().ok()? }))
}

fn is_size_of_kept(path: &Path) -> bool {
    let name =
        path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(SIZE_SUFFIX));
    name.is_some_and(|name| kept(&path.with_file_name(name)).is_some())
}

fn is_hash(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// SHA-256 as 64 hexadecimal digits.
fn sha256(text: &str) -> String {
    use std::fmt::Write;
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // writing to a string does not fail
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn log_failure(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "code cannot be removed from the cache");
    }
}
