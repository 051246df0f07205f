//! Images: what they are called, and when to fetch them.

use std::fmt;

use super::short_names;

/// Where a container's image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// A name that a registry or the engine knows.
    Named(ImageName),
    /// An archive on the machine, as `docker save` writes it.
    Archive {
        /// Its path there.
        path: String,
        /// Which of its images; the only one if it is not said.
        image: Option<ImageName>,
    },
}

/// An image's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageName {
    /// Name of the repository, its registry included where there is one; or an image's id.
    pub repository: String,
    /// The text behind a colon. A pull without one would fetch every tag there is; see [`ImageName::tag_to_pull`].
    pub tag: Option<String>,
    /// The text behind an `@`.
    pub digest: Option<String>,
}

/// When to fetch an image, `Pull=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Before every start.
    Always,
    /// When the machine does not have it.
    #[default]
    Missing,
    /// Never: it is there or the start fails.
    Never,
    /// Before every start, unless the registry has none newer or does not answer.
    Newer,
}

impl ImageName {
    /// The version to ask a registry for: the digest, the tag, or `latest`.
    pub fn tag_to_pull(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The transports that Podman takes before a colon and that Docker cannot fetch from.
const TRANSPORTS: [&str; 6] =
    ["containers-storage:", "dir:", "docker-daemon:", "oci-archive:", "oci:", "ostree:"];

pub(super) fn parse_image(value: &str) -> Result<Image, String> {
    if let Some(archive) = value.strip_prefix("docker-archive:") {
        // A path may hold no colon, as with Podman.
        let (path, image) = match archive.split_once(':') {
            Some((path, image)) => (path, Some(parse_image_name(image)?)),
            None => (archive, None),
        };
        if !path.starts_with('/') {
            return Err(format!("{path:?} is not an absolute path on the machine"));
        }
        return Ok(Image::Archive { path: path.to_owned(), image });
    }
    if let Some(transport) = TRANSPORTS.iter().find(|transport| value.starts_with(**transport)) {
        return Err(format!(
            "Docker fetches no image from {transport}; use a name or docker-archive:/path"
        ));
    }
    if let Some(kind) = [".image", ".build"].into_iter().find(|kind| value.ends_with(kind)) {
        return Err(format!("{kind} units do not exist here; use the image's name"));
    }
    if let Some(name) = value.strip_prefix("docker://") {
        return self::parse_image_name(name).map(Image::Named);
    }
    let name = parse_image_name(value)?;
    match short_names::podman_full_name(&name.repository) {
        Some(full) => {
            let short = &name.repository;
            let library = if short.contains('/') { "" } else { "library/" };
            Err(format!(
                "{short} is {full} for Podman and docker.io/{library}{short} for Docker; say which"
            ))
        }
        None => Ok(Image::Named(name)),
    }
}

/// An image that is mounted, by its name.
pub(super) fn parse_mounted_image(value: &str) -> Result<ImageName, String> {
    match parse_image(value)? {
        Image::Named(name) => Ok(name),
        Image::Archive { .. } => Err("only an image with a name can be mounted".to_owned()),
    }
}

fn parse_image_name(value: &str) -> Result<ImageName, String> {
    let bad = || format!("{value:?} is not the name of an image");
    let (rest, digest) = match value.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (value, None),
    };
    // A colon before a slash belongs to the registry's port.
    let (repository, tag) = match rest.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (rest, None),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    if repository.is_empty()
        || repository.starts_with(['/', '-', '.'])
        || repository.ends_with('/')
        || repository.contains("//")
        || !repository.chars().all(allowed)
    {
        return Err(bad());
    }
    let tag_ok = |tag: &str| {
        tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            && !tag.starts_with(['.', '-'])
            && (1..=128).contains(&tag.len())
    };
    // An image's id looks like a tag of a repository called sha256.
    if tag.is_some_and(|tag| !tag_ok(tag)) || digest.is_some_and(|digest| !is_digest(digest)) {
        return Err(bad());
    }
    Ok(ImageName {
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest: digest.map(str::to_owned),
    })
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty()
            && algorithm.chars().all(|c| c.is_ascii_alphanumeric())
            && hex.len() >= 32
            && hex.chars().all(|c| c.is_ascii_hexdigit())
    })
}

pub(super) fn parse_pull(value: &str) -> Result<PullPolicy, String> {
    match value {
        "always" | "true" => Ok(PullPolicy::Always),
        "missing" => Ok(PullPolicy::Missing),
        "never" | "false" => Ok(PullPolicy::Never),
        "newer" => Ok(PullPolicy::Newer),
        _ => Err(format!("{value:?} is none of always, missing, never and newer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_repository_a_tag_and_a_digest() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let pinned = format!("localhost:5000/a/b:1@{digest}");
        let cases = [
            ("busybox", "busybox", None, "latest"),
            ("busybox:1.36", "busybox", Some("1.36"), "1.36"),
            ("localhost:5000/web", "localhost:5000/web", None, "latest"),
            ("localhost:5000/web:2", "localhost:5000/web", Some("2"), "2"),
            ("docker://docker.io/library/nginx", "docker.io/library/nginx", None, "latest"),
            (&pinned, "localhost:5000/a/b", Some("1"), &digest),
        ];
        for (text, repository, tag, pulled) in cases {
            let Ok(Image::Named(name)) = parse_image(text) else { panic!("{text}") };
            assert_eq!(
                (name.repository.as_str(), name.tag.as_deref(), name.tag_to_pull()),
                (repository, tag, pulled)
            );
            assert_eq!(name.to_string(), text.trim_start_matches("docker://"));
        }
    }

    #[test]
    fn an_archive_may_say_which_of_its_images() {
        let Ok(Image::Archive { path, image: Some(image) }) =
            parse_image("docker-archive:/srv/a.tar:web:2")
        else {
            panic!()
        };
        assert_eq!((path.as_str(), image.to_string().as_str()), ("/srv/a.tar", "web:2"));
        assert_eq!(
            super::parse_image("docker-archive:a.tar").unwrap_err(),
            "\"a.tar\" is not an absolute path on the machine"
        );
    }

    #[test]
    fn what_docker_cannot_fetch_is_refused() {
        assert_eq!(
            parse_image("oci:/x").unwrap_err(),
            "Docker fetches no image from oci:; use a name or docker-archive:/path"
        );
        assert_eq!(
            parse_image("web.build").unwrap_err(),
            ".build units do not exist here; use the image's name"
        );
        assert_eq!(
            parse_image("fedora:43").unwrap_err(),
            "fedora is registry.fedoraproject.org/fedora for Podman and docker.io/library/fedora for Docker; say which"
        );
        assert!(
            parse_image("docker://fedora").is_ok()
                && parse_image("docker.io/library/fedora").is_ok()
        );
        for text in ["a b", "/a", "a:", "a@b", "-a", "a//b", "é"] {
            assert!(parse_image(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_pull("weekly").unwrap_err(),
            "\"weekly\" is none of always, missing, never and newer"
        );
    }
}
