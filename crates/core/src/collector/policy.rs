//! Which collector, and its parameters, as an operator writes them: `fixed`, `fixed:idle_ms=300000`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::clairvoyant::Clairvoyant;
use super::compacting::Compacting;
use super::fixed::Fixed;
use super::greedy_dual::GreedyDual;
use super::histogram::Histogram;
use super::judge::Judge;
use super::lru::Lru;

/// A collector by name, with its parameters. Parameters that are not said have their defaults; only others are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Policy {
    /// A fixed idle time, as OpenWhisk has it.
    Fixed(Fixed),
    /// The least recently used go when there is no room.
    Lru(Lru),
    /// Those that are missed least go when there is no room (FaasCache).
    GreedyDual(GreedyDual),
    /// Windows learned from the idle times of each action (Serverless in the Wild).
    Histogram(Histogram),
    /// What is worth less than its memory goes, so that whole nodes become empty.
    Compacting(Compacting),
    /// Knows the future; for simulations, and never read from configuration.
    Clairvoyant(Clairvoyant),
}

/// A collector's parameters, whole numbers with their units in their names.
pub(super) trait Parameters {
    /// What operators call it.
    const NAME: &'static str;

    /// The names of the parameters, and the parameters.
    fn fields(&mut self) -> Vec<(&'static str, &mut u64)>;
}

/// A policy that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No collector has this name.
    #[error("there is no collector '{0}'; there are fixed, lru, greedy-dual, histogram and compacting")]
    Name(String),
    /// It is none of a real platform's.
    #[error(
        "the collector 'clairvoyant' knows the calls before they come, so it is for simulations only: \
         triplane simulate --collector clairvoyant"
    )]
    Clairvoyant,
    /// Not `name=number`, or no such parameter.
    #[error("the collector '{collector}' takes no '{said}'; it takes {}", listed(.takes))]
    Parameter {
        /// The collector.
        collector: &'static str,
        /// What was said.
        said: String,
        /// The names of its parameters.
        takes: Vec<&'static str>,
    },
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "no parameters".into(),
        names => names.iter().map(|name| format!("{name}=NUMBER")).collect::<Vec<_>>().join(", "),
    }
}

impl Policy {
    /// One of each that can be configured, with default parameters.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![
            Self::Fixed(Fixed::default()),
            Self::Lru(Lru::default()),
            Self::GreedyDual(GreedyDual::default()),
            Self::Histogram(Histogram::default()),
            Self::Compacting(Compacting::default()),
        ]
    }

    /// What operators call it, without parameters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fixed(_) => Fixed::NAME,
            Self::Lru(_) => Lru::NAME,
            Self::GreedyDual(_) => GreedyDual::NAME,
            Self::Histogram(_) => Histogram::NAME,
            Self::Compacting(_) => Compacting::NAME,
            Self::Clairvoyant(_) => Clairvoyant::NAME,
        }
    }

    /// The names of its parameters, and what they are set to.
    #[must_use]
    pub fn parameters(&self) -> Vec<(&'static str, u64)> {
        fn of<P: Parameters>(mut parameters: P) -> Vec<(&'static str, u64)> {
            parameters.fields().into_iter().map(|(name, number)| (name, *number)).collect()
        }
        match self.clone() {
            Self::Fixed(it) => of(it),
            Self::Lru(it) => of(it),
            Self::GreedyDual(it) => of(it),
            Self::Histogram(it) => of(it),
            Self::Compacting(it) => of(it),
            Self::Clairvoyant(_) => Vec::new(),
        }
    }

    /// The code that judges by it.
    pub(super) fn judge(&self) -> Box<dyn Judge> {
        match self.clone() {
            Self::Fixed(it) => Box::new(it),
            Self::Lru(it) => Box::new(it),
            Self::GreedyDual(it) => Box::new(it),
            Self::Histogram(it) => Box::new(it),
            Self::Compacting(it) => Box::new(it),
            Self::Clairvoyant(it) => Box::new(it),
        }
    }
}

