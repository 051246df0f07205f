//! Docker's API, over its socket.
//!
//! Owns the translation of requests into bollard's calls and of their answers into plain words. It is the only file that
//! knows bollard.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bollard::container::LogOutput;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum,
    CreateImageInfo, EventMessage, Network, NetworkConnectRequest, NetworkCreateRequest,
    SystemInfo, Volume, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, DownloadFromContainerOptionsBuilder,
    EventsOptionsBuilder, ImportImageOptionsBuilder, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptions, StopContainerOptions,
    WaitContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::HeaderValue;
use muster_engine::container::body;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::io::ReaderStream;

use crate::runner::docker::client::{
    CALL_TIMEOUT, ContainerDetails, ContainerEntry, CreatedContainer, EngineClient, EngineError,
    EngineEvent, EngineSetup, EngineStream, GREETING_TIMEOUT, ImageDetails, MarkedResource,
    OutputEntry, PullLine, TRANSFER_TIMEOUT,
};
use crate::runner::docker::make::credentials;
use crate::stdx::errors::error_chain;

/// Bytes of an archive that are read at once.
const ARCHIVE_PIECE: usize = 1 << 18;

/// The network that Docker makes anew whenever it starts, unless containers have gone on: its id is that of the engine's process.
const DEFAULT_NETWORK: &str = "bridge";

/// A Docker engine behind a socket.
#[derive(Debug)]
pub(crate) struct DockerClient {
    socket: PathBuf,
}

impl DockerClient {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// A client is cheap and a line of its own: an engine that went and came back needs no mending here.
    fn connect_within(&self, limit: Duration) -> Result<Docker, EngineError> {
        let socket = self.socket.to_string_lossy();
        Docker::connect_with_unix(&socket, limit.as_secs(), API_DEFAULT_VERSION)
            .map_err(|error| EngineError::Lost(error_chain(&error)))
    }

    fn connect(&self) -> Result<Docker, EngineError> {
        self.connect_within(CALL_TIMEOUT)
    }

    /// The answer in pieces of a call over a line that may carry an image.
    fn stream<T: Send + 'static, S>(&self, call: impl FnOnce(Docker) -> S) -> EngineStream<T>
    where
        S: futures::Stream<Item = Result<T, bollard::errors::Error>> + Send + 'static,
    {
        match self.connect_within(TRANSFER_TIMEOUT) {
            Ok(client) => call(client).map(|piece| piece.map_err(EngineError::from)).boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }
}

#[async_trait]
impl EngineClient for DockerClient {
    async fn ask_version(&self) -> Result<Option<String>, EngineError> {
        Ok(self.connect_within(GREETING_TIMEOUT)?.version().await?.api_version)
    }

    async fn ask_setup(&self) -> Result<EngineSetup, EngineError> {
        let client = self.connect_within(GREETING_TIMEOUT)?;
        let info = client.info().await?;
        // Without that network, or with an engine that is no Docker, nothing tells its processes apart.
        let network = client.inspect_network(DEFAULT_NETWORK, None).await.ok();
        let process = network.and_then(|network| process_mark(&network.id?));
        Ok(EngineSetup { process, ..read_setup(info) })
    }

