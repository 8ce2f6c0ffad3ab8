//! `triplane simulate`: the decisions of the control plane under seeds and faults.

use crate::cli::SimulateOptions;

pub(crate) fn run(options: &SimulateOptions) -> anyhow::Result<()> {
    let _ = options;
    Ok(())
}
