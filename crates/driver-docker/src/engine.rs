//! What is asked of the engine. The only file that knows its client's types.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, HostConfig, HostConfigLogConfig, NetworkCreateRequest,
    ResourcesUlimits,
};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, CreateImageOptions, EventsOptions,
    InspectContainerOptions, InspectNetworkOptions, KillContainerOptions, ListContainersOptions,
    ListNetworksOptions, RemoveContainerOptions, StartContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use triplane_proxy::runtime::OutputPiece;

use crate::devices::Device;
use crate::options::Login;

/// How long the engine may take to answer; on a machine that is too busy everything takes long.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// Says whose a container or network is.
const INSTANCE_LABEL: &str = "triplane.instance";
/// Says which of ours a container is.
const CONTAINER_LABEL: &str = "triplane.container";
/// The most processes and threads in a container.
const PROCESSES_MAX: i64 = 1024;
/// The most open files of a process.
const FILES_MAX: i64 = 1024;
/// The most weight that there is; 1024 is the ordinary one.
const SHARES_MAX: i64 = 262_144;
const MB: u64 = 1024 * 1024;

/// An engine.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    client: bollard::Docker,
    instance: String,
}

/// Why the engine did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refused {
    /// 0 when it did not answer.
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl Refused {
    /// Whether what it is about is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == 404
    }

    /// Whether the engine said nothing at all.
    pub(crate) fn is_no_answer(&self) -> bool {
        self.status == 0
    }

    /// Whether it is so already, or something else is in the way.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self.status, 304 | 403 | 409)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                Self { status: status_code, message }
            }
            other => Self { status: 0, message: other.to_string() },
        }
    }
}

/// A container to be made.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) network: String,
    pub(crate) memory_mb: u64,
    /// Its weight among others, see [`Asked::weight_mb`](triplane_core::placement::Asked::weight_mb).
    pub(crate) weight_mb: u64,
    pub(crate) devices: Vec<Device>,
    pub(crate) env: Vec<String>,
    /// Which of ours it is.
    pub(crate) container: String,
    pub(crate) labels: Vec<(&'static str, String)>,
}

/// What an engine is and enforces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) version: String,
    /// The CPUs of its machine.
    pub(crate) cpus: u64,
    /// By name; what is not enforced is only asked for.
    pub(crate) enforced: Vec<(&'static str, bool)>,
}

/// How a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) address: Option<IpAddr>,
    /// The kernel killed something in it for its memory.
    pub(crate) out_of_memory: bool,
    pub(crate) exit_code: i64,
}

impl Engine {
    /// Connects, and agrees on a version of the API.
    pub(crate) async fn connect(host: &str, instance: &str) -> Result<Self, Refused> {
        let client = bollard::Docker::connect_with_host(host)?;
        let client = answered(client.negotiate_version()).await?;
        let client = client.with_request_modifier(|mut request| {
            url_safe(&mut request);
            request
        });
        Ok(Self { client, instance: instance.to_owned() })
    }

    /// Whether it answers.
    pub(crate) async fn ping(&self) -> Result<(), Refused> {
        answered(self.client.ping()).await.map(drop)
    }

    /// What it is, and which of our limits it enforces.
    pub(crate) async fn offer(&self) -> Result<Offer, Refused> {
        let info = answered(self.client.info()).await?;
        let options = info.security_options.unwrap_or_default();
        let filters =
            options.iter().any(|option| option.starts_with("name=seccomp") && !option.contains("unconfined"));
        let enforced = vec![
            ("memory", info.memory_limit.unwrap_or(false)),
            ("swap", info.swap_limit.unwrap_or(false)),
            ("processes", info.pids_limit.unwrap_or(false)),
            ("cpu", info.cpu_shares.unwrap_or(false)),
            ("system_calls", filters),
        ];
        let cpus = info.ncpu.and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
        Ok(Offer { version: info.server_version.unwrap_or_default(), cpus, enforced })
    }