    fn follow_events(&self, since: u64, label: &str) -> EngineStream<EngineEvent> {
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("label", vec![label.to_owned()]),
        ]);
        let options =
            EventsOptionsBuilder::new().since(&since.to_string()).filters(&filters).build();
        let events = self.stream(|client| client.events(Some(options)));
        events.map(|event| event.map(read_event)).boxed()
    }

    async fn list_containers(&self, labels: &[String]) -> Result<Vec<ContainerEntry>, EngineError> {
        let filters = label_filter(labels);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listed = self.connect()?.list_containers(Some(options)).await?;
        Ok(listed.into_iter().filter_map(read_entry).collect())
    }

    async fn inspect_container(&self, name: &str) -> Result<ContainerDetails, EngineError> {
        Ok(read_details(self.connect()?.inspect_container(name, None).await?))
    }

    async fn create_container(
        &self,
        name: &str,
        body: &body::Create,
    ) -> Result<CreatedContainer, EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let body: ContainerCreateBody = to_client_body(body)?;
        let made = self.connect()?.create_container(Some(options), body).await?;
        Ok(CreatedContainer { id: made.id, warnings: made.warnings })
    }

    async fn start_container(&self, id: &str) -> Result<(), EngineError> {
        Ok(self.connect()?.start_container(id, None).await?)
    }

    async fn kill_container(&self, id: &str, signal: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        Ok(self.connect()?.kill_container(id, Some(options)).await?)
    }

    async fn unpause_container(&self, id: &str) -> Result<(), EngineError> {
        Ok(self.connect()?.unpause_container(id).await?)
    }

    async fn stop_container(&self, id: &str) -> Result<(), EngineError> {
        let client = self.connect_within(TRANSFER_TIMEOUT)?;
        Ok(client.stop_container(id, None::<StopContainerOptions>).await?)
    }

    async fn remove_container(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        Ok(self.connect()?.remove_container(id, Some(options)).await?)
    }

    async fn wait_until_removed(&self, id: &str) {
        let Ok(client) = self.connect() else { return };
        let options = WaitContainerOptionsBuilder::new().condition("removed").build();
        let mut wait = std::pin::pin!(client.wait_container(id, Some(options)));
        while wait.next().await.is_some() {}
    }

    async fn connect_network(
        &self,
        network: &str,
        id: &str,
        endpoint: &body::Endpoint,
    ) -> Result<(), EngineError> {
        let request = NetworkConnectRequest {
            container: id.to_owned(),
            endpoint_config: Some(to_client_body(endpoint)?),
        };
        Ok(self.connect()?.connect_network(network, request).await?)
    }

    fn read_directory(&self, id: &str, path: &str) -> EngineStream<Bytes> {
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        self.stream(|client| client.download_from_container(id, Some(options)))
    }

    fn read_output(&self, id: &str, tail: &str, follow: bool) -> EngineStream<OutputEntry> {
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .follow(follow)
            .tail(tail)
            .build();
        let entries = self.stream(|client| client.logs(id, Some(options)));
        entries.map(|entry| entry.map(read_output_entry)).boxed()
    }

    async fn inspect_image(&self, name: &str) -> Result<ImageDetails, EngineError> {
        let image = self.connect()?.inspect_image(name).await?;
        let config = image.config.unwrap_or_default();
        Ok(ImageDetails {
            entrypoint: config.entrypoint.unwrap_or_default(),
            command: config.cmd.unwrap_or_default(),
            user: config.user.unwrap_or_default(),
        })
    }

    fn pull_image(
        &self,
        repository: &str,
        tag: &str,
        credentials: Option<HeaderValue>,
    ) -> EngineStream<PullLine> {
        let options = CreateImageOptionsBuilder::new().from_image(repository).tag(tag).build();
        let lines = self.stream(|mut client| {
            if let Some(header) = credentials {
                // The library's own is in the other alphabet of base64, which an engine does not read.
                client = client.with_request_modifier(move |mut request| {
                    request.headers_mut().insert(credentials::HEADER, header.clone());
                    request
                });
            }
            client.create_image(Some(options), None, None)
        });
        lines.map(|line| line.map(read_pull_line)).boxed()
    }

    async fn load_images(&self, archive: &Path) -> Result<EngineStream<String>, EngineError> {
        let archive = tokio::fs::File::open(archive)
            .await
            .map_err(|error| EngineError::new_refusal(error.to_string()))?;
        let options = ImportImageOptionsBuilder::new().build();
        let archive = ReaderStream::with_capacity(archive, ARCHIVE_PIECE);
        let lines = self.stream(|client| client.import_image_stream(options, archive, None));
        Ok(lines.map(|line| line.map(|line| line.stream.unwrap_or_default())).boxed())
    }

    async fn inspect_volume(&self, name: &str) -> Result<(), EngineError> {
        Ok(self.connect()?.inspect_volume(name).await.map(|_| ())?)
    }

    async fn create_volume(&self, body: &body::VolumeCreate) -> Result<(), EngineError> {
        let body: VolumeCreateRequest = to_client_body(body)?;
        Ok(self.connect()?.create_volume(body).await.map(|_| ())?)
    }

    async fn list_volumes(&self, labels: &[String]) -> Result<Vec<MarkedResource>, EngineError> {
        let filters = label_filter(labels);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let found = self.connect()?.list_volumes(Some(options)).await?;
        Ok(found.volumes.unwrap_or_default().into_iter().map(read_volume).collect())
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        Ok(self.connect()?.remove_volume(name, None::<RemoveVolumeOptions>).await?)
    }

    async fn inspect_network(&self, name: &str) -> Result<(), EngineError> {
        Ok(self.connect()?.inspect_network(name, None).await.map(|_| ())?)
    }

    async fn create_network(&self, body: &body::NetworkCreate) -> Result<(), EngineError> {
        let body: NetworkCreateRequest = to_client_body(body)?;
        Ok(self.connect()?.create_network(body).await.map(|_| ())?)
    }

    async fn list_networks(&self, labels: &[String]) -> Result<Vec<MarkedResource>, EngineError> {
        let filters = label_filter(labels);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let found = self.connect()?.list_networks(Some(options)).await?;
        Ok(found.into_iter().map(read_network).collect())
    }

    async fn remove_network(&self, id: &str) -> Result<(), EngineError> {
        Ok(self.connect()?.remove_network(id).await?)
    }
}

