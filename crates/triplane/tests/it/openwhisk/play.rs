//! Plays the scenarios of an area on one server, a few at a time. A failure is told with its sentence and hides no other.

use std::any::Any;
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};

use super::guest::Stage;
use super::scenario::Scenario;
use crate::platform::Platform;

/// How many are played at once: they wait more than they compute.
const AT_ONCE_MAX: usize = 6;
/// How long one may take on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(240);

/// Plays all scenarios of an area on a server of its own, which has these variables in its environment.
///
/// # Panics
/// When one fails; the message names all that did.
pub(super) async fn play(area: &str, scenarios: Vec<Scenario>, settings: &[(&str, &str)]) {
    let wanted = std::env::var("TRIPLANE_SCENARIO").unwrap_or_default();
    let platform = Platform::with_environment(settings).await;
    let stage = Stage::new(&platform);
    let wanted = scenarios.into_iter().filter(|scenario| scenario.name.contains(&wanted));
    let played: Vec<Result<(), String>> = stream::iter(wanted)
        .map(|scenario| play_one(&stage, scenario))
        .buffer_unordered(AT_ONCE_MAX)
        .collect()
        .await;
    let failures: Vec<&String> = played.iter().filter_map(|result| result.as_ref().err()).collect();
    let mut report = String::new();
    for failure in &failures {
        write!(report, "\n\n{failure}").unwrap();
    }
    assert!(
        failures.is_empty(),
        "{} of {} scenarios of {area} failed:{report}\n",
        failures.len(),
        played.len()
    );
}

/// Plays one scenario as a subject of its own; an error tells why it failed.
async fn play_one(stage: &Stage, scenario: Scenario) -> Result<(), String> {
    let Scenario { name, proves, story } = scenario;
    let playing = async { story(stage.guest().await).await };
    let reason = match tokio::time::timeout(TIME_MAX, AssertUnwindSafe(playing).catch_unwind()).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(panic)) => words(&*panic),
        Err(_) => format!("it did not end within {TIME_MAX:?}"),
    };
    let mut failure = format!("* {name}\n");
    for (section, sentence) in proves {
        writeln!(failure, "  {section}: {sentence}").unwrap();
    }
    Err(failure + &reason)
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked without words").to_owned()
}