    /// One item for each event of our containers, an error or the end when the engine is gone.
    pub(crate) fn events(&self) -> BoxStream<'static, Result<(), Refused>> {
        let options = EventsOptions { filters: Some(self.ours()), ..Default::default() };
        let events = self.client.events(Some(options));
        events.map(|event| event.map(drop).map_err(Refused::from)).boxed()
    }

    /// Pulls an image, with the credentials of its registry.
    pub(crate) async fn pull(&self, image: &str, login: Option<(&str, &Login)>) -> Result<(), Refused> {
        // without a tag all tags would be pulled
        let tag = (!image.contains('@') && !has_tag(image)).then(|| "latest".to_owned());
        let options = CreateImageOptions { from_image: Some(image.to_owned()), tag, ..Default::default() };
        let credentials = login.map(|(registry, login)| DockerCredentials {
            username: Some(login.username.clone()),
            password: Some(login.password.clone()),
            serveraddress: Some(registry.to_owned()),
            ..DockerCredentials::default()
        });
        let mut progress = std::pin::pin!(self.client.create_image(Some(options), None, credentials));
        while let Some(step) = progress.next().await {
            step?;
        }
        Ok(())
    }

    /// Whether the engine has an image.
    pub(crate) async fn has_image(&self, image: &str) -> Result<bool, Refused> {
        match answered(self.client.inspect_image(image)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a container that does not run yet; answers its id.
    pub(crate) async fn create(&self, plan: Plan) -> Result<String, Refused> {
        let options = CreateContainerOptions { name: Some(plan.name.clone()), ..Default::default() };
        let body = self.body(plan);
        Ok(answered(self.client.create_container(Some(options), body)).await?.id)
    }

    fn body(&self, plan: Plan) -> ContainerCreateBody {
        let memory = i64::try_from(plan.memory_mb.saturating_mul(MB)).unwrap_or(i64::MAX);
        let files = ResourcesUlimits {
            name: Some("nofile".to_owned()),
            soft: Some(FILES_MAX),
            hard: Some(FILES_MAX),
        };
        let host = HostConfig {
            memory: Some(memory),
            // no swap beside it
            memory_swap: Some(memory),
            // 2 is the least that there is
            cpu_shares: Some(i64::try_from(plan.weight_mb).unwrap_or(i64::MAX).clamp(2, SHARES_MAX)),
            devices: Some(nodes(&plan.devices)),
            device_requests: Some(engine_gpus(&plan.devices)),
            pids_limit: Some(PROCESSES_MAX),
            ulimits: Some(vec![files]),
            cap_drop: Some(vec!["NET_RAW".to_owned(), "NET_ADMIN".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            network_mode: Some(plan.network),
            // the proxy reads the output while it is written; nothing has to keep it
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            ..HostConfig::default()
        };
        let labels = plan.labels.into_iter().map(|(key, value)| (key.to_owned(), value));
        ContainerCreateBody {
            image: Some(plan.image),
            env: Some(plan.env),
            labels: Some(
                labels.chain([self.label(), (CONTAINER_LABEL.to_owned(), plan.container)]).collect(),
            ),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }

    /// What a container writes from now on, until it ends.
    pub(crate) async fn attach(&self, id: &str) -> Result<BoxStream<'static, OutputPiece>, Refused> {
        let options =
            AttachContainerOptions { stream: true, stdout: true, stderr: true, ..Default::default() };
        let attached = answered(self.client.attach_container(id, Some(options))).await?;
        // the input end keeps the connection open
        let input = attached.input;
        let pieces = attached.output.take_while(|read| std::future::ready(read.is_ok()));
        let pieces = pieces.filter_map(move |read| {
            let _open = &input;
            std::future::ready(read.ok().and_then(piece))
        });
        Ok(pieces.boxed())
    }

    pub(crate) async fn start(&self, id: &str) -> Result<(), Refused> {
        answered(self.client.start_container(id, None::<StartContainerOptions>)).await
    }

    /// Waits until a container that was started does not run any more.
    pub(crate) async fn wait(&self, id: &str) -> Result<(), Refused> {
        let options = WaitContainerOptions { condition: "not-running".to_owned() };
        match self.client.wait_container(id, Some(options)).next().await {
            // a code that is not 0 is an error for the client
            Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(error)) => Err(error.into()),
            None => Err(Refused { status: 0, message: "the engine does not say".to_owned() }),
        }
    }

    pub(crate) async fn inspect(&self, id: &str) -> Result<Condition, Refused> {
        let found = answered(self.client.inspect_container(id, None::<InspectContainerOptions>)).await?;
        let networks = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let mut addresses = networks.into_values().filter_map(|end| end.ip_address?.parse().ok());
        let state = found.state.unwrap_or_default();
        Ok(Condition {
            address: addresses.next(),
            out_of_memory: state.oom_killed.unwrap_or(false),
            exit_code: state.exit_code.unwrap_or(0),
        })
    }

    pub(crate) async fn kill(&self, id: &str) -> Result<(), Refused> {
        let options = KillContainerOptions { signal: "SIGKILL".to_owned() };
        answered(self.client.kill_container(id, Some(options))).await
    }

    /// Removes a container, killed if need be, with its anonymous volumes. One that is gone is removed.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), Refused> {
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        match answered(self.client.remove_container(id, Some(options))).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    pub(crate) async fn pause(&self, id: &str) -> Result<(), Refused> {
        answered(self.client.pause_container(id)).await
    }

    pub(crate) async fn resume(&self, id: &str) -> Result<(), Refused> {
        answered(self.client.unpause_container(id)).await
    }

    /// The engine's ids of all our containers, each with which of ours it is.
    pub(crate) async fn containers(&self) -> Result<Vec<(String, String)>, Refused> {
        let options = ListContainersOptions { all: true, filters: Some(self.ours()), ..Default::default() };
        let found = answered(self.client.list_containers(Some(options))).await?;
        let named = found.into_iter().filter_map(|found| {
            let ours = found.labels.unwrap_or_default().remove(CONTAINER_LABEL).unwrap_or_default();
            Some((found.id?, ours))
        });
        Ok(named.collect())
    }

    /// Makes a bridge whose containers do not reach each other, and the world if it is open; `link` is its name on the
    /// host.
    pub(crate) async fn create_network(
        &self,
        name: &str,
        namespace: &str,
        link: &str,
        is_open: bool,
    ) -> Result<(), Refused> {
        let isolated = ("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned());
        let named = ("com.docker.network.bridge.name".to_owned(), link.to_owned());
        let labels = [("triplane.namespace".to_owned(), namespace.to_owned()), self.label()];
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            internal: Some(!is_open),
            options: Some(HashMap::from([isolated, named])),
            labels: Some(HashMap::from(labels)),
            ..NetworkCreateRequest::default()
        };
        answered(self.client.create_network(request)).await.map(drop)
    }

    /// The host's address on a bridge.
    pub(crate) async fn gateway(&self, name: &str) -> Result<IpAddr, Refused> {
        let found = answered(self.client.inspect_network(name, None::<InspectNetworkOptions>)).await?;
        let configured = found.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        let mut gateways =
            configured.into_iter().filter_map(|config| config.gateway?.split('/').next()?.parse().ok());
        let none = || Refused { status: 500, message: format!("the engine gave network {name} no gateway") };
        gateways.next().ok_or_else(none)
    }

    pub(crate) async fn has_network(&self, name: &str) -> Result<bool, Refused> {
        match answered(self.client.inspect_network(name, None::<InspectNetworkOptions>)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a network; one that is gone is removed.
    pub(crate) async fn remove_network(&self, name: &str) -> Result<(), Refused> {
        match answered(self.client.remove_network(name)).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// The names of all our networks.
    pub(crate) async fn networks(&self) -> Result<Vec<String>, Refused> {
        let options = ListNetworksOptions { filters: Some(self.ours()) };
        let found = answered(self.client.list_networks(Some(options))).await?;
        Ok(found.into_iter().filter_map(|network| network.name).collect())
    }

    fn label(&self) -> (String, String) {
        (INSTANCE_LABEL.to_owned(), self.instance.clone())
    }

    fn ours(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![format!("{INSTANCE_LABEL}={}", self.instance)])])
    }
}

/// What the engine answers, if it does in time.
async fn answered<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Refused> {
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => {
            let message = format!("the engine does not answer within {} s", ANSWER_WITHIN.as_secs());
            Err(Refused { status: 0, message })
        }
    }
}

/// Device nodes that the engine is to make, for reading and writing.
fn nodes(devices: &[Device]) -> Vec<DeviceMapping> {
    let paths = devices.iter().filter_map(|device| match device {
        Device::Node(path) => Some(path.clone()),
        Device::EngineGpu(_) => None,
    });
    let mapping = |path: String| DeviceMapping {
        path_on_host: Some(path.clone()),
        path_in_container: Some(path),
        cgroup_permissions: Some("rw".to_owned()),
    };
    paths.map(mapping).collect()
}

/// The GPUs that the engine's own driver for them is asked for.
fn engine_gpus(devices: &[Device]) -> Vec<DeviceRequest> {
    let names = devices.iter().filter_map(|device| match device {
        Device::EngineGpu(name) => Some(name.clone()),
        Device::Node(_) => None,
    });
    let names: Vec<String> = names.collect();
    let request = |names| DeviceRequest {
        device_ids: Some(names),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    };
    Some(names).filter(|names| !names.is_empty()).map(request).into_iter().collect()
}

fn has_tag(image: &str) -> bool {
    image.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

fn piece(read: LogOutput) -> Option<OutputPiece> {
    match read {
        LogOutput::StdOut { message } | LogOutput::Console { message } => {
            Some(OutputPiece { is_stderr: false, bytes: message })
        }
        LogOutput::StdErr { message } => Some(OutputPiece { is_stderr: true, bytes: message }),
        LogOutput::StdIn { .. } => None,
    }
}

/// The engine reads credentials in the URL-safe alphabet and takes others for none; the client writes the standard one.
fn url_safe<B>(request: &mut http::Request<B>) {
    const CREDENTIALS: &str = "x-registry-auth";
    let Some(value) = request.headers().get(CREDENTIALS).and_then(|value| value.to_str().ok()) else {
        return;
    };
    if let Ok(value) = value.replace('+', "-").replace('/', "_").parse() {
        request.headers_mut().insert(CREDENTIALS, value);
    }
}