impl From<bollard::errors::Error> for EngineError {
    fn from(error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                Self::Refused { status: status_code, problem: message.trim().to_owned() }
            }
            Error::DockerStreamError { error } => {
                Self::Refused { status: 0, problem: error.trim().to_owned() }
            }
            // An answer nobody understands is an answer. Asking again brings the same.
            // What it says is not repeated: a container's environment may stand there.
            Error::JsonDataError { column, .. } => {
                Self::new_refusal(format!("unreadable answer, at its byte {column}"))
            }
            Error::JsonSerdeError { err } => {
                Self::new_refusal(format!("unreadable answer ({:?})", err.classify()))
            }
            error => Self::Lost(error_chain(&error)),
        }
    }
}

/// One of our bodies in the client library's type.
fn to_client_body<T: DeserializeOwned>(ours: &impl Serialize) -> Result<T, EngineError> {
    serde_json::to_value(ours)
        .and_then(serde_json::from_value)
        // The values of an environment are in there, so serde's words are kept to where it happened.
        .map_err(|error| {
            EngineError::new_refusal(format!(
                "a request cannot be written ({:?})",
                error.classify()
            ))
        })
}

fn label_filter(labels: &[String]) -> HashMap<&'static str, Vec<String>> {
    let labels = (!labels.is_empty()).then(|| labels.to_vec());
    labels.into_iter().map(|labels| ("label", labels)).collect()
}

fn sorted_labels(labels: Option<HashMap<String, String>>) -> BTreeMap<String, String> {
    labels.unwrap_or_default().into_iter().collect()
}

/// A name without the slash that the engine puts before each.
fn bare_name(name: String) -> String {
    name.strip_prefix('/').map(str::to_owned).unwrap_or(name)
}

fn read_setup(info: SystemInfo) -> EngineSetup {
    let found = info.discovered_devices.into_iter().flatten();
    let of_cdi = found.filter(|device| device.source.as_deref() == Some("cdi"));
    EngineSetup {
        log_driver: info.logging_driver.unwrap_or_default(),
        log_drivers: info.plugins.and_then(|plugins| plugins.log).unwrap_or_default(),
        cgroup_driver: info.cgroup_driver.map(|driver| driver.to_string()).unwrap_or_default(),
        live_restore: info.live_restore_enabled,
        process: None,
        has_cdi: info.cdi_spec_dirs.is_some_and(|directories| !directories.is_empty()),
        cdi_devices: of_cdi.filter_map(|device| device.id).collect(),
    }
}

/// The first half of the 128 bits that tell a network's id from others well enough.
fn process_mark(network: &str) -> Option<u64> {
    u64::from_str_radix(network.get(..16)?, 16).ok()
}

fn read_event(event: EventMessage) -> EngineEvent {
    let labels = event.actor.and_then(|actor| actor.attributes);
    EngineEvent { action: event.action.unwrap_or_default(), labels: sorted_labels(labels) }
}

fn read_entry(summary: ContainerSummary) -> Option<ContainerEntry> {
    use ContainerSummaryStateEnum as State;
    let runs = matches!(summary.state, Some(State::RUNNING | State::PAUSED | State::RESTARTING));
    Some(ContainerEntry {
        id: summary.id?,
        labels: sorted_labels(summary.labels),
        names: summary.names.unwrap_or_default().into_iter().map(bare_name).collect(),
        runs,
        created: summary.created.and_then(|at| u64::try_from(at).ok()).unwrap_or_default(),
    })
}

fn read_details(answer: ContainerInspectResponse) -> ContainerDetails {
    let config = answer.config.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let log = answer.host_config.and_then(|host| host.log_config).unwrap_or_default();
    let (health, checks) =
        state.health.map(|health| (health.status, health.log)).unwrap_or_default();
    let last_check = checks.unwrap_or_default().pop();
    ContainerDetails {
        id: answer.id.unwrap_or_default(),
        name: bare_name(answer.name.unwrap_or_default()),
        labels: sorted_labels(config.labels),
        image: config.image.unwrap_or_default(),
        image_id: answer.image.unwrap_or_default(),
        status: state.status.map(|status| status.to_string()).unwrap_or_default(),
        exit_code: state.exit_code,
        oom: state.oom_killed.unwrap_or_default(),
        paused: state.paused.unwrap_or_default(),
        pid: state.pid,
        error: state.error.unwrap_or_default(),
        stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
        health: health.map(|status| status.to_string()),
        check_output: last_check.and_then(|check| check.output).unwrap_or_default(),
        log_driver: log.typ.unwrap_or_default(),
        log_labels: log.config.and_then(|mut config| config.remove("labels")),
    }
}

