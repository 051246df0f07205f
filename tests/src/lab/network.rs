//! The network of a run: a bridge in a network namespace of its own, and one namespace with a cable for each node.
//!
//! Nothing reaches the machine's own network: no route leads there, its interfaces and its firewall are not touched. Since a
//! run's addresses exist only inside its namespaces, all runs use the same ones.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::command;

/// 10.77.0.0/24: nodes from 1, the bridge last.
const BRIDGE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

/// The network of one run.
#[derive(Debug, Clone)]
pub(super) struct Network {
    namespace: String,
}

impl Network {
    pub(super) fn of_run(run: &str) -> Self {
        Self { namespace: format!("muster-{run}") }
    }

    /// The namespace the bridge is in, where one stands outside all nodes.
    pub(super) fn bridge_namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn node_namespace(&self, node: &str) -> String {
        format!("{}-{node}", self.namespace)
    }

    pub(super) fn create(&self) -> Result<()> {
        command::run("ip", &["netns", "add", &self.namespace])?;
        self.run_batch(
            &self.namespace,
            &format!(
                "link set lo up\nlink add bridge type bridge\naddress add {BRIDGE_ADDRESS}/24 dev bridge\nlink set bridge up\n"
            ),
        )
    }

    /// Gives a node a namespace with a cable to the bridge, plugged in.
    pub(super) fn attach_node(&self, node: &str, address: Ipv4Addr) -> Result<()> {
        let inside = self.node_namespace(node);
        command::run("ip", &["netns", "add", &inside])?;
        // As a network card keeps its address whenever its host is switched on: neighbours need not find out anew.
        let [a, b, c, d] = address.octets();
        let card = format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
        self.run_batch(
            &self.namespace,
            &format!(
                "link add {node} type veth peer name eth0 address {card} netns {inside}\nlink set {node} master bridge\nlink set {node} up\n"
            ),
        )?;
        self.run_batch(
            &inside,
            &format!("link set lo up\naddress add {address}/24 dev eth0\nlink set eth0 up\n"),
        )
    }

    /// True when a node has a namespace and its cable.
    pub(super) fn is_attached(&self, node: &str) -> bool {
        exists(&self.node_namespace(node))
    }

    /// Takes the namespace away; its interfaces, and connections that were still talking, go with it.
    pub(super) fn detach_node(&self, node: &str) -> Result<()> {
        // The kernel takes a namespace apart in its own time, and the name of the cable must be free for the next boot.
        command::run("ip", &["-n", &self.namespace, "link", "delete", node])?;
        delete(&self.node_namespace(node))
    }

    /// Plugs a node's cable in or pulls it; the node itself sees its carrier go, as with a real one.
    pub(super) fn plug_cable(&self, node: &str, plugged: bool) -> Result<()> {
        let state = if plugged { "up" } else { "down" };
        command::run("ip", &["-n", &self.namespace, "link", "set", node, state]).map(|_| ())
    }

    /// Removes every namespace of the run.
    pub(super) fn remove(&self) -> Result<()> {
        let list = command::run("ip", &["netns", "list"])?;
        let prefix = format!("{}-", self.namespace);
        for name in list.lines().filter_map(|line| line.split_ascii_whitespace().next()) {
            if name == self.namespace || name.starts_with(&prefix) {
                delete(name)?;
            }
        }
        Ok(())
    }

    /// Does something, such as connecting, inside the run's network, on a thread of its own.
    pub(super) fn run_inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.namespace);
        let namespace =
            std::fs::File::open(&path).with_context(|| format!("cannot open {path}"))?;
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind)
                    .context("cannot enter the lab's network")?;
                work()
            });
            worker.join().map_err(|_| anyhow!("work inside the lab's network panicked"))?
        })
    }

    /// Several `ip` commands in one process.
    fn run_batch(&self, namespace: &str, lines: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-n", namespace, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run ip")?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(lines.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "network of {}: {}\n{lines}",
                self.namespace,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }
}

/// The address of the node with this index, counted from 0.
pub(super) fn node_address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, index.saturating_add(1))
}

/// Where a node's service listens.
pub(super) fn socket_address(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

fn exists(namespace: &str) -> bool {
    std::path::Path::new("/run/netns").join(namespace).exists()
}

fn delete(namespace: &str) -> Result<()> {
    if exists(namespace) {
        command::run("ip", &["netns", "delete", namespace])?;
    }
    Ok(())
}
