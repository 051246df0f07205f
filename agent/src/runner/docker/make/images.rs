//! Images: fetched from a registry, loaded from an archive, or there.
//!
//! Owns the attempts to get one, what they say meanwhile, and the credentials for a registry. When an image is fetched and
//! how often that is tried is the engine crate's to decide.

use std::collections::BTreeMap;
use std::path::Path;

use futures::StreamExt as _;
use muster_common::container::{ContainerSpec, Image, ImageName};
use muster_engine::container::{ImageFetch, plan_fetch, retry_after};

use crate::runner::docker::api::engine::Engine;
use crate::runner::docker::client::{EngineError, PullLine};
use crate::runner::docker::context::DockerContext;
use crate::runner::docker::make::credentials::{self, RegistryCredentials};
use crate::stdx::sync::lock;

/// Hears how far a fetch is, in words for a user.
pub(crate) type Progress<'a> = &'a (dyn Fn(String) + Send + Sync);

/// Makes sure that the image is there. Returns its id or name where only the archive it came from knows.
pub(crate) async fn ensure_image(
    context: &DockerContext,
    spec: &ContainerSpec,
    progress: Progress<'_>,
) -> Result<Option<String>, EngineError> {
    let engine = &context.engine;
    let (named, source) = match &spec.image {
        Image::Named(name) => (Some(name), name.to_string()),
        Image::Archive { path, image } => (image.as_ref(), path.clone()),
    };
    let present = async || match named.map(ToString::to_string) {
        Some(name) if lock(&context.images.present).contains(&name) => {
            Ok::<bool, EngineError>(true)
        }
        Some(name) => {
            let there = is_there(engine, &name).await?;
            if there {
                lock(&context.images.present).insert(name);
            }
            Ok(there)
        }
        None => Ok(false),
    };
    let mut there = present().await?;
    let turn = context.images.fetch_turn(&source);
    let _turn = match plan_fetch(spec, there) {
        // What is missing is fetched once for all who wait for it.
        ImageFetch::Load | ImageFetch::Pull { needed: true } if !there => {
            let turn = if let Ok(turn) = turn.try_lock() {
                turn
            } else {
                progress(format!("waiting for the image {source}, which another unit fetches"));
                turn.lock().await
            };
            there = present().await?;
            Some(turn)
        }
        _ => None,
    };
    match (plan_fetch(spec, there), &spec.image) {
        (ImageFetch::Nothing, _) => Ok(None),
        (ImageFetch::Load, Image::Archive { path, image: Some(name) }) => {
            load_archive(engine, path, Some(name), progress).await
        }
        (ImageFetch::Load, Image::Archive { path, image: None }) => {
            load_unnamed(context, path, progress).await
        }
        (ImageFetch::Pull { needed }, Image::Named(name)) => {
            pull_image(context, spec, name, needed, progress).await.map(|()| None)
        }
        (ImageFetch::Missing | ImageFetch::Load | ImageFetch::Pull { .. }, _) => {
            let name = named.map_or_else(|| "of the archive".to_owned(), ToString::to_string);
            Err(EngineError::new_refusal(format!(
                "the image {name} is not on this machine and Pull=never forbids fetching it"
            )))
        }
    }
}

/// Loads an archive unless it is the one that was loaded last and what it brought is still there.
async fn load_unnamed(
    context: &DockerContext,
    path: &str,
    progress: Progress<'_>,
) -> Result<Option<String>, EngineError> {
    let stamp = context.world.host.archive_stamp(Path::new(path));
    let before = lock(&context.images.loaded).get(path).cloned();
    if let (Some(stamp), Some((known, image))) = (stamp, before)
        && stamp == known
        && is_there(&context.engine, &image).await?
    {
        return Ok(Some(image));
    }
    let image = load_archive(&context.engine, path, None, progress).await?;
    if let (Some(stamp), Some(image)) = (stamp, &image) {
        lock(&context.images.loaded).insert(path.to_owned(), (stamp, image.clone()));
    }
    Ok(image)
}

async fn is_there(engine: &Engine, name: &str) -> Result<bool, EngineError> {
    match engine.api_client().inspect_image(name).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_absent() => Ok(false),
        Err(error) => Err(error),
    }
}

async fn pull_image(
    context: &DockerContext,
    spec: &ContainerSpec,
    name: &ImageName,
    needed: bool,
    progress: Progress<'_>,
) -> Result<(), EngineError> {
    let engine = &context.engine;
    let mut failed = 0;
    loop {
        progress(format!("fetching the image {name}"));
        let credentials = match context.credentials.as_deref() {
            Some(path) => {
                let text = context.world.host.read_whole(path).await;
                credentials::find_credentials(text, path, &name.repository)
                    .map_err(EngineError::new_refusal)?
            }
            None => None,
        };
        let pulled = pull_once(engine, name, credentials, progress).await;
        engine.tally.count_pull(pulled.is_ok());
        let error = match pulled {
            Ok(()) => return Ok(()),
            Err(error @ EngineError::Lost(_)) => return Err(error),
            Err(error) => error,
        };
        failed += 1;
        // One that there is will do; and what the registry does not have it will not have in a second.
        let pause = if needed && !error.is_absent() { retry_after(spec, failed) } else { None };
        let Some(pause) = pause else {
            if needed {
                return Err(EngineError::new_refusal(format!(
                    "cannot fetch the image {name}: {error}"
                )));
            }
            tracing::warn!(image = %name, %error, "cannot fetch a newer image; the one that is there is used");
            return Ok(());
        };
        tracing::warn!(image = %name, %error, ?pause, failed, "cannot fetch an image yet");
        progress(format!(
            "cannot fetch the image {name} ({error}); next try in {}, {} of {}",
            humantime::format_duration(pause),
            failed + 1,
            spec.pull_retries.saturating_add(1),
        ));
        muster_runtime::sleep(pause).await;
    }
}

