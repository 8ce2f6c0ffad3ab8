//! API keys at rest: the SHA-256 of `uuid:key` for look-up, and the key itself sealed with a key file, because actions
//! and queued calls need their owner's key later. A copy of the store without the key file gives no key away.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use triplane_model::Credential;

use crate::{OpenError, StoreError};

const KEY_BYTES: usize = 32;

/// Where the key file of a data directory is.
pub(crate) fn key_file(dir: &Path) -> PathBuf {
    dir.join("keys").join("seal.key")
}

/// SHA-256 of `uuid:key`.
pub(crate) fn credential_hash(credential: &Credential) -> [u8; 32] {
    Sha256::digest(credential.expose().as_bytes()).into()
}

/// Whether a credential is the one with this hash, in constant time.
pub(crate) fn is_credential(credential: &Credential, hash: &[u8]) -> bool {
    credential_hash(credential).as_slice().ct_eq(hash).into()
}

/// Seals and opens API keys: AES-256-GCM, a random nonce before the text, the UUID as associated data.
pub(crate) struct SealKey(LessSafeKey);

impl std::fmt::Debug for SealKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SealKey(***)")
    }
}

impl SealKey {
    /// Reads the key file of a directory, or creates it if no key was sealed yet.
    pub(crate) fn open(dir: &Path, has_sealed_keys: bool) -> Result<Self, OpenError> {
        let path = key_file(dir);
        match fs::read(&path) {
            Ok(bytes) => Self::from_bytes(&bytes).ok_or_else(|| OpenError::KeyUnfit {
                path,
                detail: format!("it has {} bytes instead of {KEY_BYTES}", bytes.len()),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && has_sealed_keys => {
                Err(OpenError::KeyMissing { path })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(&path),
            Err(error) => Err(OpenError::io(&path, &error)),
        }
    }

    fn create(path: &Path) -> Result<Self, OpenError> {
        let mut bytes = [0; KEY_BYTES];
        let random = SystemRandom::new().fill(&mut bytes);
        random.map_err(|_| OpenError::io(path, &io::Error::other("the system gives no random bytes")))?;
        write_secret(path, &bytes).map_err(|error| OpenError::io(path, &error))?;
        Self::from_bytes(&bytes)
            .ok_or_else(|| OpenError::KeyUnfit { path: path.to_owned(), detail: "it is not usable".into() })
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        UnboundKey::new(&AES_256_GCM, bytes).ok().map(|key| Self(LessSafeKey::new(key)))
    }

    /// Seals the key of a credential.
    pub(crate) fn seal(&self, credential: &Credential) -> Result<Vec<u8>, StoreError> {
        let failed = |_| StoreError::Unavailable("cannot seal an API key".into());
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(failed)?;
        let mut text = credential.key.clone().into_bytes();
        let aad = Aad::from(credential.uuid.as_bytes());
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .map_err(failed)?;
        Ok([nonce.as_slice(), &text].concat())
    }

    /// Opens what [`Self::seal`] made; nothing if it was made with another key or for another UUID.
    pub(crate) fn unseal(&self, uuid: &str, sealed: &[u8]) -> Option<Credential> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let key = self.0.open_in_place(nonce, Aad::from(uuid.as_bytes()), &mut text).ok()?;
        let key = String::from_utf8(key.to_vec()).ok()?;
        Some(Credential { uuid: uuid.to_owned(), key })
    }
}

/// Writes a file that only its owner reads, and its directory; both are synced. The file must not exist.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    create_dir(dir)?;
    // Under another name first: a crash must not leave a key file that is too short.
    let part = path.with_extension("part");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::hard_link(&part, path)?;
    fs::remove_file(&part)?;
    sync_dir(dir)?;
    dir.parent().map_or(Ok(()), sync_dir)
}

/// Creates an empty file that only its owner reads, if it is not there. An empty file is an empty database, and what
/// SQLite writes beside it gets the same mode.
pub(crate) fn create_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

/// Creates a directory, with those above it, that only its owner reads.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Makes the names in a directory survive power loss.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(uuid: &str) -> Credential {
        Credential { uuid: uuid.into(), key: "k".repeat(64) }
    }

    fn key(byte: u8) -> SealKey {
        SealKey::from_bytes(&[byte; KEY_BYTES]).unwrap()
    }

    #[test]
    fn a_sealed_key_opens_with_its_key_and_uuid_only() {
        let sealed = key(1).seal(&credential("a")).unwrap();
        assert_eq!(key(1).unseal("a", &sealed), Some(credential("a")));
        assert_eq!(key(2).unseal("a", &sealed), None, "another key");
        assert_eq!(key(1).unseal("b", &sealed), None, "another uuid");
        assert_eq!(key(1).unseal("a", &sealed[..8]), None, "cut short");
    }

    #[test]
    fn sealing_twice_gives_different_bytes_without_the_key_in_them() {
        let (one, two) = (key(1).seal(&credential("a")).unwrap(), key(1).seal(&credential("a")).unwrap());
        assert_ne!(one, two);
        assert!(!one.windows(8).any(|window| window == b"kkkkkkkk"));
    }

    #[test]
    fn a_credential_is_known_by_its_hash() {
        let hash = credential_hash(&credential("a"));
        assert!(is_credential(&credential("a"), &hash));
        assert!(!is_credential(&credential("b"), &hash));
        assert!(!is_credential(&credential("a"), &hash[..31]));
    }
}
