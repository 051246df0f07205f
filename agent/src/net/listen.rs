//! The sockets the API is served on.
//!
//! Owns their making: those systemd passes, else the unix socket of the configuration, mode 0660 and the group
//! `muster` if there is one; and TCP. A socket file that nobody listens on is replaced, one that somebody listens on
//! is an error.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::limits::Limits;
use super::tls::TlsIdentity;
use crate::config::{HostName, HttpConfig, Listener, ServedParts};
use crate::host::modes;

/// The group whose members may use the socket.
const GROUP: &str = "muster";

/// Connections that wait to be accepted: as many as the standard library lets wait. They are accepted as they come.
const BACKLOG: u32 = 128;

/// Sockets that clients can connect to.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Unix sockets.
    pub unix: Vec<UnixListener>,
    /// TCP sockets.
    pub tcp: Vec<Tcp>,
    /// Further names by which clients may call this daemon over TCP.
    pub names: Vec<HostName>,
    /// The socket file we made, to be removed when we stop.
    pub made: Option<PathBuf>,
    /// The identity that is shown on TCP sockets which serve the whole API: TLS, and nothing else is spoken there. `None`: plain TCP.
    pub tls: Option<TlsIdentity>,
    /// Most connections; `None`: as many as there are descriptors for, within reason.
    pub limits: Option<Limits>,
}

/// A TCP socket, and what is served on it.
#[derive(Debug)]
pub struct Tcp {
    /// The socket.
    pub listener: TcpListener,
    /// The part of the API that is served.
    pub serves: ServedParts,
}

/// Why a socket could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// A socket that systemd passed is of no use.
    #[error("cannot use socket {index} that systemd passed")]
    Passed {
        /// Its place, from 0.
        index: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another daemon has the socket.
    #[error("another musterd already serves {}; stop it, or give this one another http.socket", path.display())]
    Served {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket is in the way.
    #[error("{} is in the way: it is not a socket", path.display())]
    Occupied {
        /// The path.
        path: PathBuf,
    },
    /// The unix socket could not be made.
    #[error("cannot make the socket {}", path.display())]
    Unix {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The TCP socket could not be made.
    #[error("cannot listen on {address}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// systemd passed a socket the configuration does not allow.
    #[error(
        "systemd passed a socket on {address}: plain TCP, on loopback too, lets every user, container and web page that \
         can reach it start units as root; let a [[http.listener]] of this address serve only \"fleetlock\" or \
         \"metrics\", or set http.insecure = true if everybody who can reach it is trusted"
    )]
    Insecure {
        /// Its address.
        address: SocketAddr,
    },
}

/// Takes what systemd passed and makes the rest. Call it within the runtime.
pub fn open(config: &HttpConfig) -> Result<Sockets, SocketError> {
    let mut sockets = passed_sockets(config)?;
    if sockets.unix.is_empty() {
        sockets.unix.push(bind_unix(&config.socket)?);
        sockets.made = Some(config.socket.clone());
    }
    let passed: Vec<SocketAddr> =
        sockets.tcp.iter().filter_map(|tcp| tcp.listener.local_addr().ok()).collect();
    for Listener { address, serves } in &config.listeners {
        // It is there already, with what it serves.
        if passed.contains(address) {
            continue;
        }
        let tcp = |source| SocketError::Tcp { address: *address, source };
        let listener = listen_tcp(*address).map_err(tcp)?;
        sockets.tcp.push(Tcp { listener, serves: *serves });
    }
    sockets.names.clone_from(&config.names);
    Ok(sockets)
}

/// Listens. On `[::]` IPv4 comes in too, whatever the machine's default is (`net.ipv6.bindv6only`), so that the configuration
/// alone says which listener a connection comes to.
fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn passed_sockets(config: &HttpConfig) -> Result<Sockets, SocketError> {
    let mut sockets = Sockets::default();
    let mut fds = ListenFd::from_env();
    for index in 0..fds.len() {
        let error = |source| SocketError::Passed { index, source };
        if let Ok(Some(listener)) = fds.take_unix_listener(index) {
            listener.set_nonblocking(true).map_err(error)?;
            sockets.unix.push(UnixListener::from_std(listener).map_err(error)?);
        } else if let Some(listener) = fds.take_tcp_listener(index).map_err(error)? {
            let address = listener.local_addr().map_err(error)?;
            let serves = served_at(config, address)?;
            listener.set_nonblocking(true).map_err(error)?;
            let listener = TcpListener::from_std(listener).map_err(error)?;
            sockets.tcp.push(Tcp { listener, serves });
        }
    }
    Ok(sockets)
}

