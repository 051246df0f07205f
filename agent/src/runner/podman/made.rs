//! The volumes and networks that Podman has made here for units of ours.
//!
//! Owns the mark by which they are known, two labels that the generator is given in a drop-in of its own beside the unit's file, and the
//! `podman` commands that find what has them and delete it. What has no mark, or another cluster's, is not touched. A Podman whose
//! generator knows no drop-ins (before 5.0) sets no mark.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use muster_common::unit::{UnitName, UnitType};
use muster_engine::container::{LABEL_CLUSTER, LABEL_UNIT};
use tokio::process::Command;

/// Longest time for one command: Podman waits for locks that others of its commands hold.
const LIMIT: Duration = Duration::from_secs(60);

/// Whoever knows what Podman has made on this machine.
#[async_trait]
pub trait MadeResources: Send + Sync + 'static {
    /// Deletes what was made for a volume's or a network's unit, and returns the names.
    ///
    /// # Errors
    ///
    /// The problem, such as that it is in use. It may be tried again.
    async fn delete_made(&self, unit: &UnitName, cluster: &str) -> Result<Vec<String>, String>;
}

/// The `podman` program of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct PodmanProgram;

/// One volume or network, as `podman` lists it.
#[derive(Debug, serde::Deserialize)]
struct Listed {
    #[serde(alias = "Name")]
    name: String,
    #[serde(default, alias = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

/// The section and the word for what a unit makes that has a mark; `None` of the types that make nothing that stays.
fn kind_of(unit: &UnitName) -> Option<(&'static str, &'static str)> {
    match unit.unit_type() {
        UnitType::Volume => Some(("Volume", "volume")),
        UnitType::Network => Some(("Network", "network")),
        _ => None,
    }
}

/// The drop-in that marks what a unit makes as ours.
pub(super) fn mark_of(unit: &UnitName, cluster: &str) -> Option<String> {
    let (section, _) = kind_of(unit)?;
    let label = |name: &str, value: &str| {
        // systemd reads it as a word of a line, and once more as one of a command.
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
        format!("Label=\"{name}={value}\"\n")
    };
    let (of_unit, of_cluster) = (label(LABEL_UNIT, unit.as_str()), label(LABEL_CLUSTER, cluster));
    Some(format!("[{section}]\n{of_unit}{of_cluster}"))
}

/// The names of those that are a unit's of this cluster, of what `podman` lists.
fn read_listed(listed: &[u8], unit: &UnitName, cluster: &str) -> Result<Vec<String>, String> {
    if listed.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let listed: Option<Vec<Listed>> = serde_json::from_slice(listed)
        .map_err(|error| format!("podman lists something else than expected: {error}"))?;
    let is_ours = |made: &Listed| {
        let label = |name: &str| made.labels.as_ref()?.get(name).map(String::as_str);
        label(LABEL_UNIT) == Some(unit.as_str()) && label(LABEL_CLUSTER) == Some(cluster)
    };
    let ours = listed.into_iter().flatten().filter(is_ours);
    Ok(ours.map(|made| made.name).collect())
}

/// Runs `podman`, and returns what it prints.
async fn run_podman(arguments: &[&str]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("podman");
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let ended = muster_runtime::timeout(LIMIT, command.output()).await;
    let ended = ended.map_err(|_| format!("podman did not end within {} s", LIMIT.as_secs()))?;
    let ended = ended.map_err(|error| format!("podman cannot be run: {error}"))?;
    if ended.status.success() {
        return Ok(ended.stdout);
    }
    Err(String::from_utf8_lossy(&ended.stderr).trim().to_owned())
}

#[async_trait]
impl MadeResources for PodmanProgram {
    async fn delete_made(&self, unit: &UnitName, cluster: &str) -> Result<Vec<String>, String> {
        let Some((_, kind)) = kind_of(unit) else { return Ok(Vec::new()) };
        let filter = format!("label={LABEL_UNIT}={unit}");
        let listed = run_podman(&[kind, "ls", "--filter", &filter, "--format", "json"]).await?;
        let names = read_listed(&listed, unit, cluster)?;
        for name in &names {
            run_podman(&[kind, "rm", "--", name]).await?;
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_drop_in_with_two_labels() {
        let mark = mark_of(&"d@1.volume".parse().unwrap(), "/a \"b\" 5%");
        assert_eq!(
            mark.as_deref(),
            Some(
                "[Volume]\nLabel=\"muster.unit=d@1.volume\"\nLabel=\"muster.cluster=/a \\\"b\\\" 5%%\"\n"
            )
        );
        assert_eq!(mark_of(&"a.container".parse().unwrap(), "/"), None);
    }

    #[test]
    fn only_what_has_both_labels_is_ours() {
        let unit: UnitName = "d.volume".parse().unwrap();
        let read = |listed: &str| read_listed(listed.as_bytes(), &unit, "/here");
        let labelled = |name: &str, unit: &str, cluster: &str| {
            format!(
                r#"{{"Name":"{name}","Labels":{{"muster.unit":"{unit}","muster.cluster":"{cluster}"}}}}"#
            )
        };
        let listed = format!(
            "[{},{},{},{}]",
            labelled("one", "d.volume", "/here"),
            labelled("two", "d.volume", "/there"),
            labelled("three", "e.volume", "/here"),
            r#"{"name":"four","labels":null},{"name":"five"}"#
        );
        assert_eq!(read(&listed), Ok(vec!["one".to_owned()]));
        assert_eq!((read("[]\n"), read("null"), read("")), (Ok(vec![]), Ok(vec![]), Ok(vec![])));
        assert!(read("no").is_err());
    }
}
