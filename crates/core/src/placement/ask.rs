//! What an action asks for, from its annotations: `resources` says how much of what, `placement` says on which nodes.
//!
//! ```json
//! {"resources": {"cpu": "500m", "gpu": 1, "network": "100Mbit", "storage": "1Gi", "example.com/fpga": 1}}
//! {"placement": {"labels": {"zone": "a"}, "tolerations": [{"key": "gpu"}], "isolation": "namespace"}}
//! ```
//!
//! Amounts are quantities of Kubernetes ([`super::quantity`]): CPUs, GPUs, bits in a second, bytes, and whole numbers of named
//! resources. Memory is the limit `memory` of the action.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use triplane_model::Parameters;

use super::quantity::{Quantity, Unit};
use super::request::{Asked, Constraints};
use super::resources::{GPU_MILLI, Resource, Resources, TooManyExtended};

/// The CPU that comes with a GB of memory when an action names none, thousandths: two GB for each CPU, the proportion
/// of common machines.
pub const CPU_MILLI_PER_GB: u64 = 500;

/// CPUs, thousandths of one.
const CPU_MAX: u64 = 1_000_000;
const GPU_MAX: u64 = super::gpus::DEVICES_MAX as u64 * GPU_MILLI;
const NETWORK_MBIT_MAX: u64 = 1_000_000;
const STORAGE_MB_MAX: u64 = 1 << 30;
const EXTENDED_AMOUNT_MAX: u64 = 1_000_000;
/// The longest name of a resource: a domain and a label, as in Kubernetes.
const NAME_BYTES_MAX: usize = 253 + 1 + 63;
/// Labels and tolerations of one action.
const CONSTRAINTS_MAX: usize = 16;
/// The longest name or value of those.
const CONSTRAINT_BYTES_MAX: usize = 256;
/// How much of a wrong value an error repeats, characters.
const SHOWN_MAX: usize = 64;

/// Why annotations are refused: the fault of who wrote them; a retry needs another value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// A value is not what it has to be.
    #[error("{name} is {value}, it must be {expected}")]
    Wrong {
        /// Where it stands.
        name: String,
        /// As it was given, cut.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A resource that there is not.
    #[error(
        "resources has no {name}; it has cpu, gpu, network, storage, and resources of nodes by names such as example.com/fpga (memory is a limit of the action)"
    )]
    Unknown {
        /// As it was given, cut.
        name: String,
    },
    /// Too many named resources.
    #[error("resources: {0}")]
    TooMany(#[from] TooManyExtended),
    /// A constraint that there is not, or a wrong one.
    #[error("placement is not understood: {0}")]
    Constraints(String),
}

impl Asked {
    /// What an action with this much memory asks for. CPU comes in proportion to memory ([`CPU_MILLI_PER_GB`] by default)
    /// unless the annotation names it.
    ///
    /// # Errors
    /// The annotation is not understood, or a value is out of its range.
    pub fn of(memory_mb: u64, annotations: &Parameters, cpu_milli_per_gb: u64) -> Result<Self, AskError> {
        let mut asked = Self { resources: Resources::of_memory(memory_mb), reserves_cpu: false };
        if let Some(annotation) = annotations.get("resources") {
            asked.read(annotation)?;
        }
        if !asked.reserves_cpu {
            let cpu_milli = memory_mb.saturating_mul(cpu_milli_per_gb).div_ceil(1024);
            asked.resources.set(Resource::Cpu, cpu_milli);
        }
        Ok(asked)
    }

    /// What its share of a busy machine's CPU is in proportion to: its memory in MB, or the memory that the CPU comes with which it
    /// reserves.
    #[must_use]
    pub fn weight_mb(&self) -> u64 {
        match self.reserves_cpu {
            true => self.resources.get(Resource::Cpu) * 1024 / CPU_MILLI_PER_GB,
            false => self.resources.get(Resource::Memory),
        }
    }

    fn read(&mut self, annotation: &RawValue) -> Result<(), AskError> {
        let amounts: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(annotation.get()).map_err(|_| AskError::Wrong {
                name: "resources".into(),
                value: shown(annotation.get()),
                expected: "an object",
            })?;
        for (name, value) in &amounts {
            let given = Given { name, value };
            match name.as_str() {
                "cpu" => {
                    self.resources.set(Resource::Cpu, given.cpu()?);
                    self.reserves_cpu = true;
                }
                "gpu" => self.resources.set(Resource::Gpu, given.gpu()?),
                "network" => self.resources.set(Resource::Network, given.network()?),
                "storage" => self.resources.set(Resource::Storage, given.storage()?),
                named if is_extended(named) => self.resources.set_extended(named, given.count()?)?,
                other => return Err(AskError::Unknown { name: shown(other) }),
            }
        }
        Ok(())
    }
}

impl Resources {
    /// What a node has, in the notation of the annotation `resources`.
    ///
    /// # Errors
    /// It is not understood, or an amount is out of its range.
    pub fn of_node(amounts: &RawValue) -> Result<Self, AskError> {
        let mut asked = Asked { resources: Self::default(), reserves_cpu: false };
        asked.read(amounts)?;
        Ok(asked.resources)
    }
}