/// The part of the API served on a socket that systemd passed: what the configuration says of its address, else everything, if that
/// is allowed over plain TCP.
fn served_at(config: &HttpConfig, address: SocketAddr) -> Result<ServedParts, SocketError> {
    let configured = config.listeners.iter().find(|listener| listener.address == address);
    match configured.map_or_else(ServedParts::all_parts, |listener| listener.serves) {
        serves if serves.api && !config.insecure => Err(SocketError::Insecure { address }),
        serves => Ok(serves),
    }
}

/// Makes the unix socket under another name and moves it into place, so that it is never there with wrong permissions
/// and a stale one is replaced in one step.
fn bind_unix(path: &Path) -> Result<UnixListener, SocketError> {
    let unix = |source| SocketError::Unix { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::Occupied { path: path.to_owned() });
        }
        Ok(_) if StdUnixStream::connect(path).is_ok() => {
            return Err(SocketError::Served { path: path.to_owned() });
        }
        _ => {}
    }
    if let Some(parent) = path.parent() {
        // Members of the group come through it.
        modes::public_directory(parent).map_err(unix)?;
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    // Left by a crash of a process that had our id.
    let _ = std::fs::remove_file(&fresh);
    let made = UnixListener::bind(&fresh).and_then(|listener| {
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o660))?;
        give_to_group(&fresh)?;
        std::fs::rename(&fresh, path)?;
        Ok(listener)
    });
    made.map_err(|source| {
        let _ = std::fs::remove_file(&fresh);
        unix(source)
    })
}

/// Gives a file to the group, if there is one and we may.
fn give_to_group(path: &Path) -> io::Result<()> {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let Some(id) = group_id(&groups, GROUP) else { return Ok(()) };
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    rustix::fs::chown(path, None, Some(rustix::fs::Gid::from_raw(id))).map_err(Into::into)
}

/// A group's number in the text of group(5).
fn group_id(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\nmusters:x:7:\nmuster:x:42:ann,bob\nbroken\n";
        assert_eq!(group_id(groups, "muster"), Some(42));
        assert_eq!(group_id(groups, "must"), None);
        assert_eq!(group_id(groups, "broken"), None);
    }

    #[test]
    fn a_socket_of_systemds_serves_what_its_address_is_configured_for() {
        let config = |insecure, listeners: &[&str]| HttpConfig {
            socket: "/run/muster/muster.sock".into(),
            listeners: listeners.iter().map(|text| text.parse().unwrap()).collect(),
            insecure,
            names: Vec::new(),
            body_limit: 0,
        };
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for address in ["127.0.0.1:7117", "[::1]:7117", "10.0.0.1:7117"] {
            let refused = served_at(&config(false, &[]), at(address)).unwrap_err().to_string();
            assert!(refused.contains(address) && refused.contains("http.insecure"), "{refused}");
            let all = served_at(&config(true, &[]), at(address)).unwrap();
            assert_eq!(all, ServedParts::all_parts());
        }
        let part = config(false, &["127.0.0.1:7117=fleetlock"]);
        assert_eq!(served_at(&part, at("127.0.0.1:7117")).unwrap().to_string(), "fleetlock");
        assert!(served_at(&part, at("127.0.0.1:7118")).is_err());
    }

    #[tokio::test]
    async fn ipv4_comes_in_where_every_address_is_served() {
        let Ok(listener) = listen_tcp("[::]:0".parse().unwrap()) else { return };
        let port = listener.local_addr().unwrap().port();
        let connected = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
        connected.unwrap();
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_served_one_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/muster.sock");
        let first = bind_unix(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);

        let error = bind_unix(&path).unwrap_err().to_string();
        assert!(error.starts_with("another musterd already serves "), "{error}");

        drop(first);
        assert!(path.exists(), "a daemon that died leaves its socket behind");
        bind_unix(&path).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("muster.sock");
        std::fs::write(&path, "precious").unwrap();
        let error = bind_unix(&path).unwrap_err().to_string();
        assert!(error.ends_with("is in the way: it is not a socket"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
