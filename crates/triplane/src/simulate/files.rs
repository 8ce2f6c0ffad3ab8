//! Files that a simulation writes.

use std::path::Path;

use anyhow::Context;
use triplane_simulator::replay::report::Plot;

/// Writes each plot into a directory, which is made.
pub(super) fn write_plots(directory: &Path, plots: &[Plot]) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for plot in plots {
        write(&directory.join(plot.name).with_extension("svg"), &plot.alone())?;
    }
    Ok(())
}

/// Writes a file and says so.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}
