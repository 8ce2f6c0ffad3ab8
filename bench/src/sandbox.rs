//! Starts in a sandbox beside starts of the same launcher without one: built for the start, and built ahead of it.

use crate::context::Context;
use crate::report::{Measurement, Target};
use crate::starts::{Action, Starts, Times, Way};

pub(crate) fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let mut starts = context.block_on(Starts::prepare(context))?;
    let now = context.block_on(starts.sandbox(context, false, &[]))?;
    let ahead = context.block_on(starts.sandbox(context, true, &[]))?;
    let measured = starts.measure(context, &[Way::Bare, Way::Confined, now, ahead])?;
    context.block_on(starts.close());
    measured
        .iter()
        .map(|(action, times)| judge(*action, times))
        .collect::<anyhow::Result<Vec<_>>>()
        .map(|all| all.concat())
}

fn judge(action: Action, times: &[Times]) -> anyhow::Result<Vec<Measurement>> {
    let [bare, confined, full, prebuilt] = times else { anyhow::bail!("{} times", times.len()) };
    let ms = |what: &str, value| Measurement::new(format!("{}: {what}", action.name), value, "ms");
    let mut first = ms("request to first result, full sandbox", full.result()).beside(bare.result());
    if action.family == "python" {
        first = first.promised(Target::RatioMax(1.3));
    }
    let added = |times: &Times| times.result() - bare.result();
    Ok(vec![
        first,
        ms("what a full sandbox adds", added(full)).promised(Target::ValueMax(3.0)),
        ms("request to first result, prebuilt", prebuilt.result()).beside(bare.result()),
        ms("what a prebuilt sandbox adds", added(prebuilt)).promised(Target::ValueMax(0.5)),
        ms("what its defences add to a process that only waits", added(confined)),
        ms("what a prebuilt sandbox adds to that", prebuilt.result() - confined.result())
            .promised(Target::ValueMax(0.5)),
        ms("request to exec, full sandbox", full.running()).beside(bare.running()),
        ms("request to exec, prebuilt", prebuilt.running()).beside(bare.running()),
    ])
}
