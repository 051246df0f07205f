//! The image that containers in the lab are made of: busybox, as Debian ships it, in an archive such as `docker save` writes.
//!
//! Nothing is downloaded for it, and no engine is needed to make it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use super::command;

/// Where the archive lies on every host.
pub const IMAGE_ARCHIVE: &str = "/usr/share/muster-lab/busybox.tar";

/// The name of the image in it.
pub const IMAGE: &str = "busybox:latest";

/// Makes the archive on a root that has busybox.
pub(super) fn build(root: &Path) -> Result<()> {
    let archive = root.join(IMAGE_ARCHIVE.trim_start_matches('/'));
    let directory = archive.with_extension("building");
    let layer = directory.join("layer");
    fs::create_dir_all(layer.join("bin"))?;
    for name in ["etc", "proc", "root", "run", "sys", "tmp"] {
        fs::create_dir(layer.join(name))?;
    }
    command::run("chmod", &["1777", &text(&layer.join("tmp"))])?;
    fs::write(layer.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:\n")?;
    fs::write(layer.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    let busybox = layer.join("bin/busybox");
    fs::copy(root.join("bin/busybox"), &busybox).context("copy busybox")?;
    for applet in command::run(&text(&busybox), &["--list"])?.lines() {
        if applet != "busybox" {
            symlink("busybox", layer.join("bin").join(applet))?;
        }
    }

    let packed = directory.join("layer.tar");
    pack(&packed, &layer, &["."])?;
    let sum = sum(&packed)?;
    let config = serde_json::json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Cmd": ["sh"], "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{sum}")] },
    });
    fs::write(directory.join("config.json"), config.to_string())?;
    let manifest = serde_json::json!([
        { "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"] }
    ]);
    fs::write(directory.join("manifest.json"), manifest.to_string())?;
    pack(&archive, &directory, &["manifest.json", "config.json", "layer.tar"])?;
    Ok(fs::remove_dir_all(directory)?)
}

/// An archive of files of a directory, the same for the same files.
fn pack(archive: &Path, directory: &Path, files: &[&str]) -> Result<()> {
    let (archive, directory) = (text(archive), text(directory));
    let mut arguments =
        vec!["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"];
    arguments.extend(["--mtime=@0", "--file", &archive, "--directory", &directory]);
    arguments.extend(files);
    command::run("tar", &arguments).map(|_| ())
}

fn sum(file: &Path) -> Result<String> {
    let line = command::run("sha256sum", &[text(file)])?;
    line.split_ascii_whitespace().next().map(str::to_owned).context("sha256sum told nothing")
}

/// Docker's word for this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
