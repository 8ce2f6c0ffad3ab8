//! Files that a simulation writes.

use std::fs::{self, OpenOptions};
use std::path::Path;

use anyhow::{Context, bail};
use triplane_simulator::replay::report::Plot;

/// Makes a directory for plots, before the work is done that they show.
pub(super) fn make_directory(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}

/// Sees whether a file can be written, before the work is done that it shows; what is there stays as it is.
pub(super) fn probe(path: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    if path.is_dir() {
        bail!("{}: it is a directory", cannot());
    }
    let was_there = path.exists();
    OpenOptions::new().append(true).create(true).open(path).with_context(cannot)?;
    if was_there { Ok(()) } else { fs::remove_file(path).with_context(cannot) }
}

/// Writes each plot into a directory.
pub(super) fn write_plots(directory: &Path, plots: &[Plot]) -> anyhow::Result<()> {
    plots.iter().try_for_each(|plot| write(&directory.join(plot.name).with_extension("svg"), &plot.alone()))
}

/// Writes a file and says so.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}