async fn pull_once(
    engine: &Engine,
    name: &ImageName,
    credentials: Option<RegistryCredentials>,
    progress: Progress<'_>,
) -> Result<(), EngineError> {
    let header =
        credentials.map(|credentials| credentials::auth_header(&credentials)).transpose()?;
    let mut lines = engine.api_client().pull_image(&name.repository, name.tag_to_pull(), header);
    let mut layers = LayerProgress::default();
    while let Some(line) = lines.next().await {
        if let Some(share) = layers.on_line(&line?) {
            progress(format!("fetching the image {name}: {share}"));
        }
    }
    Ok(())
}

/// The part of each layer that has been fetched, in bytes.
#[derive(Debug, Default)]
struct LayerProgress {
    bytes: BTreeMap<String, (i64, i64)>,
    share_text: String,
}

impl LayerProgress {
    /// Takes one line of a pull. Returns what is to be said if that has changed.
    fn on_line(&mut self, line: &PullLine) -> Option<String> {
        let id = line.layer.clone()?;
        match (line.status.as_deref()?, line.progress) {
            ("Downloading", Some((current, total))) => {
                self.bytes.insert(id, (current.min(total), total));
            }
            ("Download complete" | "Pull complete", _) => {
                let (current, total) = self.bytes.entry(id).or_default();
                *current = *total;
            }
            _ => return None,
        }
        let (current, total) =
            self.bytes.values().fold((0, 0), |(c, t), (current, total)| (c + current, t + total));
        if total <= 0 {
            return None;
        }
        // Whole percents: a pull says something for every few kilobytes.
        let share_text =
            format!("{}% of {} MB", current * 100 / total, (total + 999_999) / 1_000_000);
        (share_text != self.share_text).then(|| {
            self.share_text.clone_from(&share_text);
            share_text
        })
    }
}

async fn load_archive(
    engine: &Engine,
    path: &str,
    wanted: Option<&ImageName>,
    progress: Progress<'_>,
) -> Result<Option<String>, EngineError> {
    progress(format!("loading the image from {path}"));
    let failed = |problem: &dyn std::fmt::Display| {
        EngineError::new_refusal(format!("cannot load the image from {path}: {problem}"))
    };
    let mut lines = match engine.api_client().load_images(Path::new(path)).await {
        Err(EngineError::Refused { problem, .. }) => return Err(failed(&problem)),
        lines => lines?,
    };
    let mut loaded = Vec::new();
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) => loaded.extend(image_of(&line)),
            Err(EngineError::Refused { problem, .. }) => return Err(failed(&problem)),
            Err(error) => return Err(error),
        }
    }
    match (wanted, loaded.as_slice()) {
        (Some(wanted), loaded) => {
            if is_there(engine, &wanted.to_string()).await? {
                return Ok(None);
            }
            Err(failed(&format!("it holds {}, not {wanted}", list_names(loaded))))
        }
        (None, [only]) => Ok(Some(only.clone())),
        (None, loaded) => Err(failed(&format!(
            "it holds {}; say which one is meant: Image=docker-archive:{path}:NAME",
            list_names(loaded)
        ))),
    }
}

fn list_names(images: &[String]) -> String {
    if images.is_empty() { "no image".to_owned() } else { images.join(", ") }
}

/// The image that a line of a load speaks of.
fn image_of(line: &str) -> Option<String> {
    let text = line.trim();
    let name =
        text.strip_prefix("Loaded image: ").or_else(|| text.strip_prefix("Loaded image ID: "));
    name.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(layer: &str, status: &str, progress: Option<(i64, i64)>) -> PullLine {
        PullLine { layer: Some(layer.to_owned()), status: Some(status.to_owned()), progress }
    }

    #[test]
    fn a_pull_says_how_far_it_is_and_nothing_twice() {
        let mut layers = LayerProgress::default();
        let mut take = |layer, status, progress| layers.on_line(&line(layer, status, progress));
        assert_eq!(take("latest", "Pulling from library/a", None), None);
        let half = Some((5_000_000, 10_000_000));
        assert_eq!(take("1", "Downloading", half).as_deref(), Some("50% of 10 MB"));
        assert_eq!(take("1", "Downloading", half), None);
        let begun = Some((1, 10_000_000));
        assert_eq!(take("2", "Downloading", begun).as_deref(), Some("25% of 20 MB"));
        assert_eq!(take("1", "Download complete", None).as_deref(), Some("50% of 20 MB"));
        assert_eq!(take("1", "Extracting", Some((1, 2))), None);
    }

    #[test]
    fn what_a_load_brought_is_told_by_name_or_id() {
        assert_eq!(image_of("Loaded image: web:1\n").as_deref(), Some("web:1"));
        assert_eq!(image_of("Loaded image ID: sha256:ab\n").as_deref(), Some("sha256:ab"));
        assert_eq!(image_of("Loading layer"), None);
    }
}
