//! Where calls come from, and how far a replay has come with them.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use triplane_core::collector;
use triplane_simulator::replay::csv::Csv;
use triplane_simulator::replay::generator::{Generator, Profile};
use triplane_simulator::replay::trace::{Invocation, Trace, TraceAction, TraceError};
use triplane_simulator::replay::{self, Config, Instant as Map, MapError, Outcome, clairvoyant};

use super::cli::SceneOptions;
use super::moment::Moment;

/// What takes longer says how far it is each time that this is over.
const PROGRESS: Duration = Duration::from_secs(5);
/// Calls after which the clock is looked at.
const LOOK_CALLS: u64 = 256;

/// Where calls come from. It is read anew for each policy.
pub(super) enum Load<'a> {
    File(&'a Path),
    Generated { seed: u64, profile: Profile },
}

impl<'a> Load<'a> {
    pub(super) fn of(options: &'a SceneOptions) -> Self {
        match &options.trace {
            Some(path) => Self::File(path),
            None => Self::Generated {
                seed: options.seed,
                profile: Profile {
                    actions: options.actions,
                    length_ms: u64::from(options.hours) * 3_600_000,
                    calls_per_day_max: options.hottest.into(),
                    ..Profile::default()
                },
            },
        }
    }

    /// The calls; who reads them is named when that takes long.
    pub(super) fn open(&self, reader: &str) -> Result<Box<dyn Trace>, TraceError> {
        Ok(match self {
            Self::File(path) => {
                let file = File::open(path)?;
                let (bytes, read) = (file.metadata()?.len(), Arc::new(AtomicU64::new(0)));
                let counted = Counted { file, read: Arc::clone(&read) };
                let share = move |_: u64| read.load(Ordering::Relaxed) as f64 / bytes as f64;
                Box::new(Watched::new(Csv::open(BufReader::new(counted))?, reader, share))
            }
            Self::Generated { seed, profile } => {
                let length_ms = profile.length_ms;
                let share = move |at_ms: u64| at_ms as f64 / length_ms as f64;
                Box::new(Watched::new(Generator::new(*seed, profile), reader, share))
            }
        })
    }

    /// What a policy makes of all of it.
    pub(super) fn replay(&self, config: &Config) -> anyhow::Result<(Outcome, Vec<TraceAction>)> {
        let began = Instant::now();
        let (outcome, actions) =
            self.with(config, |trace, config| replay::replay(trace, config).map_err(MapError::Trace))?;
        let (events, seconds) = (outcome.events, began.elapsed().as_secs_f64());
        let per_second = events as f64 / seconds.max(1e-9);
        eprintln!(
            "{} on {} nodes: {events} events in {seconds:.1} s ({per_second:.0} a second)",
            config.policy.name, config.nodes
        );
        Ok((outcome, actions))
    }

    /// Where every container is at these times.
    pub(super) fn maps(
        &self,
        config: &Config,
        at: &[Moment],
    ) -> anyhow::Result<(Vec<Map>, Vec<TraceAction>)> {
        let at_ms: Vec<u64> = at.iter().map(|moment| moment.ms).collect();
        self.with(config, |trace, config| replay::maps(trace, config, &at_ms))
    }

    fn with<T>(
        &self,
        config: &Config,
        act: impl FnOnce(&mut dyn Trace, &Config) -> Result<T, MapError>,
    ) -> anyhow::Result<(T, Vec<TraceAction>)> {
        let mut config = config.clone();
        let reader = format!("{} on {} nodes", config.policy.name, config.nodes);
        let acted = || {
            let collector = &mut config.policy.settings.policy.collector;
            if let collector::Policy::Clairvoyant(_) = collector {
                *collector = clairvoyant(&mut *self.open(&format!("{reader}, looking ahead"))?)?;
            }
            let mut trace = self.open(&reader)?;
            let acted = act(&mut *trace, &config)?;
            Ok::<_, MapError>((acted, trace.actions().to_vec()))
        };
        acted().map_err(|error| match error {
            MapError::Trace(error) => anyhow::Error::new(error).context(format!("{self} cannot be replayed")),
            MapError::Over { at_ms, end_ms } => {
                let (at, end) = (Moment { ms: at_ms }, Moment { ms: end_ms });
                anyhow::anyhow!("there is no map at {at}: the load is over at {end}")
            }
        })
    }
}

impl fmt::Display for Load<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Generated { seed, .. } => write!(out, "the load of seed {seed}"),
        }
    }
}

/// A file, and how much of it was read.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A trace that says how far it was read, when that takes long.
struct Watched<T, S> {
    trace: T,
    reader: String,
    /// The share of the trace that was read, given the time of its latest call.
    share: S,
    calls: u64,
    due: Instant,
}

impl<T: Trace, S: Fn(u64) -> f64> Watched<T, S> {
    fn new(trace: T, reader: &str, share: S) -> Self {
        Self { trace, reader: reader.to_owned(), share, calls: 0, due: Instant::now() + PROGRESS }
    }

    fn say(&mut self, at_ms: u64) {
        let (reader, percent, calls) = (&self.reader, 100.0 * (self.share)(at_ms), self.calls);
        let at = Moment { ms: at_ms / 1_000 * 1_000 };
        eprintln!("{reader}: {percent:.0} % of the load, {calls} calls until {at}");
        self.due = Instant::now() + PROGRESS;
    }
}

impl<T: Trace, S: Fn(u64) -> f64> Trace for Watched<T, S> {
    fn next(&mut self) -> Result<Option<Invocation>, TraceError> {
        let next = self.trace.next()?;
        if let Some(call) = &next {
            self.calls += 1;
            if self.calls.is_multiple_of(LOOK_CALLS) && Instant::now() >= self.due {
                self.say(call.arrival_ms);
            }
        }
        Ok(next)
    }

    fn actions(&self) -> &[TraceAction] {
        self.trace.actions()
    }
}
