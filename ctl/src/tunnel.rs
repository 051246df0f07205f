//! `--tunnel`: an ssh that forwards the daemon's socket to one of ours, for as long as a command runs.
//!
//! Owns the ssh process and the private directory with the socket; both are gone when the command ends, however it ends: a shell
//! that reads from us minds them, and what it reads ends with us even if we are killed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use muster_client::{Endpoint, Route, TunnelSocket};
use tokio::process::{Child, ChildStdin, Command};

use crate::output::console::Console;
use crate::ssh::{PROGRAM, SshError, SshHost, SshOptions};

/// The pause between two looks for the socket while ssh connects: not noticed beside its handshake.
const SOCKET_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Time for ssh to go when it is not needed any more.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Longest path of a socket, less the room for the names that are put behind the directory.
const MAX_DIRECTORY: usize = 80;

/// Minds an ssh: `$1` is the directory, the rest ssh and its arguments. Whatever ends it ends ssh, and the directory is
/// removed.
const MINDER: &str = r#"
directory=$1
shift
exec 3<&0
"$@" </dev/null >/dev/null 3<&- &
ssh=$!
{ read -r _; kill "$ssh"; } <&3 >/dev/null 2>&1 &
watch=$!
exec 3<&-
trap 'kill "$ssh" 2>/dev/null' INT TERM HUP
wait "$ssh"
code=$?
kill "$watch" 2>/dev/null
wait "$ssh" 2>/dev/null
rm -rf -- "$directory"
exit "$code"
"#;

/// A tunnel that stands.
#[derive(Debug)]
pub(crate) struct Tunnel {
    minder: Child,
    /// The pipe that the minder reads: it ends ssh when this is closed.
    hold: Option<ChildStdin>,
    host: String,
    routes: Vec<Route>,
}

impl Tunnel {
    /// Opens a tunnel to these daemons, as seen from the host. It stands once ssh has logged in there. When that lasts longer than
    /// `notice`, the user is told what is waited for.
    pub(crate) async fn open(
        settings: &SshOptions,
        host: &SshHost,
        endpoints: &[Endpoint],
        notice: Option<Duration>,
        console: &Console,
    ) -> Result<Self, SshError> {
        let directory = private_directory().map_err(SshError::Directory)?;
        let socket = |index: usize| directory.path().join(format!("{index}.sock"));
        let forwards: Result<Vec<String>, SshError> = endpoints
            .iter()
            .enumerate()
            .map(|(index, endpoint)| {
                Ok(format!("{}:{}", plain_path(&socket(index))?, forward_target(endpoint)?))
            })
            .collect();
        let arguments = settings.tunnel_arguments(host, &forwards?)?;
        let routes: Vec<Route> = endpoints
            .iter()
            .enumerate()
            .map(|(index, endpoint)| Route {
                endpoint: endpoint.clone(),
                tunnel: Some(TunnelSocket { host: host.to_string(), socket: socket(index) }),
            })
            .collect();
        let last = routes.last().and_then(|route| route.tunnel.clone()).map(|tunnel| tunnel.socket);
        let mut minder = Command::new("/bin/sh")
            .args(["-c", MINDER, "sh"])
            .arg(directory.path())
            .arg(PROGRAM)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(SshError::Run)?;
        // From here on the minder removes it.
        drop(directory.keep());
        let last = last.unwrap_or_default();
        let hold = minder.stdin.take();
        let begun = Instant::now();
        let mut next = notice;
        // However long it takes: ssh limits the connection, and a person may be typing a password.
        while !last.exists() {
            let waited = begun.elapsed();
            if next.is_some_and(|next| waited >= next) {
                let waited_for =
                    humantime::format_duration(Duration::from_secs(waited.as_secs().max(1)));
                console.print_waiting(format_args!(
                    "ssh to {host} has not made the tunnel after {waited_for}: it waits for the host, or for an answer of yours"
                ));
                next = Some(waited * 2);
            }
            if let Some(status) = minder.try_wait().map_err(SshError::Run)? {
                // The shell's word for a program that is not there.
                if status.code() == Some(127) {
                    return Err(SshError::Run(std::io::ErrorKind::NotFound.into()));
                }
                return Err(SshError::Ended { host: host.to_string(), code: status.code() });
            }
            tokio::time::sleep(SOCKET_CHECK_INTERVAL).await;
        }
        Ok(Self { minder, hold, host: host.to_string(), routes })
    }

    /// Comes back when the tunnel stands no more, with what there is to say then.
    pub(crate) async fn wait_until_broken(&mut self) -> SshError {
        match self.minder.wait().await {
            Ok(status) => SshError::Broke { host: self.host.clone(), code: status.code() },
            Err(error) => SshError::Run(error),
        }
    }

    /// The daemons behind it.
    pub(crate) fn routes_through(&self) -> Vec<Route> {
        self.routes.clone()
    }

    /// Ends it, and waits until ssh has gone.
    pub(crate) async fn close(mut self) {
        drop(self.hold.take());
        // What does not go in time goes a moment later: it has been told.
        let _ = tokio::time::timeout(SHUTDOWN_GRACE, self.minder.wait()).await;
    }
}

/// A directory that nobody else can look into, with a path that is short enough for sockets and plain enough for ssh.
fn private_directory() -> std::io::Result<tempfile::TempDir> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let bases = [runtime, Some(std::env::temp_dir()), Some("/tmp".into())];
    let fits = |base: &PathBuf| {
        base.is_absolute() && base.as_os_str().len() <= MAX_DIRECTORY && plain_path(base).is_ok()
    };
    let mut failed = std::io::Error::other("no directory for temporary files can be used");
    for base in bases.into_iter().flatten().filter(fits) {
        match tempfile::Builder::new().prefix("musterctl-").tempdir_in(&base) {
            Ok(directory) => return Ok(directory),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// A path without any character that means something in `-L`.
fn plain_path(path: &Path) -> Result<&str, SshError> {
    let special = |c: char| c.is_control() || c.is_whitespace() || ":%$\\[]".contains(c);
    let text = path.to_str().filter(|text| !text.contains(special));
    text.ok_or_else(|| SshError::Path(path.to_owned()))
}

/// Returns the far end of a forward, as `-L` has it.
fn forward_target(endpoint: &Endpoint) -> Result<String, SshError> {
    match endpoint {
        Endpoint::Unix(socket) => plain_path(socket).map(str::to_owned),
        Endpoint::Tcp { host, port } => {
            let checked = SshHost::at_address(host, Some(*port))?;
            Ok(if host.contains(':') { format!("[{host}]:{port}") } else { checked.to_string() })
        }
    }
}
