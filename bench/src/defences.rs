//! What each defence adds to a start in a sandbox that was built ahead: the same with it switched off, in turns.

use triplane_node::Defence;

use crate::context::Context;
use crate::report::Measurement;
use crate::starts::{Starts, Times, Way};

/// Those that can be off while the others are on.
const DEFENCES: [Defence; 12] = [
    Defence::SystemCalls,
    Defence::FileRules,
    Defence::MemoryGroup,
    Defence::ProcessGroup,
    Defence::CpuGroup,
    Defence::Users,
    Defence::Capabilities,
    Defence::Processes,
    Defence::Ipc,
    Defence::MaskedProc,
    Defence::Sizes,
    Defence::Limits,
];

pub(crate) fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let mut starts = context.block_on(Starts::prepare(context))?;
    let mut ways = vec![Way::Bare, context.block_on(starts.sandbox(context, true, &[]))?];
    for defence in DEFENCES {
        ways.push(context.block_on(starts.sandbox(context, true, &[defence]))?);
    }
    let measured = starts.measure(context, &ways)?;
    context.block_on(starts.close());
    let mut measurements = Vec::new();
    for (action, times) in &measured {
        let [bare, all, without @ ..] = &times[..] else { continue };
        let ms = |what: &str, value| Measurement::new(format!("{}: {what}", action.name), value, "ms");
        let added = |less: &Times| all.result() - less.result();
        measurements.push(ms("what a prebuilt sandbox adds", added(bare)));
        let each = DEFENCES.iter().zip(without);
        measurements.extend(each.map(|(defence, less)| ms(&format!("of it {defence:?}"), added(less))));
    }
    Ok(measurements)
}