fn read_output_entry(entry: LogOutput) -> OutputEntry {
    match entry {
        LogOutput::StdErr { message } => OutputEntry { text: message, is_error: true },
        LogOutput::StdOut { message }
        | LogOutput::StdIn { message }
        | LogOutput::Console { message } => OutputEntry { text: message, is_error: false },
    }
}

fn read_pull_line(line: CreateImageInfo) -> PullLine {
    let progress = line
        .progress_detail
        .map(|detail| (detail.current.unwrap_or_default(), detail.total.unwrap_or_default()));
    PullLine { layer: line.id, status: line.status, progress }
}

fn read_volume(volume: Volume) -> MarkedResource {
    let labels = volume.labels.into_iter().collect();
    MarkedResource { id: volume.name.clone(), name: volume.name, labels }
}

fn read_network(network: Network) -> MarkedResource {
    MarkedResource {
        name: network.name.unwrap_or_default(),
        id: network.id.unwrap_or_default(),
        labels: sorted_labels(network.labels),
    }
}

#[cfg(test)]
mod tests {
    use muster_common::container::{HostFacts, Quadlet, read};
    use muster_common::unit::{UnitFile, UnitName};
    use muster_engine::container::{Identity, translate};
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_refusal_is_told_from_silence() {
        let answer = |status_code| bollard::errors::Error::DockerResponseServerError {
            status_code,
            message: "No such container: x\n".to_owned(),
        };
        let error = EngineError::from(answer(404));
        assert!(error.is_absent() && !error.is_conflict());
        assert_eq!(error.to_string(), "No such container: x");
        let silence = EngineError::from(bollard::errors::Error::RequestTimeoutError);
        assert!(matches!(silence, EngineError::Lost(_)));
    }

    #[test]
    fn a_line_of_a_pull_says_how_much_there_is() {
        let json = r#"{"status":"Downloading","id":"1","progressDetail":{"current":5,"total":10}}"#;
        let line = read_pull_line(serde_json::from_str(json).unwrap());
        let (layer, status) = (Some("1".to_owned()), Some("Downloading".to_owned()));
        assert_eq!(line, PullLine { layer, status, progress: Some((5, 10)) });
    }

    /// True if the second says all that the first says.
    fn is_within(one: &Value, other: &Value) -> bool {
        match (one, other) {
            (Value::Object(one), Value::Object(other)) => one
                .iter()
                .all(|(name, value)| other.get(name).is_some_and(|other| is_within(value, other))),
            (Value::Array(one), Value::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_within(a, b))
            }
            _ => one == other,
        }
    }

    /// The client library drops what its types do not have.
    #[test]
    fn nothing_is_lost_on_the_way_to_the_client() {
        let text = "[Container]\nImage=a\nAnnotation=a=b\nAddDevice=nvidia.com/gpu=all /dev/fuse\nUser=1:2\n\
                    Network=one:mac=92:d0:c6:0a:29:33,interface_name=lan0,ip=10.0.0.2,alias=x\nNetwork=two:mac=92:d0:c6:0a:29:34\n\
                    Mount=type=volume,source=data,target=/data,volume-subpath=logs,nocopy\n\
                    Mount=type=image,source=b,target=/b,subpath=www\nMount=type=tmpfs,target=/t,noexec,tmpfs-size=1m\n\
                    Mount=type=tmpfs,target=/u,tmpfs-mode=700\nMount=type=bind,source=/a,target=/a,rslave,bind-nonrecursive\n\
                    HealthCmd=CMD true\nHealthInterval=5s\nUlimit=nofile=1:2,nproc=3\nSecurityLabelFileType=usr_t\n";
        let unit: UnitName = "web.container".parse().unwrap();
        let file: UnitFile = text.parse().unwrap();
        let Ok((Quadlet::Container(spec), _)) = read(&unit, &file, &HostFacts::stand_in()) else {
            panic!("it is refused");
        };
        let identity =
            Identity { unit, file: file.hash(), generation: 1, cluster: "/test/".to_owned() };
        let mut creation = translate(&spec, &identity, &BTreeMap::new()).unwrap();
        assert!(creation.loses_addresses());
        creation.join_at_once();
        assert!(creation.networks.is_empty() && !creation.loses_addresses());
        let sent: ContainerCreateBody = to_client_body(&creation.body).unwrap();
        let (ours, sent) =
            (serde_json::to_value(&creation.body).unwrap(), serde_json::to_value(sent).unwrap());
        assert!(is_within(&ours, &sent), "{ours:#}\n{sent:#}");
        assert_eq!(
            ours["NetworkingConfig"]["EndpointsConfig"]["two"]["MacAddress"],
            "92:d0:c6:0a:29:34"
        );
    }
}