impl Constraints {
    /// What an action says about nodes.
    ///
    /// # Errors
    /// The annotation is not understood, or is too long.
    pub fn of(annotations: &Parameters) -> Result<Self, AskError> {
        let Some(annotation) = annotations.get("placement") else { return Ok(Self::default()) };
        // a list would do for a struct
        if !annotation.get().starts_with('{') {
            let found = shown(annotation.get());
            return Err(AskError::Wrong { name: "placement".into(), value: found, expected: "an object" });
        }
        let constraints: Self = serde_json::from_str(annotation.get())
            .map_err(|error| AskError::Constraints(shown(&error.to_string())))?;
        match constraints.is_bounded() {
            true => Ok(constraints),
            false => Err(AskError::Constraints(format!(
                "it may have {CONSTRAINTS_MAX} labels and tolerations of {CONSTRAINT_BYTES_MAX} bytes each"
            ))),
        }
    }

    fn is_bounded(&self) -> bool {
        let labels = self.labels.iter().flat_map(|(key, value)| [key, value]);
        let tolerations = &self.tolerations;
        let tolerated = tolerations.iter().flat_map(|one| [Some(&one.key), one.value.as_ref()]).flatten();
        self.labels.len().max(tolerations.len()) <= CONSTRAINTS_MAX
            && labels.chain(tolerated).all(|text| text.len() <= CONSTRAINT_BYTES_MAX)
    }
}

/// A resource as it was written.
struct Given<'a> {
    name: &'a str,
    value: &'a RawValue,
}

impl Given<'_> {
    fn cpu(&self) -> Result<u64, AskError> {
        self.amount("", Unit::Milli, 1..=CPU_MAX, "a number of cpus such as 2 or \"500m\", at most 1000")
    }

    fn gpu(&self) -> Result<u64, AskError> {
        let expected = "a number of gpus, such as 1, or a fraction of one, such as \"250m\", at most 16";
        let gpu_milli = self.amount("", Unit::Milli, 0..=GPU_MAX, expected)?;
        let is_whole = gpu_milli < GPU_MILLI || gpu_milli.is_multiple_of(GPU_MILLI);
        is_whole.then_some(gpu_milli).ok_or_else(|| self.wrong(expected))
    }

    fn network(&self) -> Result<u64, AskError> {
        let expected = "bits in a second such as \"100Mbit\", at most 1000Gbit";
        self.amount("bit", Unit::Mega, 0..=NETWORK_MBIT_MAX, expected)
    }

    fn storage(&self) -> Result<u64, AskError> {
        self.amount("", Unit::Mebi, 0..=STORAGE_MB_MAX, "bytes such as \"1Gi\", at most 1Pi")
    }

    fn count(&self) -> Result<u64, AskError> {
        let expected = "a whole number, at most 1000000";
        let is_whole = self.text().bytes().all(|byte| byte.is_ascii_digit());
        let count = self.amount("", Unit::One, 0..=EXTENDED_AMOUNT_MAX, expected)?;
        is_whole.then_some(count).ok_or_else(|| self.wrong(expected))
    }

    /// The quantity in a unit; `suffix` may follow it.
    fn amount(
        &self,
        suffix: &str,
        unit: Unit,
        range: std::ops::RangeInclusive<u64>,
        expected: &'static str,
    ) -> Result<u64, AskError> {
        let text = self.text();
        let quantity = Quantity::parse(text.strip_suffix(suffix).unwrap_or(&text));
        let amount = quantity.and_then(|quantity| quantity.in_units(unit));
        amount.filter(|amount| range.contains(amount)).ok_or_else(|| self.wrong(expected))
    }

    /// A string without its quotes, or a number as it was written.
    fn text(&self) -> String {
        serde_json::from_str(self.value.get()).unwrap_or_else(|_| self.value.get().to_owned())
    }

    fn wrong(&self, expected: &'static str) -> AskError {
        let name = format!("resources.{}", shown(self.name));
        AskError::Wrong { name, value: shown(self.value.get()), expected }
    }
}

/// Whether it is a name with a domain, as Kubernetes wants them for resources that it does not know.
fn is_extended(name: &str) -> bool {
    let is_plain = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !part.is_empty() && part.bytes().all(plain)
    };
    let parts = name.split_once('/');
    name.len() <= NAME_BYTES_MAX && parts.is_some_and(|(domain, label)| is_plain(domain) && is_plain(label))
}

