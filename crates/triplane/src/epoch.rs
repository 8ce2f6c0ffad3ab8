//! The epoch of a leader: counted up at every start, kept in the data directory.

use std::fs::{File, rename};
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use triplane_core::id::Epoch;

/// Takes the next epoch. It is on disk before it is used, so that no two starts share one.
pub(crate) fn next(data_dir: &Path) -> anyhow::Result<Epoch> {
    let path = data_dir.join("epoch");
    let last = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<u64>().with_context(|| format!("{} is damaged", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let epoch = last.checked_add(1).context("epochs are used up")?;
    let fresh = data_dir.join("epoch.new");
    let mut file = File::create(&fresh).with_context(|| format!("cannot write {}", fresh.display()))?;
    writeln!(file, "{epoch}")?;
    file.sync_all()?;
    rename(&fresh, &path)?;
    File::open(data_dir)?.sync_all()?;
    Ok(Epoch(epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_gets_a_higher_epoch() {
        let dir = std::env::temp_dir().join(format!("triplane-epoch-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let epochs = [next(&dir).unwrap(), next(&dir).unwrap()];
        std::fs::write(dir.join("epoch"), "x").unwrap();
        let damaged = next(&dir).unwrap_err();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(epochs, [Epoch(1), Epoch(2)]);
        assert!(damaged.to_string().contains("damaged"));
    }
}
