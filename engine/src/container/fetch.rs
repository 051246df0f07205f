//! Whether an image is fetched before a start, and when a fetch that failed is tried again.

use std::time::Duration;

use muster_common::container::{ContainerSpec, Image, PullPolicy};

/// The step that gets an image before a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFetch {
    /// It is there, and good enough.
    Nothing,
    /// Load it from its archive on the machine.
    Load,
    /// Pull it.
    Pull {
        /// True when the start fails without: otherwise the one that is there will do.
        needed: bool,
    },
    /// It is not there and must not be fetched: the start fails.
    Missing,
}

/// The step that gets a container's image, given whether the machine has one of that name.
///
/// An archive whose image has no name is loaded every time: nothing tells what it held.
pub fn plan_fetch(spec: &ContainerSpec, present: bool) -> ImageFetch {
    match (&spec.image, spec.pull) {
        (_, PullPolicy::Never) if present => ImageFetch::Nothing,
        (_, PullPolicy::Never) => ImageFetch::Missing,
        (Image::Archive { image: Some(_), .. } | Image::Named(_), PullPolicy::Missing)
            if present =>
        {
            ImageFetch::Nothing
        }
        (Image::Archive { .. }, _) => ImageFetch::Load,
        (Image::Named(_), PullPolicy::Newer) => ImageFetch::Pull { needed: !present },
        (Image::Named(_), PullPolicy::Always | PullPolicy::Missing) => {
            ImageFetch::Pull { needed: true }
        }
    }
}

/// The longest pause between two attempts where the file gives none.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The pause before the next attempt once so many have failed; `None` when that was the last.
pub fn retry_after(spec: &ContainerSpec, failed: u32) -> Option<Duration> {
    if failed > spec.pull_retries {
        return None;
    }
    let doubled = Duration::from_secs(1).saturating_mul(1 << failed.saturating_sub(1).min(6));
    Some(spec.pull_delay.unwrap_or(doubled.min(LONGEST_PAUSE)))
}

#[cfg(test)]
mod tests {
    use muster_common::container::{HostFacts, Quadlet, read};

    use super::*;

    fn spec(lines: &str) -> ContainerSpec {
        let file = format!("[Container]\n{lines}\n").parse().unwrap();
        match read(&"web.container".parse().unwrap(), &file, &HostFacts::stand_in()) {
            Ok((Quadlet::Container(spec), _)) => *spec,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pull_says_when_an_image_is_fetched() {
        let pull = |needed| ImageFetch::Pull { needed };
        // With the image there, and without.
        let table = [
            ("Image=a", [ImageFetch::Nothing, pull(true)]),
            ("Image=a\nPull=always", [pull(true), pull(true)]),
            ("Image=a\nPull=newer", [pull(false), pull(true)]),
            ("Image=a\nPull=never", [ImageFetch::Nothing, ImageFetch::Missing]),
            ("Image=docker-archive:/a.tar:a", [ImageFetch::Nothing, ImageFetch::Load]),
            ("Image=docker-archive:/a.tar:a\nPull=always", [ImageFetch::Load, ImageFetch::Load]),
            ("Image=docker-archive:/a.tar", [ImageFetch::Load, ImageFetch::Load]),
        ];
        for (lines, expected) in table {
            let spec = spec(lines);
            assert_eq!([plan_fetch(&spec, true), plan_fetch(&spec, false)], expected, "{lines}");
        }
    }

    #[test]
    fn attempts_come_further_apart_and_to_an_end() {
        let pauses = |lines: &str| -> Vec<u64> {
            let spec = spec(lines);
            (1..)
                .map_while(|failed| retry_after(&spec, failed))
                .map(|pause| pause.as_secs())
                .collect()
        };
        assert_eq!(pauses("Image=a"), [1, 2, 4]);
        assert_eq!(pauses("Image=a\nRetry=8"), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pauses("Image=a\nRetry=2\nRetryDelay=5s"), [5, 5]);
        assert_eq!(pauses("Image=a\nRetry=0"), [0_u64; 0]);
    }
}