impl Default for Policy {
    /// OpenWhisk's.
    fn default() -> Self {
        Self::Fixed(Fixed::default())
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let (name, said) = text.split_once(':').unwrap_or((text, ""));
        match name {
            Fixed::NAME => read(said).map(Self::Fixed),
            Lru::NAME => read(said).map(Self::Lru),
            GreedyDual::NAME => read(said).map(Self::GreedyDual),
            Histogram::NAME => read(said).map(Self::Histogram),
            Compacting::NAME => read(said).map(Self::Compacting),
            Clairvoyant::NAME => Err(PolicyError::Clairvoyant),
            other => Err(PolicyError::Name(other.into())),
        }
    }
}

fn read<P: Parameters + Default>(text: &str) -> Result<P, PolicyError> {
    let mut parameters = P::default();
    for said in text.split(':').filter(|said| !said.is_empty()) {
        set(&mut parameters, said).ok_or_else(|| PolicyError::Parameter {
            collector: P::NAME,
            said: said.into(),
            takes: P::default().fields().into_iter().map(|(name, _)| name).collect(),
        })?;
    }
    Ok(parameters)
}

fn set<P: Parameters>(parameters: &mut P, said: &str) -> Option<()> {
    let (name, number) = said.split_once('=')?;
    let number = number.trim().parse().ok()?;
    let (_, field) = parameters.fields().into_iter().find(|(field, _)| *field == name.trim())?;
    *field = number;
    Some(())
}

impl fmt::Display for Policy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.clone() {
            Self::Fixed(it) => show(it, out),
            Self::Lru(it) => show(it, out),
            Self::GreedyDual(it) => show(it, out),
            Self::Histogram(it) => show(it, out),
            Self::Compacting(it) => show(it, out),
            Self::Clairvoyant(_) => out.write_str(Clairvoyant::NAME),
        }
    }
}

fn show<P: Parameters + Default>(mut parameters: P, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_str(P::NAME)?;
    let mut defaults = P::default();
    for ((name, number), (_, default)) in parameters.fields().into_iter().zip(defaults.fields()) {
        if number != default {
            write!(out, ":{name}={number}")?;
        }
    }
    Ok(())
}

impl TryFrom<String> for Policy {
    type Error = PolicyError;

    fn try_from(text: String) -> Result<Self, PolicyError> {
        text.parse()
    }
}

impl From<Policy> for String {
    fn from(policy: Policy) -> Self {
        policy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_read_from_its_own_text() {
        for policy in Policy::all() {
            assert_eq!(policy.to_string(), policy.name(), "defaults are not shown");
            assert_eq!(policy.name().parse(), Ok(policy));
        }
        let text = "fixed:idle_ms=300000";
        assert_eq!(text.parse(), Ok(Policy::Fixed(Fixed { idle_ms: 300_000 })));
        assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
    }

    #[test]
    fn every_parameter_can_be_said() {
        for policy in Policy::all() {
            for (name, number) in policy.parameters() {
                let said: Policy = format!("{}:{name}={}", policy.name(), number + 1).parse().unwrap();
                assert!(said.parameters().contains(&(name, number + 1)), "{said}");
            }
        }
        assert_eq!("fixed:idle_ms=7".parse::<Policy>().unwrap().parameters(), [("idle_ms", 7)]);
    }

    #[test]
    fn configuration_has_the_same_text() {
        let policy: Policy = serde_json::from_str(r#""fixed:idle_ms=1""#).unwrap();
        assert_eq!(serde_json::to_string(&policy).unwrap(), r#""fixed:idle_ms=1""#);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_what_could_be_said() {
        let error = |text: &str| text.parse::<Policy>().unwrap_err().to_string();
        assert_eq!(
            error("mru"),
            "there is no collector 'mru'; there are fixed, lru, greedy-dual, histogram and compacting"
        );
        assert!(
            error("clairvoyant").starts_with("the collector 'clairvoyant' knows the calls before they come")
        );
        for said in ["fixed:idle_s=1", "fixed:idle_ms", "fixed:idle_ms=x", "fixed:idle_ms=-1"] {
            let said = said.trim_start_matches("fixed:");
            assert_eq!(
                error(&format!("fixed:{said}")),
                format!("the collector 'fixed' takes no '{said}'; it takes idle_ms=NUMBER")
            );
        }
        assert_eq!(error("lru:a=1"), "the collector 'lru' takes no 'a=1'; it takes no parameters");
    }
}