fn shown(text: &str) -> String {
    match text.chars().count() > SHOWN_MAX {
        true => text.chars().take(SHOWN_MAX).chain("...".chars()).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::request::{Isolation, Toleration};

    fn annotations(name: &str, json: &str) -> Parameters {
        serde_json::from_str(&format!(r#"[{{"key":"{name}","value":{json}}}]"#)).unwrap()
    }

    fn asked(json: &str) -> Result<Asked, String> {
        Asked::of(256, &annotations("resources", json), CPU_MILLI_PER_GB).map_err(|error| error.to_string())
    }

    fn constraints(json: &str) -> Result<Constraints, String> {
        Constraints::of(&annotations("placement", json)).map_err(|error| error.to_string())
    }

    #[test]
    fn without_an_annotation_cpu_comes_in_proportion_to_memory() {
        let asked = Asked::of(512, &Parameters::default(), CPU_MILLI_PER_GB).unwrap();
        assert_eq!(asked.resources, Resources::of_memory(512).with(Resource::Cpu, 250));
        assert!(!asked.reserves_cpu);
    }

    #[test]
    fn the_weight_is_that_of_the_memory_or_of_the_cpu_that_is_reserved() {
        assert_eq!(asked("{}").unwrap().weight_mb(), 256);
        assert_eq!(asked(r#"{"cpu":"2"}"#).unwrap().weight_mb(), 4096);
    }

    #[test]
    fn an_action_asks_for_each_resource_in_its_unit() {
        let json = r#"{"cpu":"500m","gpu":1,"network":"100Mbit","storage":"1Gi","example.com/fpga":1}"#;
        let mut resources = Resources::of_memory(256)
            .with(Resource::Cpu, 500)
            .with(Resource::Gpu, 1000)
            .with(Resource::Network, 100)
            .with(Resource::Storage, 1024);
        resources.set_extended("example.com/fpga", 1).unwrap();
        assert_eq!(asked(json), Ok(Asked { resources, reserves_cpu: true }));
    }

    #[test]
    fn fractions_of_a_gpu_and_whole_ones_are_told_apart() {
        let gpu =
            |value| asked(&format!(r#"{{"gpu":{value}}}"#)).map(|asked| asked.resources.get(Resource::Gpu));
        assert_eq!(gpu("0.25"), Ok(250));
        assert_eq!(gpu("\"250m\""), Ok(250));
        assert_eq!(gpu("16"), Ok(16_000));
        for wrong in ["1.5", "17", "-1", "\"one\"", "true", "null", "[1]"] {
            let error = gpu(wrong).unwrap_err();
            let expected = "a number of gpus, such as 1, or a fraction of one, such as \"250m\", at most 16";
            assert_eq!(error, format!("resources.gpu is {wrong}, it must be {expected}"));
        }
    }

    #[test]
    fn errors_say_what_is_wrong_and_what_would_be_right() {
        let table = [
            ("[]", "resources is [], it must be an object"),
            (
                r#"{"cpu":0}"#,
                r#"resources.cpu is 0, it must be a number of cpus such as 2 or "500m", at most 1000"#,
            ),
            (
                r#"{"network":"fast"}"#,
                r#"resources.network is "fast", it must be bits in a second such as "100Mbit", at most 1000Gbit"#,
            ),
            (
                r#"{"storage":"2Pi"}"#,
                r#"resources.storage is "2Pi", it must be bytes such as "1Gi", at most 1Pi"#,
            ),
            (
                r#"{"example.com/fpga":"1k"}"#,
                r#"resources.example.com/fpga is "1k", it must be a whole number, at most 1000000"#,
            ),
            (
                r#"{"memory":"1Gi"}"#,
                "resources has no memory; it has cpu, gpu, network, storage, and resources of nodes by names such as \
                 example.com/fpga (memory is a limit of the action)",
            ),
        ];
        for (json, expected) in table {
            assert_eq!(asked(json).unwrap_err(), expected);
        }
        let many = (0..9).map(|number| format!(r#""a.b/{number}":1"#)).collect::<Vec<_>>().join(",");
        assert!(
            asked(&format!("{{{many}}}"))
                .unwrap_err()
                .starts_with("resources: there are more than 8 resources")
        );
    }

    #[test]
    fn an_action_says_which_nodes_it_wants() {
        let json = r#"{"labels":{"zone":"a"},"tolerations":[{"key":"gpu"}],"isolation":"namespace"}"#;
        let expected = Constraints {
            labels: BTreeMap::from([("zone".into(), "a".into())]),
            tolerations: vec![Toleration { key: "gpu".into(), value: None }],
            isolation: Isolation::Namespace,
        };
        assert_eq!(constraints(json), Ok(expected));
        assert_eq!(constraints("{}"), Ok(Constraints::default()));
        assert_eq!(Constraints::of(&Parameters::default()), Ok(Constraints::default()));
    }

    #[test]
    fn constraints_that_are_not_understood_are_refused() {
        for (json, expected) in [
            (r#"{"zone":"a"}"#, "placement is not understood: unknown field `zone`"),
            (r#"{"isolation":"alone"}"#, "placement is not understood: unknown variant `alone`"),
            ("7", "placement is 7, it must be an object"),
            ("[]", "placement is [], it must be an object"),
        ] {
            let error = constraints(json).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        let long = format!(r#"{{"labels":{{"zone":"{}"}}}}"#, "x".repeat(CONSTRAINT_BYTES_MAX + 1));
        assert!(constraints(&long).unwrap_err().contains("16 labels and tolerations of 256 bytes"));
    }
}
