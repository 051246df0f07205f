//! What stands between a container unit and its service, with a generator and a systemd that do what a script says.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use muster_common::unit::{FileHash, UnitName};
use muster_doubles::{ScriptedHost, ScriptedRunner};
use musterd::runner::podman::generator::{GeneratorError, QuadletGenerator, Translation};
use musterd::runner::podman::{Podman, PodmanUnits};
use musterd::runner::{Runner as _, StartOutcome};

/// Makes a service of every file but those with a bad line.
struct ScriptedGenerator;

#[async_trait]
impl QuadletGenerator for ScriptedGenerator {
    async fn translate_file(
        &self,
        directory: &Path,
        unit: &UnitName,
    ) -> Result<Translation, GeneratorError> {
        let source = directory.join(unit.as_str());
        let text = fs::read_to_string(&source).unwrap();
        if text.contains("Bad=") {
            return Err(GeneratorError::Refused { problem: "line 3: Bad".to_owned() });
        }
        let service = format!("[Unit]\nSourcePath={}\n# {text}", source.display());
        Ok(Translation { service, warnings: Vec::new() })
    }
}

#[tokio::test]
async fn a_later_daemon_starts_no_service_of_the_file_before() {
    let place = tempfile::tempdir().unwrap();
    let (quadlet, unit_dir) = (place.path().join("quadlet"), place.path().join("system"));
    fs::create_dir(&unit_dir).unwrap();
    let host = ScriptedHost::new();
    let daemon = || {
        let (systemd, events) = ScriptedRunner::on_host(&host);
        let units = PodmanUnits::in_directory(quadlet.clone());
        Podman::new(
            (Arc::new(systemd), events),
            Arc::new(ScriptedGenerator),
            units,
            unit_dir.clone(),
        )
    };
    let unit: UnitName = "a.container".parse().unwrap();
    let (podman, _events) = daemon();
    let good = "[Container]\nImage=a\n";
    podman.write(&unit, FileHash::of_text(good), good).await.unwrap();
    let source = quadlet.join("a.container/a.container");
    // The scripted systemd keeps no files.
    let service = format!("[Unit]\nSourcePath={}\n# {good}", source.display());
    fs::write(unit_dir.join("a.service"), service).unwrap();

    let bad = "[Container]\nImage=a\nBad=1\n";
    podman.write(&unit, FileHash::of_text(bad), bad).await.unwrap();
    let refused = StartOutcome::Failed { problem: "Podman's generator: line 3: Bad".to_owned() };
    assert_eq!(podman.start(&unit, 2).await.unwrap(), refused);
    let (next, _events) = daemon();
    assert_eq!(next.start(&unit, 2).await.unwrap(), refused);
    let starts = host.requests_made().into_iter().filter(|asked| asked.starts_with("start"));
    assert_eq!(starts.count(), 0);
}
